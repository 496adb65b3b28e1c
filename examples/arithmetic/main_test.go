package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTrain(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, train(context.Background(), &out, config{steps: 2, warmup: 10, updates: 2, credit: "mask", seed: 1}))
	require.Contains(t, out.String(), "after reinforcement learning, mask: right sums")
	out.Reset()
	require.ErrorContains(t, train(context.Background(), &out, config{steps: 2, warmup: 1, updates: 1, credit: "luck"}), `credit is "luck"`)
	require.ErrorContains(t, train(context.Background(), &out, config{steps: 2, warmup: 10, credit: "mask"}), "updates 0")
	require.Empty(t, out.String(), "before the warm-up")
}
