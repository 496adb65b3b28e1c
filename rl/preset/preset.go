package preset

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/sam"
)

// Preset holds the settings that one release of a trainer fixes. It is plain
// data: change any of it, in Go or with Decode.
type Preset struct {
	// Name is the system and its version, as Get knows it.
	Name string `json:"name"`
	// Estimator turns rewards into advantages: the release's GRPO, or its closest
	// equivalent. It fixes mean and spread, ε, the advantage in a group of one,
	// the combination of several rewards, and whether a KL penalty in the reward
	// is added before completions are compared.
	Estimator advantage.Estimator `json:"estimator"`
	// Weights holds factors of rewards by name; see Weighted. Nil leaves those of
	// Estimator.
	Weights map[string]float64 `json:"weights"`
	// Credit is the step credit. No release has any, so it is sam.Outcome in all
	// presets.
	Credit sam.Credit `json:"credit"`
	// Policy is the policy loss, with clip bounds, dual clip and clamps.
	Policy objective.Objective `json:"policy"`
	// KL is the divergence term of the loss: estimator, clamps and coefficient.
	// Beta is 0 where the release has no such term by default; the other fields
	// are its defaults.
	KL objective.KL `json:"kl"`
	// Aggregation sets each token's weight: the denominators of loss and KL. All
	// the releases keep tokens of advantage zero in the denominator; for masked
	// tokens that is objective.MaskedStay.
	Aggregation objective.Aggregation `json:"aggregation"`
	// RewardKL is the divergence penalty in the reward; nil = none.
	RewardKL *objective.RewardKL `json:"reward_kl"`
	// Temperature divides the logits, in sampling and in the log-probs that
	// are trained on.
	Temperature float64 `json:"temperature"`
	// ExcludeTruncated leaves completions at the length limit out of the loss.
	ExcludeTruncated bool `json:"exclude_truncated"`
	// Reject excludes what the sampling engine and the trainer give too different
	// log-probs, and TopEntropy is the share of tokens that carry the policy loss, those
	// of the highest entropy; nil and 0 in all presets. See rl.Config.
	Reject     []objective.Rejection `json:"reject"`
	TopEntropy float64               `json:"top_entropy"`
}

// Objective is the whole loss: Policy and, if its Beta is not 0, KL.
func (p Preset) Objective() objective.Objective {
	if p.KL.Beta == 0 {
		return p.Policy
	}
	return objective.Terms{p.Policy, p.KL}
}

// Weighted returns Estimator with Weights in the order of the rewards' names;
// a reward that Weights does not name has 1. It is an error if Weights names
// another reward, or if the estimator is no advantage.Weighter.
func (p Preset) Weighted(rewards []string) (advantage.Estimator, error) {
	if p.Weights == nil {
		return p.Estimator, nil
	}
	e, ok := p.Estimator.(advantage.Weighter)
	if !ok {
		return nil, fmt.Errorf("preset: weights are set, but an estimator of type %T has none", p.Estimator)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Weights)) {
		if !slices.Contains(rewards, name) {
			return nil, fmt.Errorf("preset: weights has %q, but the rewards are named %s", name, strings.Join(rewards, ", "))
		}
	}
	w := make([]float64, len(rewards))
	for i, name := range rewards {
		w[i] = 1
		if x, ok := p.Weights[name]; ok {
			w[i] = x
		}
	}
	return e.WithWeights(w), nil
}

// Validate returns an error that names the first invalid setting.
func (p Preset) Validate() error {
	type part struct {
		name     string
		settings interface{ Validate() error }
	}
	parts := []part{{"estimator", p.Estimator}, {"credit", p.Credit}, {"policy", p.Policy}, {"kl", p.KL}, {"aggregation", p.Aggregation}}
	if p.RewardKL != nil {
		parts = append(parts, part{"reward_kl", p.RewardKL})
	}
	for i, r := range p.Reject {
		parts = append(parts, part{fmt.Sprintf("reject[%d]", i), r})
	}
	for _, part := range parts {
		if part.settings == nil {
			return fmt.Errorf("preset: %s is missing, want an object with a kind", part.name)
		}
		if err := part.settings.Validate(); err != nil {
			return fmt.Errorf("preset: %s: %w", part.name, err)
		}
	}
	for name, w := range p.Weights {
		if math.IsNaN(w) || math.IsInf(w, 0) {
			return fmt.Errorf("preset: weights.%s is %v, want a finite number", name, w)
		}
	}
	if !(p.TopEntropy >= 0 && p.TopEntropy <= 1) {
		return fmt.Errorf("preset: top_entropy is %v, want a share of the tokens, or 0 for all", p.TopEntropy)
	}
	if !(p.Temperature > 0) || math.IsInf(p.Temperature, 1) {
		return fmt.Errorf("preset: temperature is %v, want a positive number", p.Temperature)
	}
	return nil
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

// all makes the presets, in the order of their names.
func all() []Preset {
	return []Preset{openRLHF(), skyRL(), tinker(), trl(), verl()}
}

// Kinds is a map[string]any from the name of a kind to its prototype, as in packages
// advantage, sam and objective.
type Kinds = settings.Kinds

func with(own []Kinds) []Kinds {
	return append([]Kinds{advantage.BuiltInKinds(), sam.BuiltInKinds(), objective.BuiltInKinds()}, own...)
}

// Decode lays JSON over a preset:
//
//	{"credit":{"kind":"mask"}, "policy":{"clip_high":0.28}, "kl":{"beta":0.001}}
//
// An object without "kind" changes single settings, one with "kind" replaces the
// old value. The base is not changed. Kinds are those of packages advantage, sam
// and objective and those of own. Unknown kinds and fields, and invalid values,
// are errors that give the path.
func Decode(b []byte, base Preset, own ...Kinds) (Preset, error) {
	return settings.Decode(b, base, with(own)...)
}

// Encode returns p as JSON: all settings, zeros too. Decode makes an equal
// preset of it, whatever the base.
func Encode(p Preset, own ...Kinds) ([]byte, error) { return settings.Encode(p, with(own)...) }
