package openai

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/remote/remotetest"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/policytest"
)

// The log-probs of given completions are those that the model has, and those that the
// engine's own samples came with.
func TestLogProbs(t *testing.T) {
	for _, dialect := range []Dialect{DialectVLLM, DialectSGLang} {
		p := newPeer(t, dialect)
		server, proxy := behind(t, p, remotetest.Settings{Rate: 0.2, Faults: []remotetest.Fault{
			remotetest.FaultReset, remotetest.FaultMalform, remotetest.FaultTruncate, remotetest.FaultError, remotetest.FaultDuplicate,
		}})
		c := config(p, newPeer(t, dialect))
		c.Servers[0] = server
		c.Attempts = 12
		e := open(t, c)
		got := sampleAll(t, e, requests(20))
		b := &rl.Batch{}
		for i := range got {
			b.Prompts = append(b.Prompts, requests(1)[i].Prompt)
			for _, c := range got[i] {
				b.Samples = append(b.Samples, rl.Sample{Prompt: i, Tokens: c.Tokens})
			}
		}
		b.Samples = append(b.Samples, rl.Sample{Prompt: 1}) // nothing to compute
		dst := make([][]float64, len(b.Samples))
		for i := range dst {
			dst[i] = make([]float64, len(b.Samples[i].Tokens))
		}
		require.NoError(t, e.LogProbs(t.Context(), b, dst))
		for i := range got {
			for n, c := range got[i] {
				require.InDeltaSlice(t, c.LogPUnit, dst[20*i+n], 1e-6)
			}
		}
		require.NotEmpty(t, proxy.Counts().Faults)
		require.NoError(t, e.CheckLogProbs())

		b.Temperature = 0.5
		require.ErrorContains(t, e.LogProbs(t.Context(), b, dst), "the batch has temperature 0.5: the policy does not support log-probs at temperatures other than 1")
		require.ErrorIs(t, e.LogProbs(t.Context(), b, dst), rl.ErrUnsupported)
		b.Temperature = 1
		b.Samples[3].Tokens[0] = 99
		require.ErrorContains(t, e.LogProbs(t.Context(), b, dst), "sample 3: token 2 of prompt and completion is 99, want an id below 8")
		b.Samples[3].Tokens = make([]int32, 62)
		dst[3] = make([]float64, 62)
		require.ErrorContains(t, e.LogProbs(t.Context(), b, dst), "sample 3: a prompt of 2 tokens and 62 more are too long")
		require.Panics(t, func() { _ = e.LogProbs(t.Context(), b, nil) })
	}
	p := newPeer(t, DialectLlamaCPP)
	e := open(t, config(p))
	b := &rl.Batch{Prompts: [][]int32{{1}}, Samples: []rl.Sample{{Tokens: []int32{2}}}}
	require.ErrorContains(t, e.LogProbs(t.Context(), b, [][]float64{{0}}), "(llama.cpp) gives no log-probs of prompts")
	require.ErrorContains(t, e.CheckLogProbs(), p.URL+" (llama.cpp) gives no log-probs of prompts")
}

// With UnitLogProbs nothing is refused, and LogP is what the server has.
func TestUnitLogProbs(t *testing.T) {
	p := newPeer(t, DialectVLLM)
	c := config(p)
	c.UnitLogProbs = true
	e := open(t, c)
	reqs := requests(4)
	for i := range reqs {
		reqs[i].Params.Temperature, reqs[i].Params.TopK = 0.5, 3
	}
	for i, group := range sampleAll(t, e, reqs) {
		for _, c := range group {
			require.Equal(t, c.LogPUnit, c.LogP)
			require.InDelta(t, p.logProbOf(0, reqs[i].Prompt, c.Tokens[0]), c.LogP[0], 1e-6)
		}
	}
}

// The most likely tokens are those of the model, of both dialects that give them, and
// with faults on the way.
func TestTopLogProbs(t *testing.T) {
	for _, dialect := range []Dialect{DialectVLLM, DialectSGLang} {
		p := newPeer(t, dialect)
		server, proxy := behind(t, p, remotetest.Settings{Rate: 0.2, Faults: []remotetest.Fault{
			remotetest.FaultReset, remotetest.FaultMalform, remotetest.FaultTruncate, remotetest.FaultError, remotetest.FaultDuplicate,
		}})
		c := config(p)
		c.Servers[0] = server
		c.Attempts = 12
		e := open(t, c)
		policytest.RunTopLogProber(t, e, len(wordBytes), 1e-5)
		require.NotEmpty(t, proxy.Counts().Faults)
		b := &rl.Batch{Prompts: [][]int32{{1}}, Samples: []rl.Sample{{Tokens: []int32{2}}}, Temperature: 2}
		require.ErrorIs(t, e.TopLogProbs(t.Context(), b, 2, rl.NewTops(b, 2)), rl.ErrUnsupported)
	}
	e := open(t, config(newPeer(t, DialectLlamaCPP)))
	b := &rl.Batch{Prompts: [][]int32{{1}}, Samples: []rl.Sample{{Tokens: []int32{2}}}}
	require.ErrorContains(t, e.TopLogProbs(t.Context(), b, 2, rl.NewTops(b, 2)), "(llama.cpp) gives no log-probs of prompts")
}

// What a server calls its most likely tokens is not believed if it cannot be.
func TestTopLogProbsThatCannotBe(t *testing.T) {
	e := &Engine{config: Config{Vocab: words{}}}
	ids, logp := make([]int32, 2), make([]float64, 3)
	for want, top := range map[string][]likely{
		"1 most likely tokens, want 2": {{1, -1}},
		"is 8, want an id below 8":     {{1, -1}, {8, -1}},
		"token 1 is there twice":       {{1, -1}, {1, -1}, {2, -3}},
		"token 1 is NaN":               {{1, math.NaN()}, {2, math.NaN()}},
		"token 1 is 0.5":               {{1, .5}, {2, -1}},
	} {
		require.ErrorContains(t, e.fillTop(ids, logp, top), want)
	}
	require.NoError(t, e.fillTop(ids, logp, []likely{{3, -9999}, {1, 1e-6}, {4, -9999}}))
	require.Equal(t, []int32{1, 3}, ids)
	require.Equal(t, []float64{0, math.Inf(-1), math.Log(leastRest)}, logp, "no more than 1 in all")
}
