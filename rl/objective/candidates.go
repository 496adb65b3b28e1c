package objective

import (
	"fmt"
	"math"
)

// Candidates holds K different tokens for every position of a completion, and with
// them all others together, the rest: K+1 outcomes whose probabilities sum to 1, so
// that two distributions over them can be compared. A divergence of theirs is at
// most that over the whole vocabulary, and 0 where policy and teacher agree.
// Without the rest that would be wrong: Σ p·log(p/q) over the candidates alone is
// smallest where the policy has moved its mass away from them, to p = q/e.
//
// IDs is [tokens×K], position-major. The other slices are [tokens×(K+1)]: candidate
// k of position t has index t·(K+1)+k, and the rest index t·(K+1)+K. If the
// candidates are the whole vocabulary, the rest's log-prob is -Inf.
type Candidates struct {
	K   int
	IDs []int32
	// Teacher holds the log-probs under the teacher.
	Teacher []float64
	// LogP holds those under the policy, which fills them in.
	LogP []float64
	// Grad receives d(loss)/d(LogP). Eval adds to it; the policy clears it.
	Grad []float64
}

// divergence is a sum over the candidates of a position and the rest.
type divergence interface {
	// share returns the share of one of them, given its log-probs under teacher
	// and policy, and the derivative of that with respect to the latter.
	share(teacher, policy float64) (v, dv float64)
}

// sumCandidates evaluates a divergence on the kept tokens of s.
func sumCandidates[D divergence](d D, name string, s *Sequence, m Metrics) (loss float64, err error) {
	if err := s.checkCandidates(); err != nil {
		return 0, err
	}
	c := s.Cand
	var sum, n, own, theirs float64
	for t, w := range s.Weight {
		if w == 0 || s.masked(t) {
			continue
		}
		at := t * (c.K + 1)
		teacher, policy, grad := c.Teacher[at:][:c.K+1], c.LogP[at:][:c.K+1], c.Grad[at:][:c.K+1]
		total := 0.0
		for k := range grad {
			v, dv := d.share(teacher[k], policy[k])
			total += v
			grad[k] += w * dv
			if !finite(v + dv) {
				return 0, c.blame(t, k)
			}
		}
		loss += w * total
		sum += total
		own -= math.Expm1(policy[c.K])
		theirs -= math.Expm1(teacher[c.K])
		n++
	}
	if n > 0 {
		m.Add(name, sum, n)
		m.Add("candidate_mass_policy", own, n)
		m.Add("candidate_mass_teacher", theirs, n)
	}
	return loss, nil
}

// checkCandidates is check for losses that compare distributions.
func (s *Sequence) checkCandidates() error {
	c := s.Cand
	if c == nil {
		return fmt.Errorf("objective: Cand is missing, want candidates for every token (%d)", len(s.LogP))
	}
	if c.K < 1 {
		return fmt.Errorf("objective: Cand.K is %d, want at least 1", c.K)
	}
	if n := len(s.LogP) * (c.K + 1); len(c.Teacher) != n || len(c.LogP) != n || len(c.Grad) != n {
		return fmt.Errorf("objective: Cand has %d, %d and %d entries in Teacher, LogP and Grad, want %d tokens × %d candidates and the rest", len(c.Teacher), len(c.LogP), len(c.Grad), len(s.LogP), c.K)
	}
	return s.check(0)
}

// blame returns the reason why the divergence at position t, candidate k, is not
// finite.
func (c *Candidates) blame(t, k int) error {
	name := fmt.Sprintf("candidate %d", k)
	if k == c.K {
		name = "the rest"
	}
	i := t*(c.K+1) + k
	return fmt.Errorf("objective: %s at position %d has log-probs %v (teacher) and %v, for which the divergence is not finite", name, t, c.Teacher[i], c.LogP[i])
}

// ForwardKL is mode-covering distillation (Hinton et al., arXiv:1503.02531): with
// q the teacher's and p the policy's probability, summed over the candidates of a
// position and the rest,
//
//	L = Σ_k q_k·(log q_k - log p_k),  ∂L/∂log p_k = -q_k
//
// A teacher's log-prob of -Inf is a probability of 0 and contributes nothing. A
// masked token contributes nothing. Take the teacher's candidates.
type ForwardKL struct{}

// Needs returns InputCandidates.
func (ForwardKL) Needs() Inputs { return InputCandidates }

// Validate returns nil: there is nothing to set.
func (ForwardKL) Validate() error { return nil }

// Eval implements Objective.
func (f ForwardKL) Eval(s *Sequence, m Metrics) (float64, error) {
	return sumCandidates(f, "forward_kl", s, m)
}

func (ForwardKL) share(teacher, policy float64) (v, dv float64) {
	q := math.Exp(teacher)
	if q == 0 {
		return 0, 0
	}
	return q * (teacher - policy), -q
}

// ReverseKL is mode-seeking distillation, with the divergence at each token taken
// exactly instead of from the token that was sampled: the single-step term of
// MiniLLM (Gu et al., arXiv:2306.08543, equation 4). With q the teacher's and p the
// policy's probability, summed over the candidates of a position and the rest,
//
//	L = Σ_k p_k·(log p_k - log q_k),  ∂L/∂log p_k = p_k·(log p_k - log q_k + 1)
//
// It is infinite, and an error, if the teacher gives a candidate probability 0
// (-Inf) and the policy does not. A masked token contributes nothing. Take the
// policy's candidates or the union, where the teacher can give their log-probs.
//
// The prefixes are fixed samples: how a token changes the later ones is not in the
// gradient. Distilled, with a Discount, has that.
type ReverseKL struct{}

// Needs returns InputCandidates.
func (ReverseKL) Needs() Inputs { return InputCandidates }

// Validate returns nil: there is nothing to set.
func (ReverseKL) Validate() error { return nil }

// Eval implements Objective.
func (r ReverseKL) Eval(s *Sequence, m Metrics) (float64, error) {
	return sumCandidates(r, "reverse_kl", s, m)
}

func (ReverseKL) share(teacher, policy float64) (v, dv float64) {
	p := math.Exp(policy)
	if p == 0 {
		return 0, 0
	}
	v = p * (policy - teacher)
	return v, v + p
}

// JSD is the generalised Jensen-Shannon divergence of GKD (Agarwal et al.,
// arXiv:2306.13649), as TRL computes it: with q the teacher's and p the policy's
// probability and M = (1-Beta)·p + Beta·q, summed over the candidates of a position
// and the rest,
//
//	L = Beta·KL(q‖M) + (1-Beta)·KL(p‖M)
//	∂L/∂log p_k = (1-Beta)·p_k·log(p_k/M_k)
//
// (the terms from the normalisation of M cancel). It is bounded, also where either
// gives a candidate probability 0. A Beta of 0 is ForwardKL and a Beta of 1 is
// ReverseKL, as in TRL and in the paper's experiments; the limits of the formula
// are 0. A masked token contributes nothing.
type JSD struct {
	// Beta is between 0 and 1; 0.5 is usual.
	Beta float64 `json:"beta"`
}

// Needs returns InputCandidates.
func (JSD) Needs() Inputs { return InputCandidates }

// Validate returns an error if Beta is not between 0 and 1.
func (j JSD) Validate() error {
	if !(j.Beta >= 0 && j.Beta <= 1) {
		return fmt.Errorf("objective: JSD.Beta is %v, want 0 (forward KL) to 1 (reverse KL)", j.Beta)
	}
	return nil
}

// Eval implements Objective.
func (j JSD) Eval(s *Sequence, m Metrics) (float64, error) {
	return sumCandidates(j, "jsd", s, m)
}

func (j JSD) share(teacher, policy float64) (v, dv float64) {
	switch j.Beta {
	case 0:
		return ForwardKL{}.share(teacher, policy)
	case 1:
		return ReverseKL{}.share(teacher, policy)
	}
	q, p := math.Exp(teacher), math.Exp(policy)
	m := (1-j.Beta)*p + j.Beta*q
	if m == 0 { // also if it is too small for a float64
		return 0, 0
	}
	mix := math.Log(m)
	if q != 0 {
		v = j.Beta * q * (teacher - mix)
	}
	if p != 0 {
		dv = (1 - j.Beta) * p * (policy - mix)
	}
	return v + dv, dv
}
