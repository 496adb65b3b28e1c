package openai

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config is an engine's over peers, with short waits.
func config(peers ...*peer) Config {
	c := Config{
		Vocab: words{}, EOS: []int32{endOfText}, Backoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond,
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
		{"SGLang", func(t *testing.T) []*peer { return []*peer{newPeer(t, DialectSGLang)} }, 0, rollout.FormFolder},
		{"a fleet", func(t *testing.T) []*peer {
			return []*peer{newPeer(t, DialectVLLM), newPeer(t, DialectSGLang), newPeer(t, DialectVLLM)}
		}, all &^ enginetest.FeatureTruncation, rollout.FormFolder},
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
			if c.name != "a fleet" {
				suite.First = first
			}
			enginetest.Run(t, suite)
		})
	}
}
