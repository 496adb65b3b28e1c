package advantage

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/internal/settings"
)

// Kinds is a map[string]any from the name of a kind to its prototype: a struct,
// or a pointer to one, whose fields are the defaults. Pass your own estimators
// and normalisers in this form to Decode and Encode:
//
//	mine := advantage.Kinds{"shifted": Shifted{By: 0.5}}
//
// Every exported field of a prototype needs a json tag.
type Kinds = settings.Kinds

// BuiltInKinds returns the kinds of this package. Pass them to another package's
// Decode if a kind of yours there has a field that is an Estimator or a
// Normalizer:
//
//	objective.Decode(b, mine, advantage.BuiltInKinds())
func BuiltInKinds() Kinds {
	return Kinds{
		"group": GroupEstimator{}, "grpo_batch_std": GRPOBatchStd{}, "opo": OPO{}, "gdpo": GDPO{},
		"reinforce_pp": ReinforcePP{}, "reinforce_pp_baseline": ReinforcePPBaseline{},

		"grpo": GRPO{}, "dr_grpo": DrGRPO{}, "rloo": RLOO{}, "maxrl": MaxRL{}, "pass_at_k": PassAtK{},
	}
}

func with(own []Kinds) []Kinds { return append([]Kinds{BuiltInKinds()}, own...) }

// Decode reads an Estimator from JSON:
//
//	{"kind":"group","norm":{"kind":"grpo","epsilon":1e-4},"combine":{"weights":[1,0.5]}}
//
// The kinds are "group", "grpo_batch_std", "opo", "gdpo", "reinforce_pp",
// "reinforce_pp_baseline" and those of own, and of normalisers "grpo", "dr_grpo",
// "rloo", "maxrl", "pass_at_k" and those of own. What the JSON leaves out is zero.
// Unknown kinds and fields, and invalid values, are errors that give the path.
func Decode(b []byte, own ...Kinds) (Estimator, error) {
	return settings.Decode[Estimator](b, nil, with(own)...)
}

// Encode returns e as JSON that Decode reads: all fields, zeros too.
func Encode(e Estimator, own ...Kinds) ([]byte, error) { return settings.Encode(e, with(own)...) }

func checkNonNegative(name string, x float64) error {
	if !(x >= 0) || math.IsInf(x, 1) {
		return fmt.Errorf("advantage: %s is %v, want a finite number of at least 0", name, x)
	}
	return nil
}

func checkTolerance(of string, x float64) error {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return fmt.Errorf("advantage: %s.Tolerance is %v, want a finite number", of, x)
	}
	return nil
}

func checkGamma(of string, gamma float64) error {
	if !(gamma >= 0 && gamma <= 1) {
		return fmt.Errorf("advantage: %s.Gamma is %v, want 0 (for 1) to 1", of, gamma)
	}
	return nil
}
