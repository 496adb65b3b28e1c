package objective

import (
	"fmt"
	"math"
)

// JSD is the generalised Jensen-Shannon divergence of GKD (Agarwal et al.,
// arXiv:2306.13649), as TRL computes it: with q the teacher's and p the
// policy's probability of candidate k and M = (1-Beta)·p + Beta·q
//
//	L = Beta·KL(q‖M) + (1-Beta)·KL(p‖M)
//	∂L/∂log p_k = (1-Beta)·p_k·log(p_k/M_k)
//
// (the terms from the normalisation of M cancel). It is bounded, and finite
// where either rules a candidate out. TRL's beta of 0 and 1 mean ForwardKL and
// ReverseKL; the limits of this formula are 0. A masked token contributes
// nothing.
type JSD struct {
	// Beta is strictly between 0 and 1; 0.5 is usual.
	Beta      float64
	Normalize Normalize
}

// Needs returns Candidates.
func (JSD) Needs() Inputs { return Candidates }

// Validate returns an error that names the first bad setting.
func (j JSD) Validate() error {
	if !(j.Beta > 0 && j.Beta < 1) {
		return fmt.Errorf("objective: JSD.Beta is %v, want a number between 0 (use ForwardKL) and 1 (use ReverseKL)", j.Beta)
	}
	return j.Normalize.validate("JSD")
}

// Eval implements Objective.
func (j JSD) Eval(s *Sequence, m Metrics) (float64, error) {
	if err := j.Validate(); err != nil {
		return 0, err
	}
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
