package objective

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/internal/settings"
)

// Normalize selects which of the two distributions over the candidates of a
// position are divided by their sum before they are compared. It matters for
// top-K candidates only: over the full vocabulary both sum to 1 already.
type Normalize uint8

const (
	// NormalizeNone takes the log-probs as they are (default).
	NormalizeNone Normalize = iota
	// NormalizeTeacher makes the teacher's sum to 1 and leaves the policy's:
	// with ForwardKL it is cross-entropy with soft targets of total weight 1,
	// which pulls all of the policy's mass onto the candidates.
	NormalizeTeacher
	// NormalizeBoth compares the distributions given that one of the
	// candidates is chosen, and leaves the policy's total mass on them alone.
	NormalizeBoth
)

var normalizeNames = []string{NormalizeNone: "none", NormalizeTeacher: "teacher", NormalizeBoth: "both"}

// String returns "none", "teacher" or "both".
func (n Normalize) String() string { return settings.EnumString(normalizeNames, n) }

// MarshalText returns the same; an invalid value is an error.
func (n Normalize) MarshalText() ([]byte, error) { return settings.EnumText(normalizeNames, n) }

// UnmarshalText is the inverse of MarshalText.
func (n *Normalize) UnmarshalText(text []byte) error {
	return settings.ParseEnum(normalizeNames, text, n)
}

// divergence is a sum over the candidates of a position.
type divergence interface {
	// candidate returns one candidate's share, given the log-probs of
	// teacher and policy, and its derivative with respect to the latter.
	candidate(teacher, policy float64) (v, dv float64)
}

// sumCandidates evaluates a divergence on the kept tokens of s.
func sumCandidates[D divergence](d D, norm Normalize, name string, s *Sequence, m Metrics) (loss float64, err error) {
	if err := s.checkCandidates(); err != nil {
		return 0, err
	}
	c := s.Cand
	var sum, n float64
	for t, w := range s.Weight {
		if w == 0 || s.masked(t) {
			continue
		}
		teacher, policy, grad := c.Teacher[t*c.K:][:c.K], c.LogP[t*c.K:][:c.K], c.Grad[t*c.K:][:c.K]
		var zt, zp float64
		if norm != NormalizeNone {
			zt = logSumExp(teacher)
		}
		if norm == NormalizeBoth {
			zp = logSumExp(policy)
		}
		var total, slope float64
		for k := range grad {
			v, dv := d.candidate(teacher[k]-zt, policy[k]-zp)
			total += v
			slope += dv
			grad[k] += w * dv
		}
		if !finite(total + slope) {
			return 0, s.blameCandidate(t)
		}
		if norm == NormalizeBoth {
			for k := range grad {
				grad[k] -= w * slope * math.Exp(policy[k]-zp)
			}
		}
		loss += w * total
		sum += total
		n++
	}
	if n > 0 {
		m.Add(name, sum, n)
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
	if n := len(s.LogP) * c.K; len(c.Teacher) != n || len(c.LogP) != n || len(c.Grad) != n {
		return fmt.Errorf("objective: Cand has %d, %d and %d entries in Teacher, LogP and Grad, want %d tokens × %d", len(c.Teacher), len(c.LogP), len(c.Grad), len(s.LogP), c.K)
	}
	return s.check(0)
}

// blameCandidate returns the reason why the divergence at position t is not finite.
func (s *Sequence) blameCandidate(t int) error {
	c := s.Cand
	for k := range c.K {
		teacher, policy := c.Teacher[t*c.K+k], c.LogP[t*c.K+k]
		if !finite(teacher) || !finite(policy) {
			return fmt.Errorf("objective: candidate %d at position %d has log-probs %v (teacher) and %v, for which the divergence is not finite", k, t, teacher, policy)
		}
	}
	return fmt.Errorf("objective: the divergence at position %d overflows", t)
}

// logSumExp returns log Σ exp(x).
func logSumExp(x []float64) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		if !(v <= top) { // so that a NaN gets through
			top = v
		}
	}
	if !finite(top) {
		return top
	}
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum)
}

// ForwardKL is mode-covering distillation (Hinton et al., arXiv:1503.02531): with
// q the teacher's and p the policy's probability of candidate k
//
//	L = Σ_k q_k·(log q_k - log p_k),  ∂L/∂log p_k = -q_k
//
// (for NormalizeBoth ∂L/∂log p_k = p_k - q_k). A teacher's log-prob of -Inf is
// a probability of 0 and contributes nothing. A masked token contributes
// nothing.
type ForwardKL struct {
	Normalize Normalize `json:"normalize"`
}

// Needs returns InputCandidates.
func (ForwardKL) Needs() Inputs { return InputCandidates }

// Validate returns an error if Normalize is invalid.
func (f ForwardKL) Validate() error {
	return settings.CheckEnum("objective: ForwardKL.Normalize", normalizeNames, f.Normalize)
}

// Eval implements Objective.
func (f ForwardKL) Eval(s *Sequence, m Metrics) (float64, error) {
	return sumCandidates(f, f.Normalize, "forward_kl", s, m)
}

func (ForwardKL) candidate(teacher, policy float64) (v, dv float64) {
	q := math.Exp(teacher)
	if q == 0 {
		return 0, 0
	}
	return q * (teacher - policy), -q
}

// ReverseKL is mode-seeking distillation (MiniLLM, arXiv:2306.08543): with q the
// teacher's and p the policy's probability of candidate k
//
//	L = Σ_k p_k·(log p_k - log q_k),  ∂L/∂log p_k = p_k·(log p_k - log q_k + 1)
//
// It is infinite, and an error, if the teacher gives a candidate probability 0
// (-Inf) and the policy does not. A masked token contributes nothing.
//
// Distilled has the same aim from the sampled token alone.
type ReverseKL struct {
	Normalize Normalize `json:"normalize"`
}

// Needs returns InputCandidates.
func (ReverseKL) Needs() Inputs { return InputCandidates }

// Validate returns an error if Normalize is invalid.
func (r ReverseKL) Validate() error {
	return settings.CheckEnum("objective: ReverseKL.Normalize", normalizeNames, r.Normalize)
}

// Eval implements Objective.
func (r ReverseKL) Eval(s *Sequence, m Metrics) (float64, error) {
	return sumCandidates(r, r.Normalize, "reverse_kl", s, m)
}

func (ReverseKL) candidate(teacher, policy float64) (v, dv float64) {
	p := math.Exp(policy)
	if p == 0 {
		return 0, 0
	}
	v = p * (policy - teacher)
	return v, v + p
}

// JSD is the generalised Jensen-Shannon divergence of GKD (Agarwal et al.,
// arXiv:2306.13649), as TRL computes it: with q the teacher's and p the
// policy's probability of candidate k and M = (1-Beta)·p + Beta·q
//
//	L = Beta·KL(q‖M) + (1-Beta)·KL(p‖M)
//	∂L/∂log p_k = (1-Beta)·p_k·log(p_k/M_k)
//
// (the terms from the normalisation of M cancel). It is bounded, also where
// either gives a candidate probability 0. TRL's beta of 0 and 1 mean ForwardKL
// and ReverseKL; the limits of this formula are 0. A masked token contributes
// nothing.
type JSD struct {
	// Beta is strictly between 0 and 1; 0.5 is usual.
	Beta      float64   `json:"beta"`
	Normalize Normalize `json:"normalize"`
}

// Needs returns InputCandidates.
func (JSD) Needs() Inputs { return InputCandidates }

// Validate returns an error that names the first invalid setting.
func (j JSD) Validate() error {
	if !(j.Beta > 0 && j.Beta < 1) {
		return fmt.Errorf("objective: JSD.Beta is %v, want a number between 0 (use ForwardKL) and 1 (use ReverseKL)", j.Beta)
	}
	return settings.CheckEnum("objective: JSD.Normalize", normalizeNames, j.Normalize)
}

// Eval implements Objective.
func (j JSD) Eval(s *Sequence, m Metrics) (float64, error) {
	return sumCandidates(j, j.Normalize, "jsd", s, m)
}

func (j JSD) candidate(teacher, policy float64) (v, dv float64) {
	q, p := math.Exp(teacher), math.Exp(policy)
	mix := math.Log((1-j.Beta)*p + j.Beta*q)
	if q > 0 {
		v = j.Beta * q * (teacher - mix)
	}
	if p > 0 {
		dv = (1 - j.Beta) * p * (policy - mix)
	}
	return v + dv, dv
}
