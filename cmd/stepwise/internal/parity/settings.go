package parity

import (
	"errors"
	"slices"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/preset"
	"github.com/stepwise-rl/stepwise/sam"
)

// Defaults returns the settings of a program that names no preset: GRPO with PPO
// and a token mean, without step credit and KL.
func Defaults() preset.Preset {
	return preset.Preset{
		Name:        "default",
		Estimator:   advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4}),
		Credit:      sam.Outcome{},
		Policy:      objective.PPO{ClipLow: 0.2, ClipHigh: 0.2},
		KL:          objective.KL{Estimator: objective.K3},
		Aggregation: objective.TokenMean{},
		Temperature: 1,
	}
}

// kinds are those that only this format has.
var kinds = preset.Kinds{"padded_length": PaddedLength{}}

// Decode lays JSON over settings, as preset.Decode does, with the kind
// "padded_length". A loss that reads candidates is an error: the format has none.
func Decode(b []byte, base preset.Preset) (preset.Preset, error) {
	p, err := preset.Decode(b, base, kinds)
	if err == nil && p.Objective().Needs()&objective.InputCandidates != 0 {
		return p, errors.New("settings: policy: it reads candidates, which the format does not have")
	}
	return p, err
}

// Encode returns settings as JSON that Decode reads.
func Encode(p preset.Preset) ([]byte, error) { return preset.Encode(p, kinds) }

// PaddedLength is objective.Constant with the padded length as its constant: the
// number of entries of the line's longest row.
type PaddedLength struct {
	Masked      objective.Masked `json:"masked"`
	PerSequence bool             `json:"per_sequence"`
}

// Validate implements objective.Aggregation.
func (a PaddedLength) Validate() error { return a.constant(1).Validate() }

// Weigh implements objective.Aggregation.
func (a PaddedLength) Weigh(l objective.Layout) (loss, kl [][]float64, err error) {
	n := 0
	for _, row := range l.Include {
		n = max(n, len(row))
	}
	return a.constant(n).Weigh(l)
}

func (a PaddedLength) constant(n int) objective.Constant {
	return objective.Constant{Masked: a.Masked, Tokens: float64(n), PerSequence: a.PerSequence}
}

// readsPrompt reports whether an aggregation needs the prompts.
func readsPrompt(a objective.Aggregation) bool {
	switch a := a.(type) {
	case objective.PromptMean:
		return true
	case objective.Split:
		return readsPrompt(a.Loss) || readsPrompt(a.Regularizer)
	}
	return false
}

// readsAdvantages reports whether an objective needs the advantages.
func readsAdvantages(o objective.Objective) bool {
	switch o.(type) {
	case objective.CrossEntropy, objective.KL, objective.EntropyBonus, objective.Distilled:
		return false
	case objective.Gated: // their signs
		return true
	}
	parts := objective.Parts(o)
	return parts == nil || slices.ContainsFunc(parts, readsAdvantages)
}
