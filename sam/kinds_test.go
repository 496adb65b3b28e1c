package sam_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

func ExampleDecode() {
	credit, err := sam.Decode([]byte(`{"kind":"prefix","mask":{"broken":"mask"}}`))
	if err != nil {
		panic(err)
	}
	text, _ := sam.Encode(credit)
	fmt.Printf("%s\n", text)
	_, err = sam.Decode([]byte(`{"kind":"mask","sign":"negative"}`))
	fmt.Println(err)
	// Output:
	// {"kind":"prefix","mask":{"sign":"both","leak_positive":0,"leak_negative":0,"broken":"mask","mask_final":false,"mask_outside":false,"rescale":0,"fill":null}}
	// settings: sign: want both or positive, got "negative"
}

// half is a custom credit.
type half struct {
	Factor float64 `json:"factor"`
}

func (half) Validate() error { return nil }

func (h half) Assign(batch []rollout.Group) (sam.Stats, error) { return sam.Outcome{}.Assign(batch) }

// Every kind comes back from JSON as it was, with all settings away from zero.
func TestKinds(t *testing.T) {
	own := sam.Kinds{"half": half{Factor: .5}}
	mask := sam.Mask{
		Sign: sam.SignPositive, LeakPositive: 1, LeakNegative: -1, Broken: sam.BrokenKeep,
		MaskFinal: true, MaskOutside: true, Rescale: 2, Fill: advantage.RLOO{},
	}
	seen := map[string]bool{}
	for _, c := range []sam.Credit{
		sam.Outcome{}, mask, sam.Prefix{Mask: mask},
		sam.StepGroup{Norm: advantage.GRPO{Epsilon: 1}, BrokenReward: -1},
		sam.ReturnToGo{Norm: advantage.MaxRL{}, BrokenReward: -1},
		sam.Blend{A: mask, B: half{Factor: 3}, Lambda: .25},
		sam.OutcomePlusVerdict{Norm: advantage.DrGRPO{}, Combine: advantage.Combine{Weights: []float64{1, 2}}},
	} {
		text, err := sam.Encode(c, own)
		require.NoError(t, err)
		got, err := sam.Decode(text, own)
		require.NoError(t, err)
		require.Equal(t, c, got)
		seen[fmt.Sprintf("%T", c)] = true
	}
	for name, k := range sam.BuiltInKinds() {
		require.True(t, seen[fmt.Sprintf("%T", k)], name)
	}
	c, err := sam.Decode([]byte(`{"kind":"half"}`), own)
	require.NoError(t, err)
	require.Equal(t, half{Factor: .5}, c, "the prototype's default")
	_, err = sam.Encode(c)
	require.ErrorContains(t, err, "Go type sam_test.half has no kind")
}

// What Validate refuses is not decoded.
func TestInvalidJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{"kind":"step_group"}`:                                          "settings: norm is nil, want a normaliser such as advantage.RLOO",
		`{"kind":"mask","rescale":0.5}`:                                  "settings: rescale is 0.5, want 0 or a bound of at least 1",
		`{"kind":"blend","a":{"kind":"mask"}}`:                           "settings: b is nil, want a kind of credit",
		`{"kind":"prefix","mask":{"fill":{"kind":"grpo","epsilon":-1}}}`: "settings: mask.fill.epsilon is -1, want a finite number of at least 0",
	} {
		_, err := sam.Decode([]byte(text))
		require.EqualError(t, err, want)
	}
}
