package sam

import (
	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/rl/advantage"
)

// Kinds is a map[string]any from the name of a kind to its prototype: a struct, or a
// pointer to one, whose fields are the defaults. Pass your own credit in this
// form to Decode and Encode:
//
//	mine := sam.Kinds{"half": Half{Factor: 0.5}}
//
// Every exported field of a prototype needs a json tag.
type Kinds = settings.Kinds

// BuiltInKinds returns the kinds of this package. Pass them to another package's
// Decode, together with those of package advantage, if a kind of yours there has
// a field that is a Credit.
func BuiltInKinds() Kinds {
	return Kinds{
		"outcome": Outcome{}, "mask": Mask{}, "prefix": Prefix{}, "step_group": StepGroup{},
		"return_to_go": ReturnToGo{}, "blend": Blend{}, "outcome_plus_verdict": OutcomePlusVerdict{},
	}
}

func with(own []Kinds) []Kinds {
	return append([]Kinds{BuiltInKinds(), advantage.BuiltInKinds()}, own...)
}

// Decode reads a Credit from JSON:
//
//	{"kind":"mask","leak_positive":0.1,"fill":{"kind":"rloo"}}
//	{"kind":"blend","a":{"kind":"mask"},"b":{"kind":"outcome"},"lambda":0.5}
//
// The kinds are "outcome", "mask", "prefix", "step_group", "return_to_go",
// "blend", "outcome_plus_verdict" and those of own; normalisers are those of
// package advantage. What the JSON leaves out is zero. Unknown kinds and fields,
// and invalid values, are errors that give the path.
func Decode(b []byte, own ...Kinds) (Credit, error) {
	return settings.Decode[Credit](b, nil, with(own)...)
}

// Encode returns c as JSON that Decode reads: all fields, zeros too.
func Encode(c Credit, own ...Kinds) ([]byte, error) { return settings.Encode(c, with(own)...) }
