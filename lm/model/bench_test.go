package model_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
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

// BenchmarkTrain is a training step on 4 groups, in completion tokens/s.
func BenchmarkTrain(b *testing.B) {
	p, tg := groupPack(4)
	trainBench(b, small, false, p, tg, len(tg.IDs))
}

// BenchmarkTrainStep is a training step on 16 sequences of 256 tokens, in
// tokens/s.
func BenchmarkTrainStep(b *testing.B) {
	for _, c := range []struct {
		name   string
		config model.Config
	}{
		{"1M", model.Config{Vocab: 1024, Dim: 128, Layers: 4, Heads: 4, KVHeads: 2, FF: 384, MaxSeq: 256, TieEmbeddings: true}},
		{"10M", model.Config{Vocab: 4096, Dim: 320, Layers: 8, Heads: 5, KVHeads: 5, FF: 864, MaxSeq: 256, TieEmbeddings: true}},
		{"100M", model.Config{Vocab: 8192, Dim: 768, Layers: 12, Heads: 12, KVHeads: 4, FF: 2304, MaxSeq: 256, TieEmbeddings: true}},
		{"small", small},
	} {
		steps := func(b *testing.B, recompute bool) {
			const sequences, length = 16, 256
			var p model.Pack
			var tg model.Targets
			ids := make([]int32, length+1)
			for i := range ids {
				ids[i] = int32(7919 * i % c.config.Vocab)
			}
			for range sequences {
				first := p.Rows()
				p.Add(ids[:length], -1)
				target(&tg, ids[1:], first, first+1)
			}
			trainBench(b, c.config, recompute, &p, &tg, p.Rows())
		}
		b.Run(c.name, func(b *testing.B) { steps(b, false) })
		b.Run(c.name+"-recompute", func(b *testing.B) { steps(b, true) })
	}
}

// BenchmarkTrainLong is a training step on one sequence, of a model of 10M parameters
// with one key head, in tokens/s.
func BenchmarkTrainLong(b *testing.B) {
	c := model.Config{Vocab: 4096, Dim: 320, Layers: 8, Heads: 5, KVHeads: 1, FF: 864, MaxSeq: 2048, TieEmbeddings: true}
	for _, length := range []int{512, 1024, 2048} {
		b.Run(fmt.Sprint(length), func(b *testing.B) {
			var p model.Pack
			var tg model.Targets
			ids := make([]int32, length+1)
			for i := range ids {
				ids[i] = int32(7919 * i % c.Vocab)
			}
			p.Add(ids[:length], -1)
			target(&tg, ids[1:], 0, 1)
			trainBench(b, c, false, &p, &tg, p.Rows())
		})
	}
}

// trainBench times forward pass, backward pass and AdamW, and reports tokens per
// second.
func trainBench(b *testing.B, c model.Config, recompute bool, p *model.Pack, tg *model.Targets, tokens int) {
	d, err := model.NewDecoder(openCPU(), c, 1)
	require.NoError(b, err)
	d.Recompute = recompute
	opt, err := optim.NewAdamW(d.Backend(), d.Params(), optim.DefaultConfig())
	require.NoError(b, err)
	logp, dlogp := make([]float32, len(tg.IDs)), weights(len(tg.IDs))
	step := func() {
		require.NoError(b, d.Forward(p, tg, logp, nil))
		require.NoError(b, d.Backward(dlogp, nil))
		_, err := opt.Step(1e-4, 1)
		require.NoError(b, err)
		opt.ZeroGrad()
	}
	step() // grows the arena
	step() // makes it one block
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(tokens*b.N)/b.Elapsed().Seconds(), "tokens/s")
	b.ReportMetric(float64(d.ActivationBytes())/(1<<20), "activation-MiB")
}

// BenchmarkEncoderStep is a training step of a cross-encoder on 32 sequences of 64
// tokens, in tokens/s.
func BenchmarkEncoderStep(b *testing.B) {
	const sequences, length = 32, 64
	for _, c := range []struct {
		name   string
		config model.Config
	}{
		{"MiniLM", model.Config{Vocab: 30522, Dim: 384, Layers: 6, Heads: 12, KVHeads: 12, FF: 1536, MaxSeq: 512}},
		{"small", model.Config{Vocab: 3000, Dim: 128, Layers: 2, Heads: 2, KVHeads: 2, FF: 512, MaxSeq: 512}},
	} {
		b.Run(c.name, func(b *testing.B) {
			e, err := model.NewEncoder(openCPU(), model.EncoderConfig{Config: c.config, Style: model.BERTStyle, Classes: 3}, 1)
			require.NoError(b, err)
			opt, err := optim.NewAdamW(e.Backend(), e.Params(), optim.DefaultConfig())
			require.NoError(b, err)
			var p model.Pack
			ids := make([]int32, length)
			for i := range sequences {
				for j := range ids {
					ids[j] = int32(7919 * (i*length + j) % c.config.Vocab)
				}
				p.Add(ids, -1)
			}
			logits, dlogits := make([]float32, 3*sequences), weights(3*sequences)
			for b.Loop() {
				require.NoError(b, e.Forward(&p, logits))
				require.NoError(b, e.Backward(dlogits))
				_, err := opt.Step(1e-4, 1)
				require.NoError(b, err)
				opt.ZeroGrad()
			}
			b.ReportMetric(float64(p.Rows()*b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

// BenchmarkDecode is a decoding pass of 128 sequences of 190 tokens that share
// 16 prompts, in tokens/s.
func BenchmarkDecode(b *testing.B) {
	const prompts, group, promptLen, length = 16, 8, 150, 40
	d, err := model.NewDecoder(openCPU(), small, 1)
	require.NoError(b, err)
	c := d.NewCache(prompts * (promptLen + group*length))
	defer c.Free()
	var s model.CacheBatch
	for i := range prompts * group {
		prompt := i / group * promptLen
		own := prompts*promptLen + i*length
		s.Tokens = append(s.Tokens, int32(i))
		s.Pos = append(s.Pos, promptLen+length-1)
		s.Slots = append(s.Slots, int32(own+length-1))
		s.Ranges = append(s.Ranges, []tensor.Range{{Start: prompt, End: prompt + promptLen}, {Start: own, End: own + length}})
		s.LogitRows = append(s.LogitRows, int32(i))
	}
	logits := make([]float32, len(s.Tokens)*small.Vocab)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, d.Append(c, &s, logits))
	}
	b.ReportMetric(float64(len(s.Tokens)*b.N)/b.Elapsed().Seconds(), "tokens/s")
}
