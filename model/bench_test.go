package model_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/model"
	"github.com/stepwise-rl/stepwise/tensor"
)

// small is a model that trains in minutes on two cores.
var small = model.Config{
	Vocab: 640, Dim: 64, Layers: 3, Heads: 4, KVHeads: 4, FF: 176, MaxSeq: 320, QKNorm: true, TieEmbeddings: true,
}

// groupPack packs completions of 80 tokens in groups of 8 that share a prompt
// of 150.
func groupPack(groups int) (*model.Pack, *model.Targets) {
	const group, promptLen, length = 8, 150, 80
	var p model.Pack
	var tg model.Targets
	ids := make([]int32, promptLen)
	for i := range ids {
		ids[i] = int32(7 * i % small.Vocab)
	}
	for range groups {
		prompt := p.Add(ids, -1)
		last := p.Rows() - 1
		for range group {
			target(&tg, ids[:length], last, p.Rows())
			p.Add(ids[:length-1], prompt)
		}
	}
	return &p, &tg
}

// BenchmarkTrain is forward and backward of 4 groups, in completion tokens/s.
func BenchmarkTrain(b *testing.B) {
	d, err := model.NewDecoder(openCPU(), small, 1)
	require.NoError(b, err)
	p, tg := groupPack(4)
	logp, dlogp := make([]float32, len(tg.IDs)), weights(len(tg.IDs))
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, d.Forward(p, tg, logp, nil))
		require.NoError(b, d.Backward(dlogp, nil))
	}
	b.ReportMetric(float64(len(tg.IDs)*b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// BenchmarkDecode is a decoding step of 128 sequences of 190 tokens that share
// 16 prompts, in tokens/s.
func BenchmarkDecode(b *testing.B) {
	const prompts, group, promptLen, length = 16, 8, 150, 40
	d, err := model.NewDecoder(openCPU(), small, 1)
	require.NoError(b, err)
	c := d.NewCache(prompts * (promptLen + group*length))
	defer c.Free()
	var s model.Step
	for i := range prompts * group {
		prompt := i / group * promptLen
		own := prompts*promptLen + i*length
		s.Tokens = append(s.Tokens, int32(i))
		s.Pos = append(s.Pos, promptLen+length-1)
		s.Slots = append(s.Slots, int32(own+length-1))
		s.Spans = append(s.Spans, []tensor.Span{{Start: prompt, End: prompt + promptLen}, {Start: own, End: own + length}})
		s.LogitRows = append(s.LogitRows, int32(i))
	}
	logits := make([]float32, len(s.Tokens)*small.Vocab)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, d.Append(c, &s, logits))
	}
	b.ReportMetric(float64(len(s.Tokens)*b.N)/b.Elapsed().Seconds(), "tokens/s")
}
