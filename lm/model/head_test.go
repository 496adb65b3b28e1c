package model

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// Whether the backward pass finds a chunk's logits or computes them again
// changes nothing.
func TestHeadChunks(t *testing.T) {
	c := Config{Vocab: 11, Dim: 4, Layers: 1, Heads: 1, KVHeads: 1, FF: 4, MaxSeq: 16}
	var p Pack
	var tg Targets
	p.Add([]int32{3, 1, 4, 1, 5, 9, 2, 6}, -1)
	for i := range 8 {
		tg.Rows, tg.IDs = append(tg.Rows, int32(i*5%8)), append(tg.IDs, int32(i*7%11))
	}
	results := func(chunk, slots int) [][]float32 {
		b := reference.New64()
		d, err := NewDecoder(b, c, 1)
		require.NoError(t, err)
		d.Head.chunk, d.Head.slots = chunk, slots
		logp, entropy := make([]float32, 8), make([]float32, 8)
		require.NoError(t, d.Forward(&p, &tg, logp, entropy))
		require.NoError(t, d.Backward(logp, entropy))
		var all [][]float32
		for _, q := range d.Params() {
			grad := make([]float32, q.Len())
			require.NoError(t, b.Read(grad, q.Grad))
			all = append(all, grad)
		}
		return all
	}
	want := results(8, 1)
	for chunk := 1; chunk <= 8; chunk++ {
		for slots := 1; slots <= 4; slots++ {
			got := results(chunk, slots)
			for i, g := range got {
				require.InDeltaSlice(t, want[i], g, 1e-6, fmt.Sprintf("parameter %d, chunks of %d, %d kept", i, chunk, slots))
			}
		}
	}
}
