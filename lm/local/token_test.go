package local_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Every token is shown as it is drawn, before its completion is emitted.
func TestOnToken(t *testing.T) {
	d := decoder(t, reference.New())
	type sample struct{ request, index int }
	shown := map[sample][]int32{}
	e := newEngine(t, d, local.EngineOptions{Sequences: 3, OnToken: func(request, index int, token int32) error {
		shown[sample{request, index}] = append(shown[sample{request, index}], token)
		return nil
	}})
	params := rollout.Params{Temperature: 1, MaxTokens: 9}
	reqs := []rollout.Request{
		{Prompt: []int32{1, 2}, N: 4, Params: params},
		{Prompt: []int32{3}, N: 2, Params: params, Stream: [3]uint64{1}},
	}
	emitted := 0
	require.NoError(t, e.Generate(t.Context(), reqs, func(c rollout.Completion) error {
		emitted++
		require.Equal(t, c.Tokens, shown[sample{c.Request, c.Index}])
		return c.Err
	}))
	require.Equal(t, 6, emitted)
	require.Len(t, shown, 6)

	stop := errors.New("stop")
	e = newEngine(t, d, local.EngineOptions{OnToken: func(int, int, int32) error { return stop }})
	err := e.Generate(context.Background(), reqs, func(rollout.Completion) error { panic("nothing is complete") })
	require.ErrorIs(t, err, stop)
}
