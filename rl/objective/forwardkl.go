package objective

import "math"

// ForwardKL is distillation that covers all that the teacher says (Hinton et
// al., arXiv:1503.02531): with q the teacher's and p the policy's probability
// of candidate k
//
//	L = Σ_k q_k·(log q_k - log p_k),  ∂L/∂log p_k = -q_k
//
// (for NormalizeBoth ∂L/∂log p_k = p_k - q_k). A teacher's log-prob of -Inf is
// a probability of 0 and contributes nothing. A masked token contributes
// nothing.
type ForwardKL struct {
	Normalize Normalize
}

// Needs returns Candidates.
func (ForwardKL) Needs() Inputs { return Candidates }

// Validate returns an error if Normalize is none of its values.
func (f ForwardKL) Validate() error { return f.Normalize.validate("ForwardKL") }

// Eval implements Objective.
func (f ForwardKL) Eval(s *Sequence, m Metrics) (float64, error) {
	if err := f.Validate(); err != nil {
		return 0, err
	}
	return sumCandidates(f, f.Normalize, "forward_kl", s, m)
}

func (ForwardKL) candidate(teacher, policy float64) (v, dv float64) {
	q := math.Exp(teacher)
	if q == 0 {
		return 0, 0
	}
	return q * (teacher - policy), -q
}
