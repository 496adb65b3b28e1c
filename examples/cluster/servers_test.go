package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/gguf"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/openai"
	"github.com/stepwise-rl/stepwise/remote/tinker"
	"github.com/stepwise-rl/stepwise/remote/tinker/tinkertest"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/rollout"
)

// host is an inference server of any dialect in this process. It has no weights but
// those that it finds in the files that it is told to load, and samples from them.
// Package test/peers has the real ones.
type host struct {
	t       *testing.T
	dir     string // of the model
	shared  string
	tok     *tokenizer.Tokenizer
	backend *cpu.Backend
	eos     []int32

	mu      sync.Mutex
	engines map[string]*local.Engine // by the model's name
	loads   int
	version string
}

func newHost(t *testing.T, dir, shared string) *host {
	tok, err := tokenizer.Load(filepath.Join(dir, "tokenizer.json"))
	require.NoError(t, err)
	end, _ := tok.ID("<|im_end|>")
	b, err := cpu.New(cpu.Options{})
	require.NoError(t, err)
	h := &host{t: t, backend: b, dir: dir, shared: shared, tok: tok, eos: []int32{end}, engines: map[string]*local.Engine{}, version: "default"}
	h.load("start", dir)
	return h
}

// load samples from the weights in a folder or a GGUF file from now on.
func (h *host) load(name, path string) bool {
	from := path
	if strings.HasSuffix(path, ".gguf") {
		from = h.dir
	}
	d, err := model.LoadDecoder(h.backend, from)
	if err == nil && from != path {
		err = fill(d, path)
	}
	if err != nil {
		h.t.Log(err)
		return false
	}
	e, err := local.NewEngine(d, h.tok, local.EngineConfig{EOS: h.eos})
	require.NoError(h.t, err)
	h.engines[name] = e
	h.loads++
	return true
}

// fill sets a Qwen3 decoder's weights to those of a GGUF file.
func fill(d *model.Decoder, path string) error {
	f, err := gguf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	names := strings.NewReplacer("model.layers.", "blk.", "model.embed_tokens", "token_embd", "model.norm", "output_norm", "lm_head", "output",
		"self_attn.q_norm", "attn_q_norm", "self_attn.k_norm", "attn_k_norm", "self_attn.o_proj", "attn_output",
		"self_attn.q_proj", "attn_q", "self_attn.k_proj", "attn_k", "self_attn.v_proj", "attn_v", "mlp.gate_proj", "ffn_gate",
		"mlp.up_proj", "ffn_up", "mlp.down_proj", "ffn_down", "input_layernorm", "attn_norm", "post_attention_layernorm", "ffn_norm")
	for _, p := range d.Params() {
		v := make([]float32, p.Len())
		if err := f.Read(v, names.Replace(p.Name)); err != nil {
			return err
		}
		d.Backend().Write(p.Value, v)
	}
	return nil
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var q struct {
		Model, Prompt json.RawMessage
		InputIDs      []int32 `json:"input_ids"`
		Sampling      struct {
			params
			Max int `json:"max_new_tokens"`
		} `json:"sampling_params"`
		params
		MaxTokens int  `json:"max_tokens"`
		NPredict  int  `json:"n_predict"`
		Post      bool `json:"post_sampling_probs"`
		Scores    *int `json:"prompt_logprobs"`
		Start     int  `json:"logprob_start_len"`
		Kwargs    struct {
			Path string `json:"weights_path"`
		}
		Path       string `json:"model_path"`
		NewVersion string `json:"new_version"`
		Version    string `json:"weight_version"`
	}
	_ = json.NewDecoder(r.Body).Decode(&q)
	name := strings.Trim(string(q.Model), `"`)
	done := map[string]any{"success": true}
	switch r.URL.Path {
	case "/health", "/pause", "/resume", "/pause_generation", "/continue_generation", "/reset_prefix_cache":
		h.answer(w, true, done)
	case "/v1/models":
		h.answer(w, true, map[string]any{"data": []any{map[string]any{"id": "start", "max_model_len": 512}}})
	case "/models": // of a router
		files, _ := filepath.Glob(filepath.Join(h.shared, "*.gguf"))
		data := []any{map[string]any{"id": "start", "status": map[string]any{"value": "loaded"}}}
		for _, f := range files {
			id := strings.TrimSuffix(filepath.Base(f), ".gguf")
			data = append(data, map[string]any{"id": id, "status": map[string]any{"value": map[bool]string{true: "loaded", false: "unloaded"}[h.engines[id] != nil]}})
		}
		h.answer(w, true, map[string]any{"data": data})
	case "/props":
		h.answer(w, true, map[string]any{"total_slots": 4, "default_generation_settings": map[string]any{"n_ctx": 512}})
	case "/models/load":
		h.answer(w, h.load(name, filepath.Join(h.shared, name+".gguf")), done)
	case "/models/unload":
		delete(h.engines, name)
		h.answer(w, true, done)
	case "/collective_rpc":
		h.answer(w, h.load("start", q.Kwargs.Path), map[string]any{"results": []any{nil}})
	case "/update_weights_from_disk":
		h.version = q.Version
		h.answer(w, h.load("start", q.Path), done)
	case "/update_weight_version":
		h.version = q.NewVersion
		h.answer(w, true, done)
	case "/weight_info", "/get_weight_version":
		h.answer(w, true, map[string]any{"weight_version": h.version})
	case "/v1/completions":
		var prompt []int32
		_ = json.Unmarshal(q.Prompt, &prompt)
		c, ok := h.sample(name, prompt, q.params, q.MaxTokens)
		h.answer(w, ok && q.Scores == nil, map[string]any{"model": name, "choices": []any{map[string]any{
			"token_ids": c.Tokens, "finish_reason": c.Finish, "logprobs": map[string]any{"token_logprobs": c.LogPUnit},
		}}})
	case "/completion":
		var prompt []int32
		_ = json.Unmarshal(q.Prompt, &prompt)
		c, ok := h.sample(name, prompt, q.params, q.NPredict)
		var entries []any
		for i, id := range c.Tokens {
			e := map[string]any{"id": id, "logprob": c.LogPUnit[i]}
			if q.Post {
				e["prob"] = math.Exp(c.LogP[i])
			}
			entries = append(entries, e)
		}
		h.answer(w, ok, map[string]any{
			"tokens": c.Tokens, "model": name, "tokens_evaluated": len(prompt), "truncated": false, "completion_probabilities": entries,
			"stop_type": map[rollout.Finish]string{rollout.FinishStop: "eos", rollout.FinishLength: "limit"}[c.Finish],
		})
	case "/generate":
		c, ok := h.sample("start", q.InputIDs, q.Sampling.params, q.Sampling.Max)
		var pairs []any
		for i, id := range c.Tokens {
			pairs = append(pairs, []any{c.LogP[i], id, nil})
		}
		h.answer(w, ok && q.Start < 0, map[string]any{"output_ids": c.Tokens, "meta_info": map[string]any{
			"finish_reason": map[string]any{"type": c.Finish}, "prompt_tokens": len(q.InputIDs), "weight_version": h.version, "output_token_logprobs": pairs,
		}})
	default:
		http.NotFound(w, r)
	}
}

// params are the sampling parameters that all dialects call by these names.
type params struct {
	Temperature  float64
	TopP         float64 `json:"top_p"`
	TopK         int     `json:"top_k"`
	Seed         uint64
	SamplingSeed uint64 `json:"sampling_seed"`
}

func (h *host) sample(name string, prompt []int32, p params, tokens int) (c rollout.Completion, ok bool) {
	e := h.engines[name]
	if e == nil {
		return c, false
	}
	q := rollout.Request{Prompt: prompt, N: 1, Stream: [3]uint64{p.Seed, p.SamplingSeed}, Params: rollout.Params{
		Temperature: p.Temperature, TopP: p.TopP, TopK: max(p.TopK, 0), MaxTokens: tokens,
	}}
	err := e.Generate(h.t.Context(), []rollout.Request{q}, func(got rollout.Completion) error { c = got; return got.Err })
	return c, err == nil
}

func (h *host) answer(w http.ResponseWriter, ok bool, v any) {
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusBadRequest)
	}
	_ = json.NewEncoder(w).Encode(v)
}

// The policy is trained here, and the servers sample with its weights after each
// training step: their log-probs are the policy's own.
func TestLocalPolicyWithServers(t *testing.T) {
	parcels, err := readParcels("../owntask/parcels.jsonl")
	require.NoError(t, err)
	for kind, dialect := range map[string]openai.Dialect{"vllm": openai.DialectVLLM, "sglang": openai.DialectSGLang, "llama.cpp": openai.DialectLlamaCPP} {
		for rank := range 2 { // of all weights, and of adapters, which are merged
			t.Run(fmt.Sprintf("%s, rank %d", kind, rank), func(t *testing.T) {
				c, err := readConfig("local-local.json")
				require.NoError(t, err)
				c.Model, c.Weights = tiny(t), t.TempDir()
				c.Warmup, c.Steps, c.Prompts = 10, 2, 2
				h := newHost(t, c.Model, c.Weights)
				s := httptest.NewServer(h)
				defer s.Close()
				c.Policy.Rank = 4 * rank
				c.Engine = engineConfig{Kind: kind, Servers: []openai.Server{{Endpoint: remote.Endpoint{URL: s.URL}, Dialect: dialect, Model: "start"}}}
				var out strings.Builder
				dir := t.TempDir()
				require.NoError(t, learn(t.Context(), &out, c, parcels[:8], dir, false, slog.New(slog.DiscardHandler)))
				require.Equal(t, 5, h.loads, "the start, before and after the warm-up, and after each training step")
				left, err := os.ReadDir(c.Weights)
				require.NoError(t, err)
				require.Empty(t, left)
				checkMismatch(t, dir)
			})
		}
	}
}

// A run goes on with other servers, more steps, and sampling ahead.
func TestResumeElsewhere(t *testing.T) {
	parcels, err := readParcels("../owntask/parcels.jsonl")
	require.NoError(t, err)
	c, err := readConfig("local-local.json")
	require.NoError(t, err)
	c.Model, c.Warmup, c.Prompts = tiny(t), 10, 2
	dir := t.TempDir()
	for i := range 2 {
		c.Weights = t.TempDir()
		s := httptest.NewServer(newHost(t, c.Model, c.Weights))
		defer s.Close()
		c.Engine = engineConfig{Kind: "vllm", Servers: []openai.Server{{Endpoint: remote.Endpoint{URL: s.URL}, Dialect: openai.DialectVLLM}}}
		c.Steps, c.Async = int64(i+1), rl.Async{Staleness: i, Partial: i > 0}
		var out strings.Builder
		require.NoError(t, learn(t.Context(), &out, c, parcels[:8], dir, true, slog.New(slog.DiscardHandler)))
		require.Contains(t, out.String(), fmt.Sprintf("after %d training steps", i+1))
		require.Equal(t, i == 0, strings.HasPrefix(out.String(), "before: "), "a run that goes on is not at its beginning")
	}
	checkMismatch(t, dir)
	text, err := os.ReadFile(filepath.Join(dir, "run.json"))
	require.NoError(t, err)
	require.Contains(t, string(text), `\"dialect\":\"vllm\"`)
	c.Policy.LR *= 2
	require.ErrorContains(t, learn(t.Context(), io.Discard, c, parcels[:8], dir, true, slog.New(slog.DiscardHandler)), "settings.policy.lr is now")
}

// A folder that servers do not share is found before the warm-up.
func TestWrongFolder(t *testing.T) {
	parcels, err := readParcels("../owntask/parcels.jsonl")
	require.NoError(t, err)
	c, err := readConfig("local-local.json")
	require.NoError(t, err)
	c.Model, c.Weights, c.Warmup = tiny(t), t.TempDir(), 1e9
	s := httptest.NewServer(newHost(t, c.Model, t.TempDir()))
	defer s.Close()
	c.Engine = engineConfig{Kind: "llama.cpp", Servers: []openai.Server{{Endpoint: remote.Endpoint{URL: s.URL}, Dialect: openai.DialectLlamaCPP, Model: "start"}}}
	err = learn(t.Context(), io.Discard, c, parcels[:8], t.TempDir(), false, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "refresh to version 0")
}

// checkMismatch reads a run's metrics.
func checkMismatch(t *testing.T, dir string) {
	t.Helper()
	f, err := run.Open(dir)
	require.NoError(t, err)
	steps := 0
	for line, err := range f.Lines("train", run.Metrics) {
		require.NoError(t, err)
		var m map[string]float64
		require.NoError(t, json.Unmarshal(line.Data, &m))
		require.Contains(t, m, "objective/engine_mismatch")
		require.Less(t, math.Abs(m["objective/engine_mismatch"]), 1e-4)
		steps++
	}
	require.Equal(t, 2, steps)
}

// Policy and engine are on one server of the Tinker protocol, whose model is a table.
func TestTinkerPolicyWithItsEngine(t *testing.T) {
	parcels, err := readParcels("../owntask/parcels.jsonl")
	require.NoError(t, err)
	c, err := readConfig("tinker-tinker.json")
	require.NoError(t, err)
	c.Model, c.Policy.Model = tiny(t), "table"
	tok, err := tokenizer.Load(filepath.Join(c.Model, "tokenizer.json"))
	require.NoError(t, err)
	s := tinkertest.NewServer(tinkertest.Options{Vocab: tok.VocabSize(), Mean: true})
	defer s.Close()
	c.Policy.Server = &tinkerConfig{tinker.Config{Endpoint: remote.Endpoint{URL: s.URL}}}
	c.Policy.Rank, c.Warmup, c.WarmupLR, c.Steps, c.Prompts = 8, 5, 1, 2, 2
	var out strings.Builder
	dir := t.TempDir()
	require.NoError(t, learn(t.Context(), &out, c, parcels[:8], dir, false, slog.New(slog.DiscardHandler)))
	require.Contains(t, out.String(), "after 2 training steps")
	require.Zero(t, s.Models(), "what was made on the server is freed")
	checkMismatch(t, dir)
}

// A program that is stopped does not wait for a server that is busy.
func TestStoppedWhileTheServerIsBusy(t *testing.T) {
	c, err := readConfig("tinker-tinker.json")
	require.NoError(t, err)
	c.Policy.Model, c.Policy.Rank = "table", 8
	tok, err := tokenizer.Load(filepath.Join(tiny(t), "tokenizer.json"))
	require.NoError(t, err)
	s := tinkertest.NewServer(tinkertest.Options{Vocab: tok.VocabSize(), Mean: true})
	defer s.Close()
	var busy atomic.Bool
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if busy.Load() && strings.HasSuffix(r.URL.Path, "/retrieve_future") {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"type":"try_again"}`)
			return
		}
		s.ServeHTTP(w, r)
	}))
	defer front.Close()
	c.Policy.Server = &tinkerConfig{tinker.Config{Endpoint: remote.Endpoint{URL: front.URL}}}
	ctx, cancel := context.WithCancel(t.Context())
	p, err := openPair(ctx, c, tok, []int32{0}, t.TempDir(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	busy.Store(true)
	cancel()
	p.close()
	require.Zero(t, s.Models(), "the server was asked to free it")
}
