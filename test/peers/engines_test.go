//go:build unix

package peers

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/gguf"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/openai"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/enginetest"
)

// tolerance is how far the log-probs of two programs may be apart on the same weights.
const tolerance = 1e-4

// peer is an inference server under test.
type peer struct {
	name    string
	log     *slog.Logger
	server  *server
	dialect openai.Dialect
	model   string // the name to ask for
	lacks   enginetest.Feature
	top     int // the most likely tokens that it gives, at most
	// shared is where it finds weights of examples/cluster; empty if anywhere.
	shared string
	// weights returns a set of weights (0 or 1) in the form that the server loads; nil
	// if it loads none.
	weights func(t *testing.T, set int, version int64) rollout.Weights
}

func (p *peer) engine(t *testing.T, w *world) *openai.Engine {
	t.Helper()
	e, err := openai.New(t.Context(), openai.Config{
		Servers: []openai.Server{{Endpoint: remote.Endpoint{URL: p.server.url}, Dialect: p.dialect, Model: p.model}},
		Vocab:   w.tok, EOS: w.eos, Logger: p.log,
	})
	require.NoError(t, err)
	t.Cleanup(e.Close)
	return e
}

type testLog struct{ t *testing.T }

func (l testLog) Write(line []byte) (int, error) {
	if _, rest, ok := strings.Cut(string(line), "msg="); ok {
		l.t.Log(strings.TrimSpace(rest))
	}
	return len(line), nil
}

var _ io.Writer = testLog{}

// testEngine is what every inference server goes through.
func testEngine(t *testing.T, w *world, p *peer) {
	fact(t, p.name, "answers after", "%.1f s", p.server.took.Seconds())
	t.Run("LogProbs", func(t *testing.T) {
		p.log = slog.New(slog.NewTextHandler(testLog{t}, nil)) // the line about the server
		e := p.engine(t, w)
		p.log = nil
		got := collect(t, e, w, 1, 32, 48)
		d := away(t, w, got, local.NewLogProber(w.models[0], 0))
		fact(t, p.name, "log-probs of samples, largest difference from the local policy", "%.1e (%d samples)", d, len(got))
		require.Less(t, d, tolerance)
	})
	t.Run("Prompt", func(t *testing.T) { // log-probs of given completions
		e := p.engine(t, w)
		batch := &rl.Batch{Prompts: w.prompts, Samples: []rl.Sample{
			{Prompt: 0, Tokens: w.tok.Encode("In time.")}, {Prompt: 1, Tokens: w.tok.Encode("voucher")},
		}}
		dst := [][]float64{make([]float64, len(batch.Samples[0].Tokens)), make([]float64, len(batch.Samples[1].Tokens))}
		if err := e.LogProbs(t.Context(), batch, dst); err != nil {
			fact(t, p.name, "log-probs of given tokens", "none")
			require.Equal(t, openai.DialectLlamaCPP, p.dialect, "%v", err)
			return
		}
		most := 0.0
		for i, row := range logProbs(t, local.NewLogProber(w.models[0], 0), batch) {
			for k := range row {
				most = max(most, abs(row[k]-dst[i][k]))
			}
		}
		fact(t, p.name, "log-probs of given tokens", "%.1e", most)
		require.Less(t, most, tolerance)
	})
	t.Run("Top", func(t *testing.T) { testTop(t, w, p) })
	if p.top > 0 {
		t.Run("Distillation", func(t *testing.T) { testDistillation(t, w, p) })
	}
	t.Run("Suite", func(t *testing.T) {
		ok := t.Run("enginetest", func(t *testing.T) {
			c := enginetest.Config{
				New:     func(t *testing.T) rollout.Engine { return p.engine(t, w) },
				Prompts: w.prompts, Vocab: w.tok, First: w.first(t), BatchDependent: true, Lacks: p.lacks,
			}
			if p.weights != nil {
				c.Weights = func(version int64) rollout.Weights { return p.weights(t, 0, version) }
			}
			enginetest.Run(t, c)
		})
		fact(t, p.name, "rollout/enginetest", "%s", map[bool]string{true: "passes", false: "FAILS"}[ok])
	})
	if p.weights != nil {
		t.Run("Refresh", func(t *testing.T) {
			e := p.engine(t, w)
			begun := time.Now()
			require.NoError(t, e.Refresh(t.Context(), p.weights(t, 1, 1001)))
			took := time.Since(begun)
			got := collect(t, e, w, 2, 32, 24)
			for _, c := range got {
				require.EqualValues(t, 1001, c.FirstVersion)
			}
			old, new := away(t, w, got, local.NewLogProber(w.models[0], 0)), away(t, w, got, local.NewLogProber(w.models[1], 0))
			fact(t, p.name, "after a refresh, difference from old and new weights", "%.1f and %.1e, in %.2f s", old, new, took.Seconds())
			require.Less(t, new, tolerance)
			require.Greater(t, old, 1.0)
			require.NoError(t, e.Refresh(t.Context(), p.weights(t, 0, 1002)))
			require.Less(t, away(t, w, collect(t, e, w, 3, 4, 8), local.NewLogProber(w.models[0], 0)), tolerance, "and back")
		})
	}
	t.Run("Throughput", func(t *testing.T) {
		e := p.engine(t, w)
		collect(t, e, w, 4, 8, 16)
		begun := time.Now()
		tokens := 0
		for _, c := range collect(t, e, w, 5, 64, 64) {
			tokens += len(c.Tokens)
		}
		fact(t, p.name, "128 samples of up to 64 tokens", "%.0f tokens/s", float64(tokens)/time.Since(begun).Seconds())
	})
	if p.weights != nil {
		shared := p.shared
		if shared == "" {
			shared = t.TempDir()
		}
		w.train(t, p.name, map[string]any{"kind": "local", "lr": 4e-4, "rank": 0}, engineSettings(p.dialect, p.server, p.model), shared)
	}
}

// engineSettings are those of a server in a configuration of examples/cluster.
func engineSettings(d openai.Dialect, s *server, model string) map[string]any {
	return map[string]any{
		"kind":    d.String(),
		"servers": []any{map[string]any{"endpoint": map[string]any{"url": s.url}, "model": model}},
	}
}

func abs(x float64) float64 { return max(x, -x) }

func TestLlamaCPP(t *testing.T) {
	need(t, "llama.cpp")
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "tiny.gguf")
	w.gguf(t, file, 0)
	testEngine(t, w, &peer{
		name: "llama.cpp b10434", server: startLlamaCPP(t, "-m", file), dialect: openai.DialectLlamaCPP,
		lacks: enginetest.FeatureBoth,
	})
}

func TestLlamaCPPRouter(t *testing.T) {
	need(t, "llama.cpp")
	w := newWorld(t)
	models := t.TempDir()
	w.gguf(t, filepath.Join(models, "start.gguf"), 0)
	n := 0
	testEngine(t, w, &peer{
		name: "as a router", server: startLlamaCPP(t, "--models-dir", models, "--models-max", "2"), dialect: openai.DialectLlamaCPP,
		model: "start", lacks: enginetest.FeatureBoth, shared: models,
		weights: func(t *testing.T, set int, version int64) rollout.Weights {
			n++ // a new name each time, as local.Exporter gives
			path := filepath.Join(models, fmt.Sprintf("policy-%d-v%d.gguf", n, version))
			w.gguf(t, path, set)
			return rollout.Weights{Version: version, Form: rollout.FormGGUF, Ref: path}
		},
	})
}

// shop writes a small task for package relevance and returns its file.
func shop(t *testing.T) string {
	dir := t.TempDir()
	file, err := os.ReadFile("testdata/shop.yaml")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "shop.yaml"), file, 0o666))
	r := rand.New(rand.NewPCG(1, 1))
	colours, things := []string{"red", "blue", "green", "black"}, []string{"kettle", "lamp", "chair", "shirt", "clock", "tent"}
	rows := "query,title,label,thing\n"
	for q := range 60 {
		colour, thing := colours[r.IntN(4)], things[r.IntN(6)]
		for range 10 {
			c, d := colours[r.IntN(4)], things[r.IntN(6)]
			if r.IntN(2) == 0 {
				d = thing
			}
			label, same := "0", "no"
			if d == thing {
				label, same = map[bool]string{true: "2", false: "1"}[c == colour], "yes"
			}
			rows += fmt.Sprintf("%s %s for room %d,%s %s no. %d,%s,%s\n", colour, thing, q, c, d, r.IntN(1000), label, same)
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "shop.csv"), []byte(rows), 0o666))
	return filepath.Join(dir, "shop.yaml")
}

// Package relevance's main job, with samples from llama.cpp: its quick mode, all stages.
func TestMainJob(t *testing.T) {
	need(t, "llama.cpp")
	task := shop(t)
	w := newWorld(t)
	dir, models := filepath.Join(t.TempDir(), "model"), t.TempDir()
	command(t, w.cluster, "-tiny", dir, "-task", task)
	d, err := model.LoadDecoder(w.backend, dir)
	require.NoError(t, err)
	defer d.Free()
	generation, err := model.ReadGeneration(dir)
	require.NoError(t, err)
	require.NoError(t, gguf.Export(filepath.Join(models, "start.gguf"), d, gguf.Options{TokenizerFrom: dir, Generation: &generation}))
	s := startLlamaCPP(t, "--models-dir", models, "--models-max", "2")
	config, err := json.Marshal(map[string]any{
		"model": dir, "policy": map[string]any{"kind": "local", "lr": 4e-4, "rank": 0},
		"engine": engineSettings(openai.DialectLlamaCPP, s, "start"), "weights": models, "seed": 1,
		"prompts": 8, "steps": 6, "warmup": 160, "warmup_lr": 2e-3, // as in the quick mode
	})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "config.json")
	require.NoError(t, os.WriteFile(path, config, 0o666))
	begun := time.Now()
	out := command(t, w.cluster, "-config", path, "-task", task, "-out", filepath.Join(t.TempDir(), "run"))
	_, results, ok := strings.Cut(out, "\nResults\n")
	require.True(t, ok, out)
	t.Log(results)
	require.Contains(t, results, "rl-mask")
	fact(t, "as a router", "relevance's main job, quick, a local policy", "all stages, in %.0f s", time.Since(begun).Seconds())
}

// folder returns a set of weights as vLLM and SGLang load it.
func (w *world) folder(t *testing.T, set int, version int64) rollout.Weights {
	dir := filepath.Join(t.TempDir(), fmt.Sprint("v", version))
	require.NoError(t, os.CopyFS(dir, os.DirFS(w.folders[set])))
	return rollout.Weights{Version: version, Form: rollout.FormFolder, Ref: dir}
}

func TestVLLM(t *testing.T) {
	need(t, "vllm")
	w := newWorld(t)
	testEngine(t, w, &peer{
		name: "vLLM 0.32.0", server: startVLLM(t, w.folders[0]), dialect: openai.DialectVLLM,
		lacks: enginetest.FeatureTruncation | enginetest.FeatureBoth, top: vllmTop, weights: w.folder,
	})
}

func TestSGLang(t *testing.T) {
	need(t, "sglang")
	w := newWorld(t)
	testEngine(t, w, &peer{
		name: "SGLang 0.5.23", server: startSGLang(t, w.folders[0]), dialect: openai.DialectSGLang,
		lacks: enginetest.FeatureTopKWithTopP, top: w.tok.VocabSize(), weights: w.folder,
	})
}
