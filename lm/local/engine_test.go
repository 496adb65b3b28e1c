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
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/enginetest"
)

func TestEngineContract(t *testing.T) {
	for name, open := range backends {
		t.Run(name, func(t *testing.T) {
			d := sharpDecoder(t, open(t))
			checkContract(t, d, func(t *testing.T) rollout.Engine { return newEngine(t, d, local.EngineConfig{}) })
		})
	}
}

// A mixed engine keeps the contract of the engines that it mixes.
func TestMixedEngineContract(t *testing.T) {
	d := sharpDecoder(t, reference.New())
	checkContract(t, d, func(t *testing.T) rollout.Engine {
		return &rl.MixedEngine{Policy: newEngine(t, d, local.EngineConfig{}), Given: newEngine(t, d, local.EngineConfig{}), Lambda: .5}
	})
}

// checkContract runs the suite on engines that sample from d.
func checkContract(t *testing.T, d *model.Decoder, open func(t *testing.T) rollout.Engine) {
	enginetest.Run(t, enginetest.Config{
		New:     open,
		Prompts: [][]int32{{1, 5, 3, 8}, {9}, {0, 0, 2, 4, 6, 10, 3}},
		Vocab:   letters{},
		First: func(prompt []int32) []float64 {
			p := logSoftmax(t, d, prompt, 1)
			for i := range p {
				p[i] = math.Exp(p[i])
			}
			return p
		},
		Weights: func(v int64) rollout.Weights { return rollout.Weights{Version: v, Local: d} },
	})
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

// Log-probs that come from the cache, with prompts shared, are those of a full
// forward of each sequence.
func TestLogProbsOfAFullForward(t *testing.T) {
	d := sharpDecoder(t, reference.New())
	e := newEngine(t, d, local.EngineConfig{})
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
	d := sharpDecoder(t, backends[backend](t))
	roomy := newEngine(t, d, local.EngineConfig{})
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
		o := local.EngineConfig{
			Sequences: rapid.IntRange(1, 4).Draw(rt, "sequences"),
			CacheRows: longest + rapid.IntRange(0, 10).Draw(rt, "spare rows"),
		}
		o.PassRows = o.Sequences + rapid.IntRange(0, 6).Draw(rt, "prompt rows")
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
	d := sharpDecoder(t, reference.New())
	e := newEngine(t, d, local.EngineConfig{CacheRows: 30})
	fine := rollout.Request{ID: "fine", Prompt: []int32{1}, N: 1, Params: rollout.Params{MaxTokens: 1}}
	for _, c := range []struct {
		prompt, max int
		want        string
	}{
		{49, 1, `rollout: request 1 ("long"): 49 prompt tokens and MaxTokens 1 exceed the model's MaxSeq, 48`},
		{40, 9, `rollout: request 1 ("long"): 40 prompt tokens and MaxTokens 9 exceed the model's MaxSeq, 48`},
		{1, math.MaxInt, `rollout: request 1 ("long"): 1 prompt tokens and MaxTokens 9223372036854775807 exceed the model's MaxSeq, 48`},
		{20, 11, `rollout: request 1 ("long"): 20 prompt tokens and MaxTokens 11 exceed EngineConfig.CacheRows, 30`},
	} {
		long := rollout.Request{ID: "long", Prompt: make([]int32, c.prompt), N: 1, Params: rollout.Params{MaxTokens: c.max}}
		err := e.Generate(t.Context(), []rollout.Request{fine, long}, func(rollout.Completion) error {
			t.Error("a completion is emitted")
			return nil
		})
		require.EqualError(t, err, c.want)
	}
	// The whole of MaxSeq can be used.
	e = newEngine(t, d, local.EngineConfig{})
	r := rollout.Request{Prompt: make([]int32, 20), N: 2, Params: rollout.Params{MaxTokens: 28}}
	require.Len(t, generate(t, e, r)[0], 2)
}

func TestInvalidEngineSettingsAreNamed(t *testing.T) {
	d := newDecoder(t, reference.New(), 1)
	for want, c := range map[string]local.EngineConfig{
		"local: EngineConfig.EOS has id -1, want 0 or more":                                    {EOS: []int32{-1}},
		"local: EngineConfig.Sequences is -1, want 0 (for 128) or more":                        {Sequences: -1},
		"local: EngineConfig.PassRows is -1, want 0 (for 512) or more":                         {PassRows: -1},
		"local: EngineConfig.CacheRows is -1, want 0 (for 65536) or more":                      {CacheRows: -1},
		"local: EngineConfig.Weights is 2, want tensor.FormatFloat32 or tensor.FormatBFloat16": {Weights: 2},
		"local: EngineConfig.PassRows is 100, want at least Sequences, 128":                    {PassRows: 100},
	} {
		require.EqualError(t, c.Validate(), want)
		_, err := local.NewEngine(d, letters{}, c)
		require.EqualError(t, err, want)
	}
	require.NoError(t, local.EngineConfig{Sequences: 1000}.Validate())
	_, err := local.NewEngine(d, letters{}, local.EngineConfig{EOS: []int32{12}})
	require.EqualError(t, err, "local: EngineConfig.EOS has id 12, want 0 to 11")
	_, err = local.NewEngine(d, letters{}, local.EngineConfig{EOS: []int32{}, Weights: tensor.FormatBFloat16})
	require.EqualError(t, err, "local: EngineConfig.Weights is not tensor.FormatFloat32, but backend reference lays out no weights (tensor.Packer)")
	_, err = local.NewEngine(nil, letters{}, local.EngineConfig{})
	require.EqualError(t, err, "local: an engine needs a decoder and a vocabulary")
}

// Broken weights fail samples, with an error that names the token, whether backend or
// engine draw.
func TestEngineLogitsNotFinite(t *testing.T) {
	for want, b := range map[string]tensor.Backend{
		"local: sample: token 0: the logit of id 0 is NaN":                   openCPU(t),
		"local: token 0: the logits hold NaN or +Inf, or nothing above -Inf": reference.New(),
	} {
		d := sharpDecoder(t, b)
		e := newEngine(t, d, local.EngineConfig{})
		for _, p := range d.Params() {
			if strings.HasSuffix(p.Name, "norm.weight") {
				b.Fill(p.Value, float32(math.NaN()))
			}
		}
		n := 0
		r := rollout.Request{Prompt: []int32{1}, N: 2, Params: rollout.Params{Temperature: 1, MaxTokens: 3}}
		require.NoError(t, e.Generate(t.Context(), []rollout.Request{r}, func(c rollout.Completion) error {
			require.EqualError(t, c.Err, want)
			require.Empty(t, c.Tokens)
			n++
			return nil
		}))
		require.Equal(t, 2, n)
	}
}

// Settings that a float32 cannot hold mean the same where the backend draws, in float32, as
// where the engine does: almost uniform draws, and the most likely token alone.
func TestSamplingSettingsBeyondAFloat32(t *testing.T) {
	for name, b := range map[string]tensor.Backend{"the engine draws": openCPU(t), "the backend draws": reference.New()} {
		e := newEngine(t, sharpDecoder(t, b), local.EngineConfig{})
		r := rollout.Request{Prompt: []int32{1, 5}, N: 40, Params: rollout.Params{MaxTokens: 1}}
		greedy := generate(t, e, r)[0][0].Tokens
		first := func(p rollout.Params) map[int32]bool {
			p.MaxTokens = 1
			r.Params = p
			ids := map[int32]bool{}
			for _, c := range generate(t, e, r)[0] {
				ids[c.Tokens[0]] = true
				if p.Temperature < 1 {
					require.Equal(t, []float64{0}, c.LogP, "%s, temperature %v", name, p.Temperature)
				}
			}
			return ids
		}
		require.Equal(t, map[int32]bool{greedy[0]: true}, first(rollout.Params{Temperature: 1e-60}), name)
		require.Equal(t, map[int32]bool{greedy[0]: true}, first(rollout.Params{Temperature: 1, TopP: 1e-60}), name)
		require.Greater(t, len(first(rollout.Params{Temperature: 1e60})), 5, name)
	}
}

// An engine that is given no end-of-text tokens has those of the decoder's folder, and
// none if it is given an empty list.
func TestEngineEndsAsTheFolderSays(t *testing.T) {
	dir := t.TempDir()
	d := newDecoder(t, reference.New(), 1)
	require.NoError(t, d.Export(dir, model.ExportOptions{Generation: &model.Generation{EOS: model.TokenIDs{9, end}}}))
	loaded, err := model.LoadDecoder(reference.New(), dir)
	require.NoError(t, err)
	r := rollout.Request{Prompt: []int32{1, 5}, N: 50, Params: rollout.Params{Temperature: 1, MaxTokens: 20}}
	last := func(eos []int32) map[int32]bool {
		e, err := local.NewEngine(loaded, letters{}, local.EngineConfig{EOS: eos})
		require.NoError(t, err)
		defer e.Free()
		ids := map[int32]bool{}
		for _, c := range generate(t, e, r)[0] {
			if c.Finish == rollout.FinishStop {
				ids[c.Tokens[len(c.Tokens)-1]] = true
			}
		}
		return ids
	}
	require.Equal(t, map[int32]bool{9: true, end: true}, last(nil))
	require.Equal(t, map[int32]bool{3: true}, last([]int32{3}))
	require.Empty(t, last([]int32{}))
}

// A decoder from nothing ends where it was told to, also once it was saved and loaded. One
// that was not told makes no engine.
func TestEngineOfADecoderFromNothing(t *testing.T) {
	d := newDecoder(t, reference.New(), 1)
	_, err := local.NewEngine(d, letters{}, local.EngineConfig{})
	require.ErrorContains(t, err, "local: no token ends a text: EngineConfig.EOS is nil, and neither the decoder's folder (eos_token_id) nor Decoder.SetEOS names one")
	require.NoError(t, d.SetEOS(end))
	dir := t.TempDir()
	require.NoError(t, d.Save(dir))
	loaded, err := model.LoadDecoder(reference.New(), dir)
	require.NoError(t, err)
	for _, d := range []*model.Decoder{d, loaded} {
		e, err := local.NewEngine(d, letters{}, local.EngineConfig{})
		require.NoError(t, err)
		defer e.Free()
		stopped := 0
		for _, c := range generate(t, e, rollout.Request{Prompt: []int32{1, 5}, N: 50, Params: rollout.Params{Temperature: 1, MaxTokens: 20}})[0] {
			if c.Finish == rollout.FinishStop {
				require.Equal(t, int32(end), c.Tokens[len(c.Tokens)-1])
				stopped++
			}
		}
		require.Positive(t, stopped)
	}
}

// A fault of the backend ends the call; the next one works.
func TestEngineBackendFault(t *testing.T) {
	b := backendtest.NewAsync(reference.New())
	e := newEngine(t, sharpDecoder(t, b), local.EngineConfig{})
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
	d := sharpDecoder(t, b)
	e := newEngine(t, d, local.EngineConfig{})
	r := rollout.Request{Prompt: []int32{1, 5}, N: 1, Params: rollout.Params{MaxTokens: 8}}
	before := generate(t, e, r)[0][0]

	// Another decoder of the same configuration, here on another backend.
	other := newDecoder(t, openCPU(t), 99)
	require.NoError(t, e.Refresh(t.Context(), rollout.Weights{Version: 2, Local: other}))
	after := generate(t, e, r)[0][0]
	require.Equal(t, []int64{0, 2}, []int64{before.LastVersion, after.FirstVersion})
	require.InDelta(t, logSoftmax(t, other, r.Prompt, 1)[after.Tokens[0]], after.LogP[0], 1e-5)

	require.EqualError(t, e.Refresh(t.Context(), rollout.Weights{Version: 3, Ref: "/some/path"}),
		"local: Weights of form own with Weights.Local <nil>, want the *model.Decoder to sample from, or adapters")
	cfg := tiny
	cfg.Layers = 1
	small, err := model.NewDecoder(b, cfg, 1)
	require.NoError(t, err)
	require.ErrorContains(t, e.Refresh(t.Context(), rollout.Weights{Version: 3, Local: small}), "Layers:1")
	require.Equal(t, int64(2), generate(t, e, r)[0][0].LastVersion)
}

// A second call waits for the first until its context is cancelled.
func TestCallsWait(t *testing.T) {
	e := newEngine(t, sharpDecoder(t, reference.New()), local.EngineConfig{})
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

// Every token is shown as it is drawn, before its completion is emitted.
func TestOnToken(t *testing.T) {
	d := sharpDecoder(t, reference.New())
	type sample struct{ request, index int }
	shown := map[sample][]int32{}
	e := newEngine(t, d, local.EngineConfig{Sequences: 3, OnToken: func(request, index int, token int32) error {
		shown[sample{request, index}] = append(shown[sample{request, index}], token)
		return nil
	}})
	params := rollout.Params{Temperature: 1, MaxTokens: 9}
	reqs := []rollout.Request{
		{Prompt: []int32{1, 2}, N: 4, Params: params},
		{Prompt: []int32{3}, N: 2, Params: params, Stream: [3]uint64{1}},
	}
	emitted := 0
	require.NoError(t, e.Generate(t.Context(), reqs, func(c rollout.Completion) error {
		emitted++
		require.Equal(t, c.Tokens, shown[sample{c.Request, c.Index}])
		return c.Err
	}))
	require.Equal(t, 6, emitted)
	require.Len(t, shown, 6)

	stop := errors.New("stop")
	e = newEngine(t, d, local.EngineConfig{OnToken: func(int, int, int32) error { return stop }})
	err := e.Generate(context.Background(), reqs, func(rollout.Completion) error { panic("nothing is complete") })
	require.ErrorIs(t, err, stop)
}

// 16 prompts of 64 tokens, 8 completions of 64 tokens each, from a model of
// 0.3M parameters.
func BenchmarkGenerate(b *testing.B) {
	d, err := model.NewDecoder(openCPU(b), model.Config{
		Vocab: 512, Dim: 96, Layers: 3, Heads: 4, KVHeads: 2, FF: 256, MaxSeq: 256, TieEmbeddings: true,
	}, 1)
	require.NoError(b, err)
	e, err := local.NewEngine(d, letters{}, local.EngineConfig{EOS: []int32{}})
	require.NoError(b, err)
	defer e.Free()
	var reqs []rollout.Request
	for i := range 16 {
		prompt := make([]int32, 64)
		for k := range prompt {
			prompt[k] = int32((7*k + 13*i) % 512)
		}
		reqs = append(reqs, rollout.Request{
			Prompt: prompt, N: 8, Params: rollout.Params{Temperature: 1, MaxTokens: 64}, Stream: [3]uint64{0, 0, uint64(i)},
		})
	}
	tokens := 0
	b.ReportAllocs()
	for b.Loop() {
		err := e.Generate(context.Background(), reqs, func(c rollout.Completion) error {
			tokens += len(c.Tokens)
			return c.Err
		})
		require.NoError(b, err)
	}
	b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
}
