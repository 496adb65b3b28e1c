package model_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// TestCallsOfADecoder states what a decoder of four layers asks of a device. Every
// call is a launch, and every read or sync a wait that leaves the device idle.
func TestCallsOfADecoder(t *testing.T) {
	const layers, vocab = 4, 50
	b := backendtest.NewCounter(reference.New())
	d, err := model.NewDecoder(b, model.Config{Vocab: vocab, Dim: 16, Layers: layers, Heads: 4, KVHeads: 2, FF: 24, MaxSeq: 64}, 1)
	require.NoError(t, err)
	o, err := optim.NewAdamW(b, d.Params(), optim.DefaultConfig())
	require.NoError(t, err)
	pack, targets := &model.Pack{}, &model.Targets{}
	prompt := pack.Add([]int32{1, 2, 3, 4}, -1)
	for range 4 {
		s := pack.Add([]int32{5, 6, 7, 8, 9}, prompt)
		for r := pack.Segments[s].Start; r < pack.Segments[s].End; r++ {
			targets.Rows, targets.IDs = append(targets.Rows, int32(r)), append(targets.IDs, 5)
		}
	}
	n := len(targets.IDs)
	logp, entropy := make([]float32, n), make([]float32, n)
	for i := range 2 {
		b.Take()
		require.NoError(t, d.Forward(pack, targets, logp, entropy))
		forward := b.Take()
		require.NoError(t, d.Backward(logp, entropy))
		backward := b.Take()
		_, err = o.Step(1e-3, 1)
		require.NoError(t, err)
		update := b.Take()
		o.ZeroGrad()
		clearing := b.Take()
		if i == 0 {
			continue // it took memory
		}
		// An embedding, 13 operations in each layer, 2 more in the last, which goes on
		// with fewer rows, and 4 at the head.
		require.Equal(t, backendtest.Counts{Calls: 59, Reads: 1, ReadElements: 2 * n}, forward)
		require.Equal(t, backendtest.Counts{Calls: 104, Writes: 2, WriteElements: 2 * n}, backward)
		require.Equal(t, backendtest.Counts{Calls: 2, Reads: 1, ReadElements: 1}, update)
		require.Equal(t, backendtest.Counts{Calls: len(d.Params())}, clearing)
	}

	// The most likely tokens: the ids, then the logits of these and 6 statistics a row.
	// No row of logits is read.
	const k = 3
	c := model.NewCandidates(n, k)
	require.NoError(t, d.TopK(pack, targets.Rows, 1, c))
	b.Take()
	require.NoError(t, d.TopK(pack, targets.Rows, 1, c))
	top := b.Take()
	require.Equal(t, [2]int{4, n * (k + k + 6)}, [2]int{top.Reads, top.ReadElements})

	cache := d.NewCache(64)
	draws := &tensor.Draws{Rows: []int32{0, 1}, Temperature: []float32{1, 0.5}, TopK: []int32{0, 5}, TopP: []float32{0, 0.9}, Uniform: []float32{0.1, 0.7}}
	batch := &model.CacheBatch{
		Tokens: []int32{1, 2}, Pos: []int32{0, 0}, Slots: []int32{0, 1},
		Ranges: [][]tensor.Range{{{Start: 0, End: 1}}, {{Start: 1, End: 2}}}, LogitRows: []int32{0, 1},
	}
	for i := range 2 {
		b.Take()
		require.NoError(t, d.AppendDraw(cache, batch, draws, make([]float32, 6)))
		// An embedding, 14 operations in each layer, and 4 at the head.
		if got := b.Take(); i > 0 {
			require.Equal(t, backendtest.Counts{Calls: 61, Reads: 1, ReadElements: 6}, got)
		}
	}
}
