package objective

import (
	"errors"
	"fmt"
	"slices"
)

// Terms is the sum of its objectives, for example a policy loss and
// regularisers:
//
//	objective.Terms{
//		objective.PPO{ClipLow: 0.2, ClipHigh: 0.28},
//		objective.KL{Kind: objective.K3, Beta: 0.04},
//	}
//
// Each term says itself what a masked token contributes to it.
type Terms []Objective

// Needs returns what any term needs.
func (o Terms) Needs() (in Inputs) {
	for _, t := range o {
		in |= t.Needs()
	}
	return in
}

// Validate returns the first term's error, or one if there is no term or one
// of them is nil.
func (o Terms) Validate() error {
	if len(o) == 0 {
		return errors.New("objective: Terms is empty, want at least one objective")
	}
	for i, t := range o {
		if err := validate(t); err != nil {
			return fmt.Errorf("term %d: %w", i, err)
		}
	}
	return nil
}

// Eval implements Objective.
func (o Terms) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	if len(o) == 0 || slices.Contains(o, nil) {
		return 0, o.Validate()
	}
	for _, t := range o {
		l, err := t.Eval(s, m)
		if err != nil {
			return 0, err
		}
		loss += l
	}
	return loss, nil
}
