package policytest

import (
	"math"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// linear is the loss Σ c·w·logp with the constant c: what every policy knows.
type linear struct{ c float64 }

func (linear) Needs() objective.Inputs { return 0 }
func (linear) Validate() error         { return nil }
func (l linear) Eval(s *objective.Sequence, m objective.Metrics) (float64, error) {
	loss := 0.0
	for t, w := range s.Weight {
		if w != 0 {
			loss += l.c * w * s.LogP[t]
			s.Grad[t] += l.c * w
		}
	}
	m.Add("tokens", float64(len(s.Weight)), 1)
	return loss, nil
}

type failing struct{ err error }

func (failing) Needs() objective.Inputs { return 0 }
func (failing) Validate() error         { return nil }
func (f failing) Eval(s *objective.Sequence, _ objective.Metrics) (float64, error) {
	for t := range s.Grad {
		s.Grad[t] = 1
	}
	return 0, f.err
}

type exploding struct{}

func (exploding) Needs() objective.Inputs { return 0 }
func (exploding) Validate() error         { return nil }
func (exploding) Eval(s *objective.Sequence, _ objective.Metrics) (float64, error) {
	for t := range s.Grad {
		s.Grad[t] = math.Inf(1)
	}
	return 0, nil
}

type entropyBonus struct{}

func (entropyBonus) Needs() objective.Inputs { return objective.InputEntropy }
func (entropyBonus) Validate() error         { return nil }
func (entropyBonus) Eval(s *objective.Sequence, _ objective.Metrics) (float64, error) {
	loss := 0.0
	for t, w := range s.Weight {
		loss -= w * s.Entropy[t]
		s.EntropyGrad[t] -= w
	}
	return loss, nil
}

type wantsCandidates struct{ linear }

func (wantsCandidates) Needs() objective.Inputs { return objective.InputCandidates }
