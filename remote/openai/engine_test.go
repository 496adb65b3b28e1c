package openai

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config is an engine's over peers, with short waits.
func config(peers ...*peer) Config {
	c := Config{
		Vocab: words{}, EOS: []int32{endOfText}, Backoff: 2 * time.Millisecond, MaxBackoff: 50 * time.Millisecond,
		SampleTimeout: 20 * time.Second, PhaseTimeout: 10 * time.Second, Patience: 5 * time.Second,
	}
	for _, p := range peers {
		c.Servers = append(c.Servers, p.config())
	}
	return c
}

func open(t testing.TB, c Config) *Engine {
	t.Helper()
	e, err := New(t.Context(), c)
	require.NoError(t, err)
	return e
}

// The conformance suite against each dialect, with what its log-probs allow.
func TestConformance(t *testing.T) {
	all := enginetest.FeatureTemperature | enginetest.FeatureTruncation | enginetest.FeatureBoth
	for _, c := range []struct {
		name  string
		peers func(t *testing.T) []*peer
		lacks enginetest.Feature
		form  rollout.Form
	}{
		{"vLLM", func(t *testing.T) []*peer { return []*peer{newPeer(t, DialectVLLM)} }, all &^ enginetest.FeatureTruncation, rollout.FormFolder},
		{"vLLM, processed log-probs", func(t *testing.T) []*peer {
			return []*peer{newPeer(t, DialectVLLM, func(p *peer) { p.processed = true })}
		}, all &^ enginetest.FeatureTemperature, rollout.FormAdapter},
		{"llama.cpp", func(t *testing.T) []*peer {
			return []*peer{newPeer(t, DialectLlamaCPP, func(p *peer) {
				p.router = true
				p.weights["policy-v3"], p.weights["policy-v4"] = 3, 4
			})}
		}, enginetest.FeatureBoth, rollout.FormGGUF},
		{"SGLang", func(t *testing.T) []*peer { return []*peer{newPeer(t, DialectSGLang)} }, enginetest.FeatureTopKWithTopP, rollout.FormFolder},
		{"a fleet", func(t *testing.T) []*peer {
			return []*peer{newPeer(t, DialectVLLM), newPeer(t, DialectSGLang), newPeer(t, DialectVLLM)}
		}, all&^enginetest.FeatureTruncation | enginetest.FeatureTopKWithTopP, rollout.FormFolder},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			suite := enginetest.Config{
				New: func(t *testing.T) rollout.Engine {
					conf := config(c.peers(t)...)
					if conf.Servers[0].Dialect == DialectLlamaCPP {
						conf.Servers[0].Model = model
					}
					return open(t, conf)
				},
				Prompts: [][]int32{{0, 1}, {3}},
				Vocab:   words{},
				Lacks:   c.lacks,
				Weights: func(v int64) rollout.Weights {
					return rollout.Weights{Version: v, Form: c.form, Ref: fmt.Sprintf("/models/policy-v%d%s", v, map[bool]string{true: ".gguf"}[c.form == rollout.FormGGUF])}
				},
			}
			if *long && c.name != "a fleet" {
				suite.First = first // 40,000 requests
			}
			enginetest.Run(t, suite)
		})
	}
}

// Calls may overlap; the samples of earlier ones are begun first.
func TestEarlierCallsGoFirst(t *testing.T) {
	var mu sync.Mutex
	var order []int32 // first tokens of prompts
	p := newPeer(t, DialectVLLM, func(p *peer) {
		p.hook = func(_ http.ResponseWriter, r *http.Request, body []byte) bool {
			var q struct{ Prompt []int32 }
			if json.Unmarshal(body, &q) == nil && len(q.Prompt) == 3 {
				mu.Lock()
				order = append(order, q.Prompt[0])
				mu.Unlock()
				time.Sleep(time.Millisecond)
			}
			return false
		}
	})
	e := open(t, Config{Servers: []Server{p.config()}, Vocab: words{}, EOS: []int32{endOfText}})
	require.True(t, e.RefreshInFlight())
	call := func(first int32, begun chan<- bool) error {
		q := rollout.Request{Prompt: []int32{first, 1, 1}, N: 40, Params: rollout.Params{Temperature: 1, MaxTokens: 2}}
		return e.Generate(t.Context(), []rollout.Request{q}, func(c rollout.Completion) error {
			if begun != nil {
				close(begun)
				begun = nil
			}
			return c.Err
		})
	}
	var g errgroup.Group
	begun := make(chan bool)
	g.Go(func() error { return call(1, begun) })
	<-begun
	g.Go(func() error { return call(2, nil) })
	require.NoError(t, g.Wait())
	require.Len(t, order, 80)
	// The last eight may be overtaken on their way.
	require.Equal(t, slices.Repeat([]int32{1}, 32), order[:32])
}
