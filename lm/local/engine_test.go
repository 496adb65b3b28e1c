package local_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/enginetest"
)

// byteLetters is a vocabulary: ids 0 to 10 are byteLetters, a few of two bytes; id 11
// ends a text.
type byteLetters struct{}

const end = 11

func (byteLetters) Bytes(id int32) []byte {
	switch {
	case id == end:
		return nil
	case id%3 == 2:
		return []byte("é")
	}
	return []byte{'a' + byte(id)}
}

var tinyDecoder = model.Config{Vocab: 12, Dim: 16, Layers: 2, Heads: 4, KVHeads: 2, FF: 24, MaxSeq: 48, QKNorm: true}

// decoder returns a random model that is not nearly uniform.
func decoder(t testing.TB, b tensor.Backend) *model.Decoder {
	d, err := model.NewDecoder(b, tinyDecoder, 3)
	require.NoError(t, err)
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

// logSoftmax returns the log-probs of the token after tokens at temperature t,
// by a full forward without a cache.
func logSoftmax(t testing.TB, d *model.Decoder, tokens []int32, temperature float64) []float64 {
	var p model.Pack
	p.Add(tokens, -1)
	logits := make([]float32, d.Config().Vocab)
	require.NoError(t, d.Logits(&p, []int32{int32(len(tokens) - 1)}, logits))
	out := make([]float64, len(logits))
	var sum float64
	for i, l := range logits {
		out[i] = float64(l) / temperature
		sum += math.Exp(out[i])
	}
	for i := range out {
		out[i] -= math.Log(sum)
	}
	return out
}

func newEngine(t testing.TB, d *model.Decoder, o local.EngineOptions) *local.Engine {
	o.EOS = []int32{end}
	e, err := local.NewEngine(d, byteLetters{}, o)
	require.NoError(t, err)
	t.Cleanup(e.Free)
	return e
}

func openBackend(t testing.TB, backend string) tensor.Backend {
	b, err := tensor.Open(backend)
	require.NoError(t, err)
	return b
}

func TestConformance(t *testing.T) {
	for _, b := range []tensor.Backend{reference.New(), backendtest.NewAsync(reference.New()), openBackend(t, "cpu")} {
		t.Run(b.Name(), func(t *testing.T) {
			d := decoder(t, b)
			enginetest.Run(t, enginetest.Config{
				New:     func(t *testing.T) rollout.Engine { return newEngine(t, d, local.EngineOptions{}) },
				Prompts: [][]int32{{1, 5, 3, 8}, {9}, {0, 0, 2, 4, 6, 10, 3}},
				Vocab:   byteLetters{},
				First: func(prompt []int32) []float64 {
					p := logSoftmax(t, d, prompt, 1)
					for i := range p {
						p[i] = math.Exp(p[i])
					}
					return p
				},
				Weights: func(v int64) rollout.Weights { return rollout.Weights{Version: v, Local: d} },
			})
		})
	}
}

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

// Log-probs that come from the cache, with prompts shared, are those of a full
// forward of each sequence.
func TestLogProbsOfAFullForward(t *testing.T) {
	d := decoder(t, reference.New())
	e := newEngine(t, d, local.EngineOptions{})
	reqs := []rollout.Request{
		{Prompt: []int32{1, 5, 3, 8}, N: 4, Params: rollout.Params{Temperature: 0.7, MaxTokens: 20}},
		{Prompt: []int32{7}, N: 3, Params: rollout.Params{Temperature: 1.3, TopK: 5, MaxTokens: 30}},
		{Prompt: []int32{2, 2, 9}, N: 1, Params: rollout.Params{MaxTokens: 10}},
	}
	compared := 0
	for i, group := range generate(t, e, reqs...) {
		for _, c := range group {
			tokens := slices.Clone(reqs[i].Prompt)
			for k, id := range c.Tokens {
				temperature := reqs[i].Params.Temperature
				if temperature == 0 {
					temperature = 1
				}
				require.InDelta(t, logSoftmax(t, d, tokens, temperature)[id], c.LogP[k], 1e-5)
				require.InDelta(t, logSoftmax(t, d, tokens, 1)[id], c.LogPUnit[k], 1e-5)
				tokens = append(tokens, id)
				compared++
			}
		}
	}
	require.Greater(t, compared, 60)
}

// However little room there is, the samples are the same, on package cpu to
// the last bit: sequences and groups wait for each other, and prompts are
// computed in pieces.
func TestAnyRoomGivesTheSameSamples(t *testing.T) {
	for _, backend := range []string{"reference", "cpu"} {
		t.Run(backend, func(t *testing.T) { testAnyRoom(t, backend) })
	}
}

func testAnyRoom(t *testing.T, backend string) {
	d := decoder(t, openBackend(t, backend))
	roomy := newEngine(t, d, local.EngineOptions{})
	rapid.Check(t, func(rt *rapid.T) {
		var reqs []rollout.Request
		longest := 0
		for i := range rapid.IntRange(1, 5).Draw(rt, "requests") {
			r := rollout.Request{
				Prompt: rapid.SliceOfN(rapid.Int32Range(0, 10), 1, 9).Draw(rt, "prompt"),
				N:      rapid.IntRange(1, 5).Draw(rt, "n"),
				Params: rollout.Params{Temperature: 1, MaxTokens: rapid.IntRange(1, 8).Draw(rt, "max")},
				Stream: [3]uint64{1, 2, uint64(i)},
			}
			longest = max(longest, len(r.Prompt)+r.Params.MaxTokens)
			reqs = append(reqs, r)
		}
		want := generate(t, roomy, reqs...)
		o := local.EngineOptions{
			Sequences: rapid.IntRange(1, 4).Draw(rt, "sequences"),
			CacheRows: longest + rapid.IntRange(0, 10).Draw(rt, "spare rows"),
		}
		o.StepRows = o.Sequences + rapid.IntRange(0, 6).Draw(rt, "prompt rows")
		tight := newEngine(t, d, o)
		got := generate(t, tight, reqs...)
		if backend == "cpu" {
			require.Equal(rt, want, got)
		}
		for i := range want {
			for n := range want[i] {
				require.Equal(rt, want[i][n].Tokens, got[i][n].Tokens)
				require.InDeltaSlice(rt, want[i][n].LogP, got[i][n].LogP, 1e-5)
			}
		}
		tight.Free()
	})
}

func TestRequestsThatDoNotFit(t *testing.T) {
	d := decoder(t, reference.New())
	e := newEngine(t, d, local.EngineOptions{CacheRows: 30})
	fine := rollout.Request{ID: "fine", Prompt: []int32{1}, N: 1, Params: rollout.Params{MaxTokens: 1}}
	for _, c := range []struct {
		prompt, max int
		want        string
	}{
		{49, 1, `rollout: request 1 ("long"): 49 prompt tokens and MaxTokens 1 exceed the model's MaxSeq, 48`},
		{40, 9, `rollout: request 1 ("long"): 40 prompt tokens and MaxTokens 9 exceed the model's MaxSeq, 48`},
		{1, math.MaxInt, `rollout: request 1 ("long"): 1 prompt tokens and MaxTokens 9223372036854775807 exceed the model's MaxSeq, 48`},
		{20, 11, `rollout: request 1 ("long"): 20 prompt tokens and MaxTokens 11 exceed EngineOptions.CacheRows, 30`},
	} {
		long := rollout.Request{ID: "long", Prompt: make([]int32, c.prompt), N: 1, Params: rollout.Params{MaxTokens: c.max}}
		err := e.Generate(t.Context(), []rollout.Request{fine, long}, func(rollout.Completion) error {
			t.Error("a completion is emitted")
			return nil
		})
		require.EqualError(t, err, c.want)
	}
	// The whole of MaxSeq can be used.
	e = newEngine(t, d, local.EngineOptions{})
	r := rollout.Request{Prompt: make([]int32, 20), N: 2, Params: rollout.Params{MaxTokens: 28}}
	require.Len(t, generate(t, e, r)[0], 2)
}

func TestOptions(t *testing.T) {
	d := decoder(t, reference.New())
	for want, o := range map[string]local.EngineOptions{
		"local: EngineOptions.EOS has id 12, want 0 to 11":                          {EOS: []int32{12}},
		"local: EngineOptions.Sequences is -1, want 0 (for 128) or more":            {Sequences: -1},
		"local: EngineOptions.StepRows is -1, want 0 (for 512) or more":             {StepRows: -1},
		"local: EngineOptions.CacheRows is -1, want 0 (for 65536) or more":          {CacheRows: -1},
		"local: EngineOptions.Weights is 2, want tensor.Float32 or tensor.BFloat16": {Weights: 2},
		"local: EngineOptions.StepRows is 100, want at least Sequences, 128":        {StepRows: 100},
	} {
		_, err := local.NewEngine(d, byteLetters{}, o)
		require.EqualError(t, err, want)
	}
	_, err := local.NewEngine(nil, byteLetters{}, local.EngineOptions{})
	require.EqualError(t, err, "local: an engine needs a decoder and a vocabulary")
}

// Weights that are broken fail samples, and say which token.
func TestLogitsNotFinite(t *testing.T) {
	b := reference.New()
	d := decoder(t, b)
	e := newEngine(t, d, local.EngineOptions{})
	for _, p := range d.Params() {
		if strings.HasSuffix(p.Name, "norm.weight") {
			b.Fill(p.Value, float32(math.NaN()))
		}
	}
	n := 0
	r := rollout.Request{Prompt: []int32{1}, N: 2, Params: rollout.Params{Temperature: 1, MaxTokens: 3}}
	require.NoError(t, e.Generate(t.Context(), []rollout.Request{r}, func(c rollout.Completion) error {
		require.EqualError(t, c.Err, "local: sample: token 0: the logit of id 0 is NaN")
		require.Empty(t, c.Tokens)
		n++
		return nil
	}))
	require.Equal(t, 2, n)
}

// A fault of the backend ends the call; the next one works.
func TestBackendFault(t *testing.T) {
	b := backendtest.NewAsync(reference.New())
	e := newEngine(t, decoder(t, b), local.EngineOptions{})
	r := rollout.Request{Prompt: []int32{1, 5}, N: 2, Params: rollout.Params{MaxTokens: 4}}
	want := generate(t, e, r)
	fault := errors.New("out of order")
	b.FailAfter(10, fault)
	err := e.Generate(t.Context(), []rollout.Request{r}, func(rollout.Completion) error {
		t.Error("a completion is emitted")
		return nil
	})
	require.ErrorIs(t, err, fault)
	require.Equal(t, want, generate(t, e, r))
}

func TestRefresh(t *testing.T) {
	b := reference.New()
	d := decoder(t, b)
	e := newEngine(t, d, local.EngineOptions{})
	r := rollout.Request{Prompt: []int32{1, 5}, N: 1, Params: rollout.Params{MaxTokens: 8}}
	before := generate(t, e, r)[0][0]

	// Another decoder of the same configuration, here on another backend.
	other, err := model.NewDecoder(openBackend(t, "cpu"), tinyDecoder, 99)
	require.NoError(t, err)
	require.NoError(t, e.Refresh(t.Context(), rollout.Weights{Version: 2, Local: other}))
	after := generate(t, e, r)[0][0]
	require.Equal(t, []int64{0, 2}, []int64{before.LastVersion, after.FirstVersion})
	require.InDelta(t, logSoftmax(t, other, r.Prompt, 1)[after.Tokens[0]], after.LogP[0], 1e-5)

	require.EqualError(t, e.Refresh(t.Context(), rollout.Weights{Version: 3, Ref: "/some/path"}),
		"local: Weights.Local is <nil>, want the *model.Decoder to sample from")
	cfg := tinyDecoder
	cfg.Layers = 1
	small, err := model.NewDecoder(b, cfg, 1)
	require.NoError(t, err)
	require.EqualError(t, e.Refresh(t.Context(), rollout.Weights{Version: 3, Local: small}),
		"local: Weights.Local is a decoder of another configuration")
	require.Equal(t, int64(2), generate(t, e, r)[0][0].LastVersion)
}

// A second call waits for the first, as long as its context lets it.
func TestCallsWait(t *testing.T) {
	e := newEngine(t, decoder(t, reference.New()), local.EngineOptions{})
	r := rollout.Request{Prompt: []int32{1}, N: 1, Params: rollout.Params{MaxTokens: 1}}
	require.NoError(t, e.Generate(t.Context(), []rollout.Request{r}, func(rollout.Completion) error {
		ctx, cancel := context.WithCancel(t.Context())
		second := make(chan error)
		go func() {
			second <- e.Generate(ctx, []rollout.Request{r}, func(rollout.Completion) error { return nil })
		}()
		cancel()
		require.ErrorIs(t, <-second, context.Canceled)
		require.PanicsWithValue(t, "local: Free of an engine that is in use", e.Free)
		return nil
	}))
}
