package model_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// counting counts the buffers that are allocated and not yet freed, and their
// elements.
type counting struct {
	tensor.Backend
	allocs, live, elements int
}

func (c *counting) Alloc(n int) tensor.Buffer {
	c.allocs++
	c.live++
	c.elements += n
	return c.Backend.Alloc(n)
}

func (c *counting) Free(b tensor.Buffer) {
	c.live--
	c.elements -= b.Len()
	c.Backend.Free(b)
}

func TestMemoryIsAllocatedOnGrowthOnly(t *testing.T) {
	b := &counting{Backend: reference.New()}
	d := newDecoder(t, b, tiny)
	step := func(rows int) {
		var p model.Pack
		p.Add(make([]int32, rows), -1)
		tg := &model.Targets{Rows: make([]int32, rows), IDs: make([]int32, rows)}
		require.NoError(t, d.Forward(&p, tg, make([]float32, rows), nil))
		require.NoError(t, d.Backward(make([]float32, rows), nil))
	}
	step(20)
	step(20) // what the first pass took in pieces becomes one block
	after := b.allocs
	for rows := 1; rows <= 20; rows++ {
		step(rows)
	}
	require.Equal(t, after, b.allocs)

	c := d.NewCache(8)
	c.Free()
	d.Free()
	require.Zero(t, b.live, "Free releases everything")
}

// ActivationBytes counts what a pass needs, however the arena divides it.
func TestActivationBytes(t *testing.T) {
	d, err := model.NewDecoder(openCPU(), small, 1)
	require.NoError(t, err)
	require.Zero(t, d.ActivationBytes())
	p, tg := groupPack(1)
	logp := make([]float32, len(tg.IDs))
	require.NoError(t, d.Score(p, tg, logp, nil))
	scored := d.ActivationBytes()
	// At least the states of all rows and their head's logits.
	require.Greater(t, scored, 4*(p.Rows()*small.Dim+len(tg.IDs)*small.Vocab))
	require.NoError(t, d.Forward(p, tg, logp, nil))
	require.NoError(t, d.Backward(logp, nil))
	trained := d.ActivationBytes()
	require.Greater(t, trained, scored+4*small.Layers*p.Rows()*(2*small.Dim+3*small.FF))
	require.NoError(t, d.Score(p, tg, logp, nil))
	require.Equal(t, trained, d.ActivationBytes())
}

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

// Activations that are computed again have the same bits, and so do the
// gradients. A decoder then needs less memory.
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
