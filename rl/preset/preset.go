package preset

import (
	"fmt"
	"strings"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// Preset is what one release of a trainer fixes.
type Preset struct {
	// Name is the system and its version, as Get knows it.
	Name string
	// Estimator turns rewards into advantages: the release's GRPO, or what it
	// has in that place. It fixes mean and spread, ε, the rule for a group of
	// one, how several rewards become one, and whether a KL penalty in the
	// reward is folded in before completions are compared.
	Estimator advantage.Estimator
	// Policy is the policy loss, with clip bounds, dual clip and clamps.
	Policy objective.Objective
	// KL is the divergence term of the loss: estimator, clamps and
	// coefficient. Beta is 0 where the release has none by default, and the
	// other fields are what it would use; all are zero if it cannot have one.
	KL objective.KL
	// Aggregation is what a token weighs: the denominators of loss and KL. All
	// of the releases keep tokens of advantage zero in the denominator, which
	// for masked ones is objective.MaskedStay.
	Aggregation objective.Aggregation
	// RewardKL is the divergence penalty in the reward; nil = none.
	RewardKL *objective.RewardKL
	// Temperature divides the logits, in sampling and in the log-probs that
	// are trained on.
	Temperature float64
	// MaskTruncated leaves completions at the length limit out of the loss.
	MaskTruncated bool
}

// Objective is the whole loss: Policy and, if its Beta is not 0, KL.
func (p Preset) Objective() objective.Objective {
	if p.KL.Beta == 0 {
		return p.Policy
	}
	return objective.Terms{p.Policy, p.KL}
}

// all makes the presets, in the order of their names.
func all() []Preset {
	return []Preset{openRLHF(), skyRL(), tinker(), trl(), verl()}
}

// Names returns the names of all presets, sorted.
func Names() []string {
	var names []string
	for _, p := range all() {
		names = append(names, p.Name)
	}
	return names
}

// Get returns a preset by its name. An unknown name is an error that lists the
// known ones.
func Get(name string) (Preset, error) {
	for _, p := range all() {
		if p.Name == name {
			return p, nil
		}
	}
	return Preset{}, fmt.Errorf("preset: unknown preset %q, want one of %s", name, strings.Join(Names(), ", "))
}
