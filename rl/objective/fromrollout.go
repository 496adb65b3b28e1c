package objective

import "fmt"

// FromRollout evaluates an objective with the sampling engine's log-probs in
// place of Old, so that its ratio covers at once how far the policy has moved
// and how far engine and trainer differ. So do Tinker and prime-rl, verl's
// bypass mode, and SkyRL's DPPO and CISPO with anchor "rollout". Not to be
// combined with Corrected, which would count the difference twice.
//
// A masked token contributes what it does to the objective.
type FromRollout struct {
	Objective Objective
}

// Needs returns Rollout and what the objective needs but Old.
func (f FromRollout) Needs() Inputs { return f.Objective.Needs()&^Old | Rollout }

// Validate returns the objective's error, or one if there is none.
func (f FromRollout) Validate() error {
	if f.Objective == nil {
		return errNoObjective("FromRollout")
	}
	return validate(f.Objective)
}

// Eval implements Objective.
func (f FromRollout) Eval(s *Sequence, m Metrics) (float64, error) {
	if f.Objective == nil {
		return 0, f.Validate()
	}
	if err := s.check(Rollout); err != nil {
		return 0, err
	}
	u := *s
	u.Old = s.Rollout
	loss, err := f.Objective.Eval(&u, m)
	if err != nil {
		return 0, fmt.Errorf("%w (Old is Rollout here)", err)
	}
	return loss, nil
}

func errNoObjective(name string) error {
	return fmt.Errorf("objective: %s.Objective is nil, want an objective to wrap", name)
}
