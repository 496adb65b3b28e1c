package model_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
)

// Rows without a target have no part in the last block's feed-forward layer.
// With targets of weight 0 they do, and log-probs and gradients are the same.
func TestRowsWithoutTargets(t *testing.T) {
	d, err := model.NewDecoder(openCPU(), small, 1)
	require.NoError(t, err)
	takeGradients := func() [][]float32 {
		all := gradientsOf(t, d.Backend(), d.Params())
		for _, p := range d.Params() {
			d.Backend().Fill(p.Grad, 0)
		}
		return all
	}
	p, few := groupPack(1)
	slices.Reverse(few.Rows) // they need not be in order
	slices.Reverse(few.IDs)
	n := len(few.IDs)
	all := model.Targets{Rows: slices.Clone(few.Rows), IDs: slices.Clone(few.IDs)}
	for r := range p.Rows() {
		all.Rows, all.IDs = append(all.Rows, int32(r)), append(all.IDs, 0)
	}
	logp, entropy := make([]float32, n), make([]float32, n)
	require.NoError(t, d.Forward(p, few, logp, entropy))
	require.NoError(t, d.Backward(weights(n), nil))
	got := takeGradients()

	allLogp, allEntropy := make([]float32, len(all.IDs)), make([]float32, len(all.IDs))
	require.NoError(t, d.Forward(p, &all, allLogp, allEntropy))
	require.NoError(t, d.Backward(append(weights(n), make([]float32, p.Rows())...), nil))
	want := takeGradients()

	require.InDeltaSlice(t, allLogp[:n], logp, 1e-6)
	require.InDeltaSlice(t, allEntropy[:n], entropy, 1e-6)
	for i := range want {
		require.InDeltaSlice(t, want[i], got[i], 1e-4*float64(slices.Max(want[i])+1), d.Params()[i].Name)
	}

	score, logits := make([]float32, n), make([]float32, 2*small.Vocab)
	require.NoError(t, d.Score(p, few, score, nil))
	require.Equal(t, logp, score)
	require.NoError(t, d.Logits(p, []int32{7, 3}, logits))
	swapped := make([]float32, 2*small.Vocab)
	require.NoError(t, d.Logits(p, []int32{3, 7}, swapped))
	require.Equal(t, logits[small.Vocab:], swapped[:small.Vocab])
}
