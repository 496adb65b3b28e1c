package local_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
)

// labelDecoder answers two steps and the label at the ends of its inputs.
func labelDecoder(t *testing.T, d *model.Decoder, maxRows int) *local.LabelDecoder {
	s, err := local.NewLabelDecoder(local.LabelDecoderConfig{
		Decoder: d, Labels: []int32{1, 2, 3}, Steps: [][]int32{{4, 5}, {1, 5}}, MaxRows: maxRows, Dir: t.TempDir(),
	})
	require.NoError(t, err)
	t.Cleanup(s.Free)
	return s
}

var decoderInputs = [][]int32{{6, 7, 8, 9, 10}, {9, 9, 10}, {1, 2, 8, 9, 10, 3}, {4, 4, 4}}

// The outputs are the decoder's log-probs of the answers' tokens, and the gradient is
// that of the loss and of the answers' mass together.
func TestLabelDecoder(t *testing.T) {
	b := reference.New64()
	c := tiny
	c.Dim, c.FF, c.Heads, c.KVHeads, c.Layers = 8, 12, 2, 1, 1
	d, err := model.NewDecoder(b, c, 3)
	require.NoError(t, err)
	randomise(b, d.Params())
	outputs := func(s *local.LabelDecoder, train bool) [][]float64 {
		dst := make([][]float64, len(decoderInputs))
		for i := range dst {
			dst[i] = make([]float64, 7)
		}
		require.NoError(t, s.Logits(t.Context(), decoderInputs, dst, train))
		return dst
	}
	s := labelDecoder(t, d, 8)
	logp := logProbs(t, local.NewLogProber(d, 0), &rl.Batch{
		Prompts: [][]int32{{6, 7, 8, 9, 10}, {6, 7, 8}},
		Samples: []rl.Sample{{Prompt: 0, Tokens: []int32{2}}, {Prompt: 1, Tokens: []int32{5}}},
	})
	first := outputs(s, true)
	require.InDelta(t, logp[0][0], first[0][1], 1e-6, "the label, after the last token")
	require.InDelta(t, logp[1][0], first[0][4], 1e-6, "the first step, two tokens before")

	slope := make([][]float64, len(first))
	for i := range slope {
		slope[i] = []float64{.3, -.2, .5, -.7, .1, .4, .2}
	}
	require.NoError(t, s.Backward(t.Context(), slope))
	checkGradients(t, b, d.Params(), func() float64 {
		sum := 0.0
		for i, row := range outputs(s, false) {
			for c := range row {
				sum += slope[i][c] * row[c]
			}
			for _, q := range [][]float64{row[:3], row[3:5], row[5:]} {
				mass := 0.0
				for _, lp := range q {
					mass += math.Exp(lp)
				}
				sum -= math.Log(mass) / float64(len(decoderInputs))
			}
		}
		return sum
	})
}

// The head is computed for a question once, not for each of its answers, and that changes
// the log-probs by no more than the rounding of float32.
func TestLabelDecoderComputesTheHeadOncePerQuestion(t *testing.T) {
	b := &countLogProbs{Backend: openCPU(t)}
	d := newDecoder(t, b, 1)
	s := labelDecoder(t, d, 0)
	questions := [][]int32{{1, 2, 3}, {4, 5}, {1, 5}}
	batch := &rl.Batch{}
	for _, in := range decoderInputs {
		for k, q := range questions {
			for _, id := range q {
				cut := len(in)
				if k > 0 {
					cut = len(in) - len(questions) + k
				}
				batch.Samples = append(batch.Samples, rl.Sample{Prompt: len(batch.Prompts), Tokens: []int32{id}})
				batch.Prompts = append(batch.Prompts, in[:cut])
			}
		}
	}
	want := logProbs(t, local.NewLogProber(d, 0), batch)
	b.rows = 0
	got := make([][]float64, len(decoderInputs))
	for i := range got {
		got[i] = make([]float64, 7)
	}
	require.NoError(t, s.Logits(t.Context(), decoderInputs, got, false))
	for i, row := range got {
		for c, logp := range row {
			require.InDelta(t, want[7*i+c][0], logp, 1e-6, "input %d, output %d", i, c)
		}
	}
	// Over the vocabulary, and again over what is no answer.
	require.Equal(t, 2*len(questions)*len(decoderInputs), b.rows)
}

// countLogProbs counts rows of logits.
type countLogProbs struct {
	tensor.Backend
	rows int
}

func (b *countLogProbs) LogProb(logp, ent, stats, logits tensor.Buffer, ids []int32, cols int, invTemp float32) {
	b.rows += len(ids)
	b.Backend.LogProb(logp, ent, stats, logits, ids, cols, invTemp)
}

// What it has learnt, an engine samples as its first token.
func TestLabelDecoderStatesTheLabel(t *testing.T) {
	s := labelDecoder(t, newDecoder(t, openCPU(t), 1), 0)
	f := distill.Fit{
		Student: s, Classes: 3, Answers: []int{2, 2}, StepWeight: 1, Batch: 2, Epochs: 60, MaxNorm: 1, LR: rl.Constant{LR: 1e-2},
		Examples: []distill.Example{
			{Input: decoderInputs[0], Label: 2, Steps: [][]float64{{1, 0}, {0, 1}}},
			{Input: decoderInputs[1], Label: 0, Steps: [][]float64{nil, {1, 0}}},
		},
	}
	for i := range f.Steps() {
		_, err := f.Step(t.Context(), i)
		require.NoError(t, err)
	}
	logp := logProbs(t, local.NewLogProber(s.Decoder(), 0), &rl.Batch{
		Prompts: decoderInputs[:2],
		Samples: []rl.Sample{{Prompt: 0, Tokens: []int32{3}}, {Prompt: 1, Tokens: []int32{1}}},
	})
	require.Greater(t, logp[0][0], math.Log(.9))
	require.Greater(t, logp[1][0], math.Log(.9))
	ref, err := s.Save(t.Context(), "done")
	require.NoError(t, err)
	require.NoError(t, s.Load(t.Context(), ref))
}

func TestLabelDecoderErrors(t *testing.T) {
	d := newDecoder(t, reference.New(), 1)
	for want, c := range map[string]local.LabelDecoderConfig{
		"Decoder is nil":           {},
		"Labels has 1 tokens":      {Decoder: d, Labels: []int32{1}},
		"Labels has the token 1":   {Decoder: d, Labels: []int32{1, 1}},
		"Steps[0][1] is 99, want ": {Decoder: d, Labels: []int32{1, 2}, Steps: [][]int32{{1, 99}}},
	} {
		require.ErrorContains(t, c.Validate(), want)
	}
	s := labelDecoder(t, d, 0)
	err := s.Logits(t.Context(), [][]int32{{1, 2}}, [][]float64{make([]float64, 7)}, false)
	require.ErrorContains(t, err, "an input has 2 tokens, want at least the marks")
}

// With adapters these alone are trained, saved and loaded.
func TestLabelDecoderWithAdapters(t *testing.T) {
	open := func() (*local.LabelDecoder, *model.LoRA) {
		d := newDecoder(t, reference.New(), 5)
		lora, err := d.AddLoRA(tinyLoRA, 6)
		require.NoError(t, err)
		return labelDecoder(t, d, 0), lora
	}
	outputs := func(s *local.LabelDecoder, train bool) [][]float64 {
		dst := [][]float64{make([]float64, 7)}
		require.NoError(t, s.Logits(t.Context(), [][]int32{{6, 7, 8, 9, 10}}, dst, train))
		return dst
	}
	s, lora := open()
	before := outputs(s, true)
	require.NoError(t, s.Backward(t.Context(), [][]float64{{1, 0, 0, 0, 0, 0, 0}}))
	_, err := s.OptimStep(t.Context(), rl.OptimOptions{LR: .1})
	require.NoError(t, err)
	after := outputs(s, false)
	require.NotEqual(t, before, after)
	ref, err := s.Save(t.Context(), "a")
	require.NoError(t, err)
	config, err := model.ReadLoRAConfig(ref)
	require.NoError(t, err)
	require.Equal(t, lora.Config(), config)

	other, _ := open()
	require.NoError(t, other.Load(t.Context(), ref))
	require.Equal(t, after, outputs(other, false))
}

var lists = []distill.Query{
	{Tokens: []int32{1, 2}, Documents: [][]int32{{1, 2, 3}, {4, 4, 4}}, Teacher: []float64{1, 0}},
	{Tokens: []int32{5}, Documents: [][]int32{{6, 0, 1}, {5, 3}, {4}}, Teacher: []float64{0, 1, .5}},
}

func biEncoder(t *testing.T, e *model.Encoder, maxRows int) *local.BiEncoder {
	s, err := local.NewBiEncoder(local.BiEncoderConfig{StudentConfig: local.StudentConfig{Encoder: e, MaxRows: maxRows, Dir: t.TempDir()}, Scale: 2})
	require.NoError(t, err)
	t.Cleanup(s.Free)
	return s
}

func scores(t *testing.T, s *local.BiEncoder, train bool) [][]float64 {
	dst := [][]float64{make([]float64, 2), make([]float64, 3)}
	require.NoError(t, s.Scores(t.Context(), lists, dst, train))
	return dst
}

// Scores are scaled cosines of the encoder's vectors; the gradient is theirs, in one
// micro-batch or several.
func TestBiEncoder(t *testing.T) {
	for name, maxRows := range map[string]int{"one micro-batch": 0, "recomputed": 6} {
		t.Run(name, func(t *testing.T) {
			b := reference.New64()
			e, err := model.NewEncoder(b, tinyEncoder, 3)
			require.NoError(t, err)
			randomise(b, e.Params())
			s := biEncoder(t, e, maxRows)
			var pack model.Pack
			pack.Add(lists[1].Tokens, -1)
			pack.Add(lists[1].Documents[1], -1)
			v := make([]float32, 16)
			require.NoError(t, e.Embed(&pack, v))
			var xx, xy, yy float64
			for i := range 8 {
				x, y := float64(v[i]), float64(v[8+i])
				xx, xy, yy = xx+x*x, xy+x*y, yy+y*y
			}
			require.InDelta(t, 2*xy/math.Sqrt(xx*yy), scores(t, s, true)[1][1], 1e-5)

			slope := [][]float64{{1, -.5}, {.3, .2, -1}}
			require.NoError(t, s.Backward(t.Context(), slope))
			checkGradients(t, b, e.Params(), func() float64 {
				sum := 0.0
				for i, row := range scores(t, s, false) {
					for d := range row {
						sum += slope[i][d] * row[d]
					}
				}
				return sum
			})
		})
	}
}

func TestBiEncoderLearnsToRank(t *testing.T) {
	for _, loss := range []distill.RankingLoss{distill.MarginMSE{}, distill.ListKL{Temperature: .5}} {
		e, err := model.NewEncoder(openCPU(t), tinyEncoder, 3)
		require.NoError(t, err)
		s := biEncoder(t, e, 0)
		f := distill.FitRanking{Ranker: s, Queries: lists, Loss: loss, Batch: 2, Epochs: 150, LR: rl.Constant{LR: 5e-3}, MaxNorm: 1}
		for i := range f.Steps() {
			_, err := f.Step(t.Context(), i)
			require.NoError(t, err)
		}
		dst := scores(t, s, false)
		require.InDelta(t, 1, dst[0][0]-dst[0][1], .1)
		require.InDelta(t, 1, dst[1][1]-dst[1][0], .1)
		require.InDelta(t, .5, dst[1][1]-dst[1][2], .1)
	}
	_, err := local.NewBiEncoder(local.BiEncoderConfig{})
	require.ErrorContains(t, err, "Encoder is nil")
}
