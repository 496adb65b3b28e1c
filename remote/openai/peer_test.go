package openai

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/sample"
)

// words is the peers' vocabulary: tokens of different lengths, some of which are parts
// of characters; id 7 ends a text.
type words struct{}

var wordBytes = [][]byte{[]byte("a"), []byte("bc"), []byte("\xc3"), []byte("\xa9 d"), []byte("e"), []byte(">"), []byte("f"), nil}

const endOfText = 7

func (words) Bytes(id int32) []byte { return wordBytes[id] }
func (words) VocabSize() int        { return len(wordBytes) }

// logits gives the peers' model, with weights that are a number.
func logits(weights int64, prev int32, dst []float32) {
	for id := range dst {
		dst[id] = float32(math.Sin(float64(3*int(prev)+7*id)+float64(weights))) * 2
	}
	dst[endOfText] -= 2
}

// softmax returns the probabilities at a temperature, after truncation.
func softmax(logits []float32, p rollout.Params) []float64 {
	out := make([]float64, len(logits))
	order := make([]int, len(logits))
	for i, l := range logits {
		order[i] = i
		out[i] = math.Exp(float64(l) / p.Temperature)
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(math.Copysign(1, out[b]-out[a])) })
	if p.TopK > 0 {
		for _, i := range order[p.TopK:] {
			out[i] = 0
		}
	}
	var sum float64
	for _, v := range out {
		sum += v
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// peer is an inference server in this process, with a model of its own, that keeps the
// contract of a dialect as far as the engine relies on it.
type peer struct {
	*httptest.Server
	t         testing.TB
	dialect   Dialect
	processed bool // vLLM with --logprobs-mode processed_logprobs
	router    bool // llama.cpp
	context   int
	maxTop    int  // vLLM's --max-logprobs
	adapters  bool // vLLM with --enable-lora

	mu sync.Mutex
	// hook, if not nil, is called with every request and may answer it.
	hook     func(w http.ResponseWriter, r *http.Request, body []byte) (done bool)
	weights  map[string]int64 // by name of the model
	loaded   map[string]bool
	paused   bool
	version  string
	requests []string // method and path of all but generations
	ids      map[string]int
	drawn    int
}

const model = "tiny"

func newPeer(t testing.TB, d Dialect, set ...func(*peer)) *peer {
	p := &peer{
		t: t, dialect: d, context: 64, maxTop: 20, version: "default",
		weights: map[string]int64{model: 0}, loaded: map[string]bool{model: true}, ids: map[string]int{},
	}
	for _, f := range set {
		f(p)
	}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *peer) setHook(hook func(w http.ResponseWriter, r *http.Request, body []byte) (done bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook = hook
}

// failAt answers requests of a path with an error.
func (p *peer) failAt(path string, status int, message string) {
	p.setHook(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.URL.Path != path {
			return false
		}
		p.fail(w, status, message)
		return true
	})
}

// draws is how many completions it has sampled.
func (p *peer) draws() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.drawn
}

func (p *peer) config() Server {
	return Server{Endpoint: remote.Endpoint{URL: p.URL}, Dialect: p.dialect, Concurrency: 8}
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	hook := p.hook
	p.mu.Unlock()
	if hook != nil && hook(w, r, body) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for d, x := range dialects {
		if d != p.dialect && r.URL.Path == x.samplePath() {
			p.fail(w, 404, "another dialect")
			return
		}
	}
	if r.URL.Path == dialects[p.dialect].samplePath() {
		p.ids[r.Header.Get("X-Request-Id")]++
	} else {
		p.requests = append(p.requests, r.Method+" "+r.RequestURI)
	}
	var q struct {
		Model, Method, Ref string
		LoraName           string `json:"lora_name"`
		LoraPath           string `json:"lora_path"`
		ModelPath          string `json:"model_path"`
		WeightVersion      string `json:"weight_version"`
		NewVersion         string `json:"new_version"`
		Kwargs             struct {
			WeightsPath string `json:"weights_path"`
		}
		Prompt, InputIDs  []int32
		MaxTokens         int `json:"max_tokens"`
		NPredict          int `json:"n_predict"`
		Temperature, TopP float64
		TopK              int     `json:"top_k"`
		Seed              int64   `json:"seed"`
		StopIDs           []int32 `json:"stop_token_ids"`
		Post              bool    `json:"post_sampling_probs"`
		PromptLogprobs    *int    `json:"prompt_logprobs"`
		LogprobStart      int     `json:"logprob_start_len"`
		Sampling          struct {
			Max         int     `json:"max_new_tokens"`
			Temperature float64 `json:"temperature"`
			TopP        float64 `json:"top_p"`
			TopK        int     `json:"top_k"`
			Seed        int64   `json:"sampling_seed"`
			StopIDs     []int32 `json:"stop_token_ids"`
		} `json:"sampling_params"`
	}
	var raw struct {
		TopP     float64 `json:"top_p"`
		InputIDs []int32 `json:"input_ids"`
		Top      int     `json:"top_logprobs_num"`
	}
	if len(body) > 0 {
		if json.Unmarshal(body, &q) != nil || json.Unmarshal(body, &raw) != nil {
			p.fail(w, 400, "malformed")
			return
		}
	}
	params := rollout.Params{Temperature: q.Temperature, TopP: raw.TopP, TopK: q.TopK, MaxTokens: max(q.MaxTokens, q.NPredict)}
	switch key := r.Method + " " + r.URL.Path; key {
	case "GET /health":
	case "GET /metrics":
		if p.adapters {
			fmt.Fprintln(w, "# TYPE vllm:lora_requests_info gauge")
		}
	case "GET /v1/models":
		var data []any
		for _, name := range slices.Sorted(maps.Keys(p.weights)) {
			m := map[string]any{"id": name, "owned_by": map[Dialect]string{DialectVLLM: "vllm", DialectLlamaCPP: "llamacpp", DialectSGLang: "sglang"}[p.dialect], "max_model_len": p.context}
			if name != model {
				m["parent"] = model
			}
			data = append(data, m)
		}
		p.answer(w, map[string]any{"data": data})
	case "GET /models":
		var data []any
		for _, name := range slices.Sorted(maps.Keys(p.weights)) {
			m := map[string]any{"id": name, "owned_by": "llamacpp", "meta": map[string]any{"n_ctx": p.context, "n_vocab": len(wordBytes)}}
			if p.router {
				m["status"] = map[string]any{"value": map[bool]string{true: "loaded", false: "unloaded"}[p.loaded[name]]}
			}
			data = append(data, m)
		}
		p.answer(w, map[string]any{"data": data})
	case "GET /props":
		p.answer(w, map[string]any{"total_slots": 4, "default_generation_settings": map[string]any{"n_ctx": p.context}})
	case "POST /models/load":
		p.loaded[q.Model] = true
		p.answer(w, map[string]any{"success": true})
	case "POST /models/unload":
		p.loaded[q.Model] = false
		p.answer(w, map[string]any{"success": true})
	case "POST /pause", "POST /pause_generation":
		p.paused = true
		p.answer(w, map[string]any{})
	case "GET /is_paused":
		p.answer(w, map[string]any{"is_paused": p.paused})
	case "POST /resume", "POST /continue_generation":
		p.paused = false
		p.answer(w, map[string]any{})
	case "POST /collective_rpc":
		p.reload(w, q.Kwargs.WeightsPath, map[string]any{"results": []any{nil}})
	case "POST /update_weights_from_disk":
		p.version = q.WeightVersion
		p.reload(w, q.ModelPath, map[string]any{"success": true, "message": ""})
	case "POST /reset_prefix_cache":
		p.answer(w, map[string]any{"success": true})
	case "POST /update_weight_version":
		p.version = q.NewVersion
		p.answer(w, map[string]any{"success": true})
	case "GET /weight_info", "GET /get_weight_version":
		p.answer(w, map[string]any{"weight_version": p.version})
	case "POST /v1/load_lora_adapter":
		v, err := weightsOf(q.LoraPath)
		if _, ok := p.weights[q.LoraName]; err != nil || ok {
			p.fail(w, 500, "Call to add_lora method failed")
			return
		}
		p.weights[q.LoraName], p.loaded[q.LoraName] = v, true
		p.answer(w, "ok")
	case "POST /v1/unload_lora_adapter":
		delete(p.weights, q.LoraName)
		p.answer(w, "ok")
	case "POST /v1/completions":
		if q.PromptLogprobs != nil {
			if *q.PromptLogprobs > p.maxTop {
				p.fail(w, 400, fmt.Sprintf("Requested prompt logprobs of %d, which is greater than max allowed: %d", *q.PromptLogprobs, p.maxTop))
				return
			}
			var entries []any
			for i, lp := range p.score(q.Model, q.Prompt) {
				if i == 0 {
					entries = append(entries, nil)
					continue
				}
				entry := map[string]any{}
				for _, l := range p.top(q.Model, q.Prompt[i-1], *q.PromptLogprobs) {
					entry[strconv.Itoa(int(l.id))] = map[string]any{"logprob": l.logp, "rank": 1, "decoded_token": "y"}
				}
				if len(entry) == 0 {
					entry["99"] = map[string]any{"logprob": -0.5}
				}
				entry[strconv.Itoa(int(q.Prompt[i]))] = map[string]any{"logprob": lp, "rank": 3, "decoded_token": "x"}
				entries = append(entries, entry)
			}
			p.answer(w, map[string]any{"choices": []any{map[string]any{"prompt_logprobs": entries}}})
			return
		}
		c, ok := p.draw(w, q.Model, q.Prompt, params, q.Seed, q.StopIDs)
		if !ok {
			return
		}
		lp := c.LogPUnit
		if p.processed {
			lp = p.after(q.Model, q.Prompt, c, params)
		}
		p.answer(w, map[string]any{"id": "cmpl-x", "model": q.Model, "choices": []any{map[string]any{
			"index": 0, "text": "?", "token_ids": c.Tokens, "prompt_token_ids": q.Prompt, "finish_reason": c.Finish, "stop_reason": nil,
			"logprobs": map[string]any{"text_offset": []int{0}, "token_logprobs": lp, "top_logprobs": []any{map[string]any{"\ufffd\"\\": -1}}},
		}}})
	case "POST /completion":
		c, ok := p.draw(w, q.Model, q.Prompt, params, q.Seed, []int32{endOfText})
		if !ok {
			return
		}
		var entries []any
		after := c.LogPUnit
		if q.Post {
			after = p.after(q.Model, q.Prompt, c, params)
		}
		for i, id := range c.Tokens {
			if q.Post {
				entries = append(entries, map[string]any{"id": id, "token": "?", "bytes": []int{65}, "prob": math.Exp(after[i]), "top_probs": []any{}})
			} else {
				entries = append(entries, map[string]any{"id": id, "token": "?", "bytes": []int{65}, "logprob": after[i], "top_logprobs": []any{map[string]any{"id": 1, "logprob": -1}}})
			}
		}
		stop := map[rollout.Finish]string{rollout.FinishStop: "eos", rollout.FinishLength: "limit"}[c.Finish]
		p.answer(w, map[string]any{"index": 0, "content": "?", "tokens": c.Tokens, "model": q.Model, "tokens_evaluated": len(q.Prompt),
			"stop_type": stop, "truncated": false, "completion_probabilities": entries, "generation_settings": map[string]any{"seed": q.Seed}})
	case "POST /generate":
		s := q.Sampling
		params = rollout.Params{Temperature: s.Temperature, TopP: s.TopP, TopK: max(s.TopK, 0), MaxTokens: s.Max}
		if q.LogprobStart == 0 {
			var pairs []any
			for i, lp := range p.score(model, raw.InputIDs) {
				pair := []any{lp, raw.InputIDs[i] % int32(len(wordBytes)-1), nil} // the last id is called 0
				if i == 0 {
					pair[0] = nil
				}
				pairs = append(pairs, pair)
			}
			info := map[string]any{"input_token_logprobs": pairs}
			if raw.Top > 0 {
				tops := []any{nil}
				for i := range raw.InputIDs[1:] {
					var at []any
					for _, l := range p.top(model, raw.InputIDs[i], raw.Top) {
						at = append(at, []any{l.logp, l.id, nil})
					}
					tops = append(tops, at)
				}
				info["input_top_logprobs"] = tops
			}
			p.answer(w, map[string]any{"meta_info": info})
			return
		}
		c, ok := p.draw(w, model, raw.InputIDs, params, s.Seed, s.StopIDs)
		if !ok {
			return
		}
		var pairs []any
		for i, id := range c.Tokens {
			pairs = append(pairs, []any{c.LogP[i], id, nil})
		}
		p.answer(w, map[string]any{"text": "?", "output_ids": c.Tokens, "meta_info": map[string]any{
			"id": "x", "finish_reason": map[string]any{"type": c.Finish, "matched": 7}, "prompt_tokens": len(raw.InputIDs),
			"weight_version": p.version, "output_token_logprobs": pairs,
		}})
	default:
		p.fail(w, 404, "no "+key)
	}
}

func (p *peer) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (p *peer) fail(w http.ResponseWriter, status int, text string) {
	w.WriteHeader(status)
	p.answer(w, map[string]any{"error": map[string]any{"message": text, "code": status}})
}

// weightsOf returns the weights that a path stands for.
func weightsOf(file string) (int64, error) {
	_, v, _ := strings.Cut(strings.TrimSuffix(path.Base(file), ".gguf"), "-v")
	return strconv.ParseInt(v, 10, 64)
}

func (p *peer) reload(w http.ResponseWriter, path string, ok any) {
	v, err := weightsOf(path)
	if err != nil || !p.paused {
		p.fail(w, 500, fmt.Sprintf("cannot load %s, paused: %v", path, p.paused))
		return
	}
	p.weights[model] = v
	p.answer(w, ok)
}

// draw samples a completion; false if it has answered with an error.
func (p *peer) draw(w http.ResponseWriter, name string, prompt []int32, params rollout.Params, seed int64, eos []int32) (rollout.Completion, bool) {
	weights, ok := p.weights[name]
	if !ok && p.dialect == DialectLlamaCPP {
		p.fail(w, 400, fmt.Sprintf("model '%s' not found", name))
		return rollout.Completion{}, false
	}
	if !ok || p.paused || !p.loaded[name] {
		p.fail(w, 404, fmt.Sprintf("the model %q does not exist", name))
		return rollout.Completion{}, false
	}
	if len(prompt)+params.MaxTokens > p.context {
		p.fail(w, 400, "exceed_context_size_error")
		return rollout.Completion{}, false
	}
	r := rollout.Request{Prompt: prompt, N: 1, Params: params, Stream: [3]uint64{uint64(seed)}}
	seq, sampler := sample.NewSequence(0, &r, 0), sample.NewSampler(words{}, eos...)
	row := make([]float32, len(wordBytes))
	for prev := prompt[len(prompt)-1]; !seq.Done(); prev = seq.Tokens()[len(seq.Tokens())-1] {
		logits(weights, prev, row)
		if err := sampler.Next(seq, row); err != nil {
			panic(err)
		}
	}
	p.drawn++
	return seq.Completion(), true
}

// after returns the log-probs after temperature and truncation.
func (p *peer) after(name string, prompt []int32, c rollout.Completion, params rollout.Params) []float64 {
	if params.Temperature == 0 {
		return c.LogPUnit
	}
	row := make([]float32, len(wordBytes))
	out := make([]float64, len(c.Tokens))
	prev := prompt[len(prompt)-1]
	for i, id := range c.Tokens {
		logits(p.weights[name], prev, row)
		out[i] = math.Log(softmax(row, params)[id])
		prev = id
	}
	return out
}

// score returns the log-probs of a prompt's tokens.
func (p *peer) score(name string, prompt []int32) []float64 {
	row := make([]float32, len(wordBytes))
	out := make([]float64, len(prompt))
	for i, id := range prompt {
		if i > 0 {
			logits(p.weights[name], prompt[i-1], row)
			out[i] = math.Log(softmax(row, rollout.Params{Temperature: 1})[id])
		}
	}
	return out
}

// top returns the k most likely tokens after one.
func (p *peer) top(name string, prev int32, k int) []likely {
	row := make([]float32, len(wordBytes))
	logits(p.weights[name], prev, row)
	var all []likely
	for id, q := range softmax(row, rollout.Params{Temperature: 1}) {
		all = append(all, likely{int32(id), math.Log(q)})
	}
	slices.SortFunc(all, func(a, b likely) int { return cmp.Compare(b.logp, a.logp) })
	return all[:k]
}

// first is the distribution of the first token, for enginetest.
func first(prompt []int32) []float64 {
	row := make([]float32, len(wordBytes))
	logits(0, prompt[len(prompt)-1], row)
	return softmax(row, rollout.Params{Temperature: 1})
}
