package local_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The models of all tests.
var (
	tiny = model.Config{Vocab: 12, Dim: 16, Layers: 2, Heads: 4, KVHeads: 2, FF: 24, MaxSeq: 48, QKNorm: true}

	tinyLoRA = model.LoRAConfig{Rank: 4, Alpha: 8, Targets: model.AllProjections}

	tinyEncoder = model.EncoderConfig{
		Config:  model.Config{Vocab: 7, Dim: 8, Layers: 1, Heads: 2, KVHeads: 1, FF: 12, MaxSeq: 6},
		Classes: 3,
	}
)

// letters is tiny's vocabulary: ids 0 to 10 are letters, a few of two bytes; id
// 11 ends a text.
type letters struct{}

const end = 11

func (letters) Bytes(id int32) []byte {
	switch {
	case id == end:
		return nil
	case id%3 == 2:
		return []byte("é")
	}
	return []byte{'a' + byte(id)}
}

var backends = map[string]func(t testing.TB) tensor.Backend{
	"reference":    func(testing.TB) tensor.Backend { return reference.New() },
	"asynchronous": func(testing.TB) tensor.Backend { return backendtest.NewAsync(reference.New()) },
	"cpu":          openCPU,
}

func openCPU(t testing.TB) tensor.Backend {
	t.Helper()
	b, err := tensor.Open("cpu")
	require.NoError(t, err)
	return b
}

func newDecoder(t testing.TB, b tensor.Backend, seed uint64) *model.Decoder {
	t.Helper()
	d, err := model.NewDecoder(b, tiny, seed)
	require.NoError(t, err)
	return d
}

// sharpDecoder returns a random decoder whose distributions are not nearly
// uniform.
func sharpDecoder(t testing.TB, b tensor.Backend) *model.Decoder {
	t.Helper()
	d := newDecoder(t, b, 3)
	for _, p := range d.Params() {
		if strings.HasSuffix(p.Name, "lm_head.weight") || strings.HasSuffix(p.Name, "embed_tokens.weight") {
			v := make([]float32, p.Len())
			require.NoError(t, b.Read(v, p.Value))
			for i := range v {
				v[i] *= 20
			}
			b.Write(p.Value, v)
		}
	}
	return d
}

func policyOf(t testing.TB, d *model.Decoder, maxRows int) *local.Policy {
	t.Helper()
	p, err := local.NewPolicy(local.PolicyConfig{Decoder: d, MaxRows: maxRows, Dir: t.TempDir()})
	require.NoError(t, err)
	return p
}

func newPolicy(t testing.TB, b tensor.Backend, maxRows int) *local.Policy {
	t.Helper()
	return policyOf(t, newDecoder(t, b, 5), maxRows)
}

// newLoRAPolicy returns a policy that trains adapters.
func newLoRAPolicy(t testing.TB, b tensor.Backend, maxRows int) (*local.Policy, *model.LoRA) {
	t.Helper()
	d := newDecoder(t, b, 5)
	lora, err := d.AddLoRA(tinyLoRA, 6)
	require.NoError(t, err)
	return policyOf(t, d, maxRows), lora
}

func newEngine(t testing.TB, d *model.Decoder, c local.EngineConfig) *local.Engine {
	t.Helper()
	c.EOS = []int32{end}
	e, err := local.NewEngine(d, letters{}, c)
	require.NoError(t, err)
	t.Cleanup(e.Free)
	return e
}

func newStudent(t testing.TB, b tensor.Backend, seed uint64, maxRows int) *local.Student {
	t.Helper()
	e, err := model.NewEncoder(b, tinyEncoder, seed)
	require.NoError(t, err)
	s, err := local.NewStudent(local.StudentConfig{Encoder: e, MaxRows: maxRows, Dir: t.TempDir()})
	require.NoError(t, err)
	return s
}

// linear is the loss Σ weight·logp, with a hook.
type linear struct {
	before func(s *objective.Sequence) error
}

func (linear) Needs() objective.Inputs { return 0 }
func (linear) Validate() error         { return nil }
func (l linear) Eval(s *objective.Sequence, m objective.Metrics) (float64, error) {
	if l.before != nil {
		if err := l.before(s); err != nil {
			return 0, err
		}
	}
	loss := 0.0
	for t, w := range s.Weight {
		loss += w * s.LogP[t]
		s.Grad[t] += w
	}
	m.Add("sequences", 1, 1)
	return loss, nil
}

func sample(prompt int, weight float64, tokens ...int32) rl.Sample {
	s := rl.Sample{Prompt: prompt, Tokens: tokens}
	for range tokens {
		s.Weight = append(s.Weight, weight)
	}
	return s
}

// batch has two prompts whose samples alternate, and an empty completion.
func batch() *rl.Batch {
	return &rl.Batch{
		Prompts: [][]int32{{1, 2, 3}, {4}},
		Samples: []rl.Sample{
			sample(0, -1, 5, 6, 7), sample(1, 0.5, 8), sample(0, -2, 9, 9), sample(1, 1), sample(1, -1, 1, 2, 3, 4),
		},
		Temperature: 0.8,
	}
}

// train takes two optimiser steps and returns the loss before the second.
func train(t *testing.T, p rl.Policy) float64 {
	var loss float64
	for range 2 {
		var err error
		loss, _, err = p.ForwardBackward(t.Context(), batch(), linear{})
		require.NoError(t, err)
		_, err = p.OptimStep(t.Context(), rl.OptimOptions{LR: 1e-2})
		require.NoError(t, err)
	}
	return loss
}

// logProbs returns the log-probs of a batch's completions.
func logProbs(t testing.TB, l rl.LogProber, b *rl.Batch) [][]float64 {
	t.Helper()
	dst := make([][]float64, len(b.Samples))
	for i := range dst {
		dst[i] = make([]float64, len(b.Samples[i].Tokens))
	}
	require.NoError(t, l.LogProbs(t.Context(), b, dst))
	return dst
}

// generate returns the completions of every request, in order.
func generate(t testing.TB, e *local.Engine, reqs ...rollout.Request) [][]rollout.Completion {
	got := make([][]rollout.Completion, len(reqs))
	for i, r := range reqs {
		got[i] = make([]rollout.Completion, r.N)
	}
	require.NoError(t, e.Generate(t.Context(), reqs, func(c rollout.Completion) error {
		require.NoError(t, c.Err)
		require.Empty(t, got[c.Request][c.Index].Tokens)
		got[c.Request][c.Index] = c
		return nil
	}))
	return got
}

// inputs are a student's, 15 tokens: with 8 rows, micro-batches of 3, 1 and 2
// inputs.
var inputs = [][]int32{{1, 2, 3}, {4}, {5, 6, 0, 1}, {2, 2, 2, 2, 2}, {3}, {0}}

// rows returns n rows of a value per class.
func rows(n int) [][]float64 {
	r := make([][]float64, n)
	for i := range r {
		r[i] = make([]float64, tinyEncoder.Classes)
	}
	return r
}

// slopes returns a gradient of every logit.
func slopes(n int) [][]float64 {
	rng, d := rand.New(rand.NewPCG(1, 2)), rows(n)
	for i := range d {
		for c := range d[i] {
			d[i][c] = rng.NormFloat64()
		}
	}
	return d
}

// logits returns the logits [input][class].
func logits(t *testing.T, s *local.Student, in [][]int32, train bool) [][]float64 {
	t.Helper()
	dst := rows(len(in))
	require.NoError(t, s.Logits(t.Context(), in, dst, train))
	return dst
}

func step(t *testing.T, s *local.Student) rl.OptimInfo {
	t.Helper()
	info, err := s.OptimStep(t.Context(), rl.OptimOptions{LR: 0.01, MaxNorm: 1})
	require.NoError(t, err)
	return info
}

// learn takes a training step on all inputs.
func learn(t *testing.T, s *local.Student) rl.OptimInfo {
	t.Helper()
	logits(t, s, inputs, true)
	require.NoError(t, s.Backward(t.Context(), slopes(len(inputs))))
	return step(t, s)
}

func near(t *testing.T, want, got [][]float64, tol float64) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.InDeltaSlice(t, want[i], got[i], tol, "input %d", i)
	}
}
