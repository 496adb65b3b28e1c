package objective

import "math"

// ReverseKL is distillation that seeks a mode of the teacher (MiniLLM,
// arXiv:2306.08543): with q the teacher's and p the policy's probability of
// candidate k
//
//	L = Σ_k p_k·(log p_k - log q_k),  ∂L/∂log p_k = p_k·(log p_k - log q_k + 1)
//
// A candidate that the teacher rules out (-Inf) while the policy does not makes
// it infinite: an error. A masked token contributes nothing.
//
// Distilled has the same aim from the sampled token alone.
type ReverseKL struct {
	Normalize Normalize
}

// Needs returns Candidates.
func (ReverseKL) Needs() Inputs { return Candidates }

// Validate returns an error if Normalize is none of its values.
func (r ReverseKL) Validate() error { return r.Normalize.validate("ReverseKL") }

// Eval implements Objective.
func (r ReverseKL) Eval(s *Sequence, m Metrics) (float64, error) {
	if err := r.Validate(); err != nil {
		return 0, err
	}
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
