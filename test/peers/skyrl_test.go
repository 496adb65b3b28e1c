//go:build unix

package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/openai"
	"github.com/stepwise-rl/stepwise/remote/tinker"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/enginetest"
)

// trainer is a server of the Tinker protocol under test.
type trainer struct {
	name   string
	server *server
	client *tinker.Client
	w      *world
}

func newTrainer(t *testing.T, w *world) *trainer {
	s := startSkyRL(t, w.folders[0])
	c, err := tinker.New(tinker.Config{Endpoint: remote.Endpoint{URL: s.url}})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return &trainer{"SkyRL 0.4.0", s, c, w}
}

// policy returns a new one. With adapters, it publishes them into that folder.
func (s *trainer) policy(t *testing.T, adapters string) *tinker.Policy {
	t.Helper()
	p, err := tinker.NewPolicy(t.Context(), s.client, tinker.PolicyConfig{
		Model: s.w.folders[0], LoRA: tinker.LoRA{Rank: 8, Seed: 3}, Scaling: tinker.ScalingMean, Adapters: adapters,
		Adam: tinker.Adam{Eps: 1e-8},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Free(context.Background())) })
	return p
}

func (s *trainer) engine(t *testing.T) *tinker.Engine {
	t.Helper()
	e, err := tinker.NewEngine(s.client, s.w.tok, tinker.EngineConfig{Model: s.w.folders[0], VocabSize: s.w.tok.VocabSize(), EOS: s.w.eos, MaxSeq: 512})
	require.NoError(t, err)
	return e
}

// lesson is what the policies learn: the tokens of two completions.
func (w *world) lesson() *rl.Batch {
	b := &rl.Batch{Prompts: w.prompts}
	for i, text := range []string{"In time, and sealed.", "voucher"} {
		b.Samples = append(b.Samples, rl.Sample{Prompt: i, Tokens: w.tok.Encode(text)})
	}
	return b
}

const lessonLR, lessons = 1e-2, 3

// learn takes a few optimiser steps and returns the loss before each.
func learn(t *testing.T, p rl.Policy, w *world) (losses []float64) {
	t.Helper()
	for range lessons {
		b := w.lesson()
		require.NoError(t, b.Weigh(objective.SeqMeanTokenMean{}))
		loss, _, err := p.ForwardBackward(t.Context(), b, objective.CrossEntropy{})
		require.NoError(t, err)
		_, err = p.OptimStep(t.Context(), rl.OptimOptions{LR: lessonLR})
		require.NoError(t, err)
		losses = append(losses, loss)
	}
	return losses
}

// official trains with the official SDK as learn does.
func (s *trainer) official(t *testing.T) (losses []float64, logprobs [][]float64) {
	t.Helper()
	job := map[string]any{"model": s.w.folders[0], "rank": 8, "seed": 3, "lr": lessonLR, "steps": lessons, "prompts": s.w.prompts}
	var completions [][]int32
	for _, c := range s.w.lesson().Samples {
		completions = append(completions, c.Tokens)
	}
	job["completions"] = completions
	in, err := json.Marshal(job)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), filepath.Join(*dir, "skyrl/bin/python"), "sdk.py", s.server.url)
	var out, log bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &log
	require.NoError(t, cmd.Run(), "%s", &log)
	var answer struct {
		Losses   []float64
		LogProbs [][]float64
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &answer))
	return answer.Losses, answer.LogProbs
}

// differ returns the largest difference between two tables of numbers.
func differ(t *testing.T, a, b [][]float64) (most float64) {
	t.Helper()
	require.Len(t, b, len(a))
	for i := range a {
		require.Len(t, b[i], len(a[i]))
		for k := range a[i] {
			most = max(most, abs(a[i][k]-b[i][k]))
		}
	}
	return most
}

func TestSkyRL(t *testing.T) {
	need(t, "skyrl")
	w := newWorld(t)
	s := newTrainer(t, w)
	fact(t, s.name, "answers after", "%.1f s", s.server.took.Seconds())
	base := local.NewLogProber(w.models[0], 0)

	t.Run("LogProbs", func(t *testing.T) {
		begun := time.Now()
		p := s.policy(t, "")
		fact(t, s.name, "the first create_model", "%.1f s", time.Since(begun).Seconds())
		d := differ(t, logProbs(t, p, w.lesson()), logProbs(t, base, w.lesson()))
		fact(t, s.name, "log-probs of given tokens", "%.1e", d)
		require.Less(t, d, tolerance)
		got := collect(t, s.engine(t), w, 1, 32, 48)
		d = away(t, w, got, base)
		fact(t, s.name, "log-probs of samples, largest difference from the local policy", "%.1e (%d samples)", d, len(got))
		require.Less(t, d, tolerance)
	})
	t.Run("OfficialSDK", func(t *testing.T) {
		losses, want := s.official(t)
		p := s.policy(t, "")
		ours := learn(t, p, w)
		dl := differ(t, [][]float64{ours}, [][]float64{losses})
		d := differ(t, logProbs(t, p, w.lesson()), want)
		fact(t, s.name, "the official SDK's losses before each of 3 steps, largest difference", "%.1e of %.2f, %.2f, %.2f", dl, losses[0], losses[1], losses[2])
		fact(t, s.name, "its log-probs after them", "%.1e", d)
		require.Less(t, dl, tolerance)
		require.Less(t, d, tolerance)
	})
	t.Run("Suite", func(t *testing.T) {
		ok := t.Run("policytest", func(t *testing.T) {
			policytest.Run(t, policytest.Options{
				Open: func(t *testing.T) rl.Policy { return s.policy(t, "") }, Vocab: w.tok.VocabSize(), Lacks: rl.CapAll,
			})
		})
		fact(t, s.name, "rl/policytest", "%s", map[bool]string{true: "passes", false: "FAILS"}[ok])
		ok = t.Run("enginetest", func(t *testing.T) {
			weights, err := s.policy(t, "").Publish(t.Context())
			require.NoError(t, err)
			enginetest.Run(t, enginetest.Config{
				New:     func(t *testing.T) rollout.Engine { return s.engine(t) },
				Prompts: w.prompts, Vocab: w.tok, First: w.first(t), BatchDependent: true,
				Lacks:   enginetest.FeatureTemperature | enginetest.FeatureBoth,
				Weights: func(version int64) rollout.Weights { weights.Version = version; return weights },
			})
		})
		fact(t, s.name, "rollout/enginetest", "%s", map[bool]string{true: "passes", false: "FAILS"}[ok])
	})
	t.Run("Refresh", func(t *testing.T) {
		p, e := s.policy(t, ""), s.engine(t)
		learn(t, p, w)
		begun := time.Now()
		weights, err := p.Publish(t.Context())
		require.NoError(t, err)
		require.NoError(t, e.Refresh(t.Context(), weights))
		took := time.Since(begun)
		got := collect(t, e, w, 2, 32, 24)
		old, new := away(t, w, got, base), away(t, w, got, p)
		fact(t, s.name, "after a refresh, difference from old and new weights", "%.1f and %.1e, in %.2f s", old, new, took.Seconds())
		require.Less(t, new, tolerance)
		require.Greater(t, old, 0.5)
	})
	t.Run("Adapters", func(t *testing.T) { // downloaded, they are the policy here too
		p := s.policy(t, t.TempDir())
		learn(t, p, w)
		weights, err := p.Publish(t.Context())
		require.NoError(t, err)
		require.Equal(t, rollout.FormAdapter, weights.Form)
		decoder, err := model.LoadDecoder(w.backend, w.folders[0])
		require.NoError(t, err)
		defer decoder.Free()
		_, err = decoder.LoadLoRA(weights.Ref)
		require.NoError(t, err)
		d := differ(t, logProbs(t, p, w.lesson()), logProbs(t, local.NewLogProber(decoder, 0), w.lesson()))
		fact(t, s.name, "log-probs with its adapters, downloaded", "%.1e", d)
		require.Less(t, d, tolerance)
	})
	t.Run("Throughput", func(t *testing.T) {
		e := s.engine(t)
		collect(t, e, w, 4, 64, 64) // compiles
		begun, tokens := time.Now(), 0
		for _, c := range collect(t, e, w, 5, 64, 64) {
			tokens += len(c.Tokens)
		}
		fact(t, s.name, "128 samples of up to 64 tokens", "%.0f tokens/s", float64(tokens)/time.Since(begun).Seconds())
	})
	t.Run("WithItself", func(t *testing.T) { s.train(t, s.name, map[string]any{"kind": "tinker"}, "") })
	// With other engines, those that are wanted: downloaded adapters go to the local engine
	// and to vLLM, and merged into the model to SGLang and llama.cpp.
	t.Run("WithLocal", func(t *testing.T) {
		s.train(t, "a local engine", map[string]any{"kind": "local"}, t.TempDir())
	})
	t.Run("WithLlamaCPP", func(t *testing.T) {
		need(t, "llama.cpp")
		models := t.TempDir()
		w.gguf(t, filepath.Join(models, "start.gguf"), 0)
		l := startLlamaCPP(t, "--models-dir", models, "--models-max", "2")
		s.train(t, "as a router", engineSettings(openai.DialectLlamaCPP, l, "start"), models)
	})
	t.Run("WithVLLM", func(t *testing.T) {
		need(t, "vllm")
		s.train(t, "vLLM 0.32.0", engineSettings(openai.DialectVLLM, startVLLM(t, w.folders[0], "--enable-lora", "--max-lora-rank", "8"), ""), t.TempDir())
	})
	t.Run("WithSGLang", func(t *testing.T) {
		need(t, "sglang")
		s.train(t, "SGLang 0.5.23", engineSettings(openai.DialectSGLang, startSGLang(t, w.folders[0]), ""), t.TempDir())
	})
}

// train runs examples/cluster with a policy on the server.
func (s *trainer) train(t *testing.T, name string, engine map[string]any, weights string) {
	t.Helper()
	s.w.train(t, name, map[string]any{
		"kind": "tinker", "lr": 1e-3, "rank": 8, "model": s.w.folders[0], "server": map[string]any{"endpoint": map[string]any{"url": s.server.url}},
	}, engine, weights)
}
