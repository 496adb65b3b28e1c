package rollout_test

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rollout"
)

func TestValidate(t *testing.T) {
	good := func() rollout.Request {
		return rollout.Request{
			ID: "q7", Prompt: []int32{0, 5}, N: 1,
			Params: rollout.Params{Temperature: 0.5, TopP: 1, TopK: 3, MaxTokens: 1, Stop: []string{"\n"}},
		}
	}
	require.NoError(t, rollout.Validate(nil, nil))
	require.NoError(t, rollout.Validate([]rollout.Request{good(), good()}, nil))
	for want, spoil := range map[string]func(*rollout.Request){
		"Prompt is empty":                     func(r *rollout.Request) { r.Prompt = nil },
		"Prompt[1] is -2, not a token id":     func(r *rollout.Request) { r.Prompt[1] = -2 },
		"N is 0, want 1 or more":              func(r *rollout.Request) { r.N = 0 },
		"Temperature is NaN, want 0 or more":  func(r *rollout.Request) { r.Params.Temperature = math.NaN() },
		"Temperature is +Inf, want 0 or more": func(r *rollout.Request) { r.Params.Temperature = math.Inf(1) },
		"Temperature is -1, want 0 or more":   func(r *rollout.Request) { r.Params.Temperature = -1 },
		"TopP is 1.1, want 0 to 1":            func(r *rollout.Request) { r.Params.TopP = 1.1 },
		"TopP is NaN, want 0 to 1":            func(r *rollout.Request) { r.Params.TopP = math.NaN() },
		"TopK is -1, want 0 or more":          func(r *rollout.Request) { r.Params.TopK = -1 },
		"MaxTokens is 0, want 1 or more":      func(r *rollout.Request) { r.Params.MaxTokens = 0 },
		"Stop[1] is empty":                    func(r *rollout.Request) { r.Params.Stop = []string{"a", ""} },
	} {
		r := good()
		spoil(&r)
		require.EqualError(t, rollout.Validate([]rollout.Request{good(), r}, nil), `rollout: request 1 ("q7"): `+want)
	}
	long := errors.New("prompt too long")
	err := rollout.Validate([]rollout.Request{good()}, func(*rollout.Request) error { return long })
	require.ErrorIs(t, err, long)
	require.EqualError(t, err, `rollout: request 0 ("q7"): prompt too long`)
}

func TestVerdictsAreText(t *testing.T) {
	for v, want := range []string{"unknown", "correct", "incorrect", "broken"} {
		text, err := rollout.Verdict(v).MarshalText()
		require.NoError(t, err)
		require.Equal(t, want, string(text))
		var back rollout.Verdict
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, rollout.Verdict(v), back)
	}
	_, err := rollout.Verdict(4).MarshalText()
	require.EqualError(t, err, "want unknown, correct, incorrect or broken, got rollout.Verdict(4)")
	require.EqualError(t, new(rollout.Verdict).UnmarshalText([]byte("right")), `want unknown, correct, incorrect or broken, got "right"`)
}

// A step without tokens is answered for by the token where it should have begun, or
// by the last.
func TestBlamed(t *testing.T) {
	c := rollout.Completion{Tokens: []int32{7, 8, 9}}
	for _, x := range []struct {
		start, end, token int
		ok                bool
	}{{0, 0, 0, true}, {2, 2, 2, true}, {3, 3, 2, true}, {1, 3, 1, false}} {
		token, ok := c.Blamed(&rollout.Step{Start: x.start, End: x.end})
		require.Equal(t, x.ok, ok)
		require.Equal(t, x.token, token)
	}
	_, ok := new(rollout.Completion).Blamed(&rollout.Step{})
	require.False(t, ok)
}
