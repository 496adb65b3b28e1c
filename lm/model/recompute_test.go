package model_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

func gradientsOf(t *testing.T, b tensor.Backend, params []*tensor.Param) [][]float32 {
	t.Helper()
	var all [][]float32
	for _, p := range params {
		if p.Grad == nil {
			continue
		}
		x := make([]float32, p.Len())
		require.NoError(t, b.Read(x, p.Grad))
		all = append(all, x)
	}
	return all
}

// Activations that are computed again have the same bits, so the gradients
// have; a decoder then needs less memory.
func TestRecomputedDecoder(t *testing.T) {
	results := func(recompute, lora bool) ([][]float32, int) {
		d, err := model.NewDecoder(openCPU(), small, 1)
		require.NoError(t, err)
		if lora {
			_, err := d.AddLoRA(model.LoRAConfig{Rank: 2, Alpha: 4, Targets: model.AllProjections}, 2)
			require.NoError(t, err)
		}
		d.Recompute = recompute
		p, tg := groupPack(1)
		logp, entropy := make([]float32, len(tg.IDs)), make([]float32, len(tg.IDs))
		for range 2 {
			require.NoError(t, d.Forward(p, tg, logp, entropy))
			require.NoError(t, d.Backward(weights(len(logp)), entropy))
		}
		return append(gradientsOf(t, d.Backend(), d.Params()), logp, entropy), d.ActivationBytes()
	}
	for _, lora := range []bool{false, true} {
		want, kept := results(false, lora)
		got, recomputed := results(true, lora)
		require.Equal(t, want, got)
		require.Less(t, 4*recomputed, 3*kept, "with 3 blocks")
	}
}

func TestRecomputedEncoder(t *testing.T) {
	bert := model.EncoderConfig{
		Config: model.Config{Vocab: 50, Dim: 16, Layers: 3, Heads: 2, KVHeads: 2, FF: 24, MaxSeq: 32},
		Style:  model.BERTStyle, Classes: 3,
	}
	for _, c := range []model.EncoderConfig{tinyEncoder, bert} {
		results := func(recompute bool) [][]float32 {
			e, err := model.NewEncoder(openCPU(), c, 1)
			require.NoError(t, err)
			e.Recompute = recompute
			var p model.Pack
			p.Add([]int32{3, 1, 4, 1, 5}, -1)
			p.Add([]int32{9, 2, 6}, -1)
			logits := make([]float32, 2*c.Classes)
			require.NoError(t, e.Forward(&p, logits))
			require.NoError(t, e.Backward(weights(len(logits))))
			return append(gradientsOf(t, e.Backend(), e.Params()), logits)
		}
		require.Equal(t, results(false), results(true))
	}
}
