package model_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// A model of a decoder's first layers has its weights and is trained apart from it.
func TestFirstLayers(t *testing.T) {
	b := reference.New()
	c := model.Config{Vocab: 7, Dim: 8, Layers: 2, Heads: 2, KVHeads: 1, FF: 12, MaxSeq: 6, TieEmbeddings: true}
	d, err := model.NewDecoder(b, c, 1)
	require.NoError(t, err)
	logits := func(d *model.Decoder) []float32 {
		var p model.Pack
		p.Add([]int32{1, 2, 3}, -1)
		out := make([]float32, 7)
		require.NoError(t, d.Logits(&p, []int32{2}, out))
		return out
	}
	whole, err := d.First(0)
	require.NoError(t, err)
	require.Equal(t, logits(d), logits(whole))
	one, err := d.First(1)
	require.NoError(t, err)
	require.Equal(t, 1, one.Config().Layers)
	require.NotNil(t, one.Params()[0].Grad)
	e, err := model.EncoderOf(d, 1, 3, 5)
	require.NoError(t, err)
	require.Equal(t, 3, e.Config().Classes)
	for i, p := range one.Params() { // in the same order, then the score
		want, got := make([]float32, p.Len()), make([]float32, p.Len())
		require.NoError(t, b.Read(want, p.Value))
		require.NoError(t, b.Read(got, e.Params()[i].Value))
		require.Equal(t, want, got, p.Name)
	}
	_, err = model.EncoderOf(d, 3, 3, 5)
	require.ErrorContains(t, err, "the first 3 layers of a decoder that has 2")
}
