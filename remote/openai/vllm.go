package openai

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/stepwise-rl/stepwise/remote/internal/transport"
	"github.com/stepwise-rl/stepwise/rollout"
)

// vllm is the dialect of vLLM (measured with 0.32.0). Its log-probs are at temperature
// 1, or after temperature and truncation if it was started with --logprobs-mode
// processed_logprobs. Weights are reloaded in place, through endpoints that it has
// with VLLM_SERVER_DEV_MODE=1, or come as adapters (--enable-lora,
// VLLM_ALLOW_RUNTIME_LORA_UPDATING=1).
type vllm struct{}

func (vllm) samplePath() string { return "/v1/completions" }
func (vllm) healthPath() string { return "/health" }

func (vllm) forms() []rollout.Form { return []rollout.Form{rollout.FormFolder, rollout.FormAdapter} }

// vllmModels is the answer of GET /v1/models: models and their adapters.
type vllmModels struct {
	Data []struct {
		ID     string `json:"id"`
		Owner  string `json:"owned_by"`
		Parent string `json:"parent"`
		Max    int    `json:"max_model_len"`
	} `json:"data"`
}

func (vllm) identify(ctx context.Context, s *server) (identity, error) {
	var models vllmModels
	if err := s.get(ctx, "/v1/models", &models); err != nil {
		return identity{}, err
	}
	var names []string
	var id identity
	for _, m := range models.Data {
		if err := s.ownedBy(m.Owner); err != nil {
			return id, err
		}
		if s.config.Model == "" && m.Parent == "" || s.config.Model == m.ID {
			id.model, id.context = m.ID, m.Max
			names = append(names, m.ID)
		}
	}
	// Only with --enable-lora does it count the requests of adapters.
	var metrics []byte
	if s.client.Do(ctx, transport.Request{Method: http.MethodGet, Path: "/metrics", Once: true}, transport.Bytes(&metrics)) == nil {
		id.adapters = bytes.Contains(metrics, []byte("vllm:lora_requests_info"))
	}
	if err := oneModel(s, names); err != nil {
		return id, err
	}
	// A refresh that was killed leaves it paused. Only in developer mode can it be.
	var state struct {
		Paused bool `json:"is_paused"`
	}
	asked := transport.Request{Method: http.MethodGet, Path: "/is_paused", Accept: "application/json", Once: true}
	if s.decode(ctx, asked, &state) != nil || !state.Paused {
		return id, nil
	}
	return id, s.post(ctx, "/resume", nil, nil)
}

// oneModel is an error unless there is one name.
func oneModel(s *server, names []string) error {
	switch {
	case len(names) == 1:
		return nil
	case s.config.Model != "":
		return fmt.Errorf("the server has no model %q, want the name of one of its models in Server.Model", s.config.Model)
	}
	if len(names) == 0 {
		return errors.New("the server has no models")
	}
	return fmt.Errorf("the server has %d models, want the name of one in Server.Model: %s", len(names), transport.Clean(strings.Join(names, ", "), 200))
}

func (vllm) sample(b []byte, c *call) []byte {
	b = append(b, `{"model":`...)
	b = appendText(b, c.model)
	b = appendIDs(field(b, "prompt"), c.prompt)
	b = strconv.AppendInt(field(b, "max_tokens"), int64(c.params.MaxTokens), 10)
	b = appendFloat(field(b, "temperature"), c.params.Temperature)
	b = appendFloat(field(b, "top_p"), c.params.TopP)
	b = strconv.AppendInt(field(b, "top_k"), int64(c.params.TopK), 10)
	b = strconv.AppendInt(field(b, "seed"), c.seed, 10)
	b = appendIDs(field(b, "stop_token_ids"), c.eos)
	return append(b, `,"n":1,"min_p":0,"repetition_penalty":1,"presence_penalty":0,"frequency_penalty":0,`+
		`"ignore_eos":true,"logprobs":0,"return_token_ids":true,"include_stop_str_in_output":true,`+
		`"skip_special_tokens":false,"stream":false}`...)
}

func (vllm) parse(body []byte, c *call) (answer, error) {
	a := newAnswer(c)
	choices := 0
	var model string
	var prompt []int32
	err := scan(body, func(s *scanner) {
		s.object(func(key string) {
			switch key {
			case "model":
				model = s.text()
			case "choices":
				s.array(func() {
					choices++
					prompt = vllmChoice(s, &a)
				})
			}
		})
	})
	switch {
	case err != nil:
		return a, err
	case choices != 1:
		return a, fmt.Errorf("%d choices, want 1", choices)
	case model != c.model:
		return a, fmt.Errorf("answered by the model %.80q, want %q", model, c.model)
	case prompt != nil && !slices.Equal(prompt, c.prompt):
		return a, fmt.Errorf("the prompt was taken as %d other tokens, want the %d that were sent", len(prompt), len(c.prompt))
	}
	return a, nil
}

// vllmChoice reads a choice and returns its prompt's ids, if they are there.
func vllmChoice(s *scanner, a *answer) (prompt []int32) {
	s.object(func(key string) {
		switch key {
		case "token_ids":
			a.tokens = s.ids(a.tokens[:0])
		case "prompt_token_ids":
			prompt = s.ids(nil)
		case "finish_reason":
			if !s.null() {
				a.stopped = s.text() == "stop"
			}
		case "logprobs":
			if s.null() {
				return
			}
			s.object(func(key string) {
				if key == "token_logprobs" {
					a.logp = a.logp[:0]
					s.array(func() { a.logp = append(a.logp, s.float()) })
				}
			})
		}
	})
	return prompt
}

func (vllm) score(b []byte, c *call) []byte {
	b = append(b, `{"model":`...)
	b = appendText(b, c.model)
	b = appendIDs(field(b, "prompt"), c.prompt)
	b = strconv.AppendInt(field(b, "prompt_logprobs"), int64(c.top), 10)
	return append(b, `,"max_tokens":1,"temperature":0,"n":1,"return_token_ids":true,"stream":false}`...)
}

func (v vllm) parseScore(body []byte, c *call) (out scores, err error) {
	entries := 0
	err = scan(body, func(s *scanner) {
		s.object(func(key string) {
			if key != "choices" {
				return
			}
			s.array(func() {
				s.object(func(key string) {
					if key != "prompt_logprobs" || s.null() {
						return
					}
					s.array(func() {
						v.promptLogProb(s, c, entries, &out)
						entries++
					})
				})
			})
		})
	})
	if err == nil && entries != len(c.prompt) {
		err = fmt.Errorf("log-probs of %d prompt tokens, want %d", entries, len(c.prompt))
	}
	return out, err
}

// promptLogProb reads the entry of prompt token i: null for the first, then an object
// by id, in which the prompt's token is one of several.
func (vllm) promptLogProb(s *scanner, c *call, i int, out *scores) {
	if s.null() {
		if i > 0 {
			s.fail("no log-prob of prompt token %d", i)
		}
		return
	}
	p := math.NaN()
	var top []likely
	if c.top > 0 {
		top = make([]likely, 0, c.top+1)
	}
	s.object(func(key string) {
		mine := i < len(c.prompt) && key == strconv.Itoa(int(c.prompt[i]))
		if !mine && c.top == 0 {
			return
		}
		lp := math.NaN()
		s.object(func(key string) {
			if key == "logprob" {
				lp = s.float()
			}
		})
		if mine {
			p = lp
		}
		if c.top > 0 {
			id, err := strconv.ParseInt(key, 10, 32)
			if err != nil {
				s.fail("%.20q is no token id", key)
			}
			top = append(top, likely{int32(id), lp})
		}
	})
	if i > 0 {
		out.logp = append(out.logp, p)
		if c.top > 0 {
			out.top = append(out.top, top)
		}
	}
}

func (vllm) version(ctx context.Context, s *server) (string, error) {
	var info struct {
		Version string `json:"weight_version"`
	}
	err := s.get(ctx, "/weight_info", &info)
	return info.Version, err
}

func (vllm) has(ctx context.Context, s *server, model string) (bool, error) {
	var models vllmModels
	err := s.get(ctx, "/v1/models", &models)
	for _, m := range models.Data {
		if m.ID == model {
			return true, err
		}
	}
	return false, err
}

func (vllm) lacks(err *transport.StatusError, _ string) bool {
	return err.Status == http.StatusNotFound
}

func (v vllm) refresh(ctx context.Context, s *server, r *refresh) (model string, err error) {
	if r.weights.Form == rollout.FormAdapter {
		name := "policy-" + r.run + "-v" + r.label() // no other engine's
		err := r.phase(ctx, "load the adapter", func(ctx context.Context) error {
			return s.post(ctx, "/v1/load_lora_adapter", map[string]any{"lora_name": name, "lora_path": r.weights.Ref}, nil)
		})
		return name, err
	}
	// Keep: what is in flight, if anything is, goes on after it.
	if err := r.phase(ctx, "pause", func(ctx context.Context) error { return s.post(ctx, "/pause?mode=keep", nil, nil) }); err != nil {
		return "", err
	}
	if err := r.phase(ctx, "load the weights", func(ctx context.Context) error {
		return s.post(ctx, "/collective_rpc", map[string]any{
			"method": "reload_weights", "kwargs": map[string]any{"weights_path": r.weights.Ref},
		}, nil)
	}); err != nil {
		return "", err
	}
	if err := r.phase(ctx, "clear the prefix cache", func(ctx context.Context) error {
		return s.postSuccess(ctx, "/reset_prefix_cache", nil)
	}); err != nil {
		return "", err
	}
	if err := r.phase(ctx, "label the weights", func(ctx context.Context) error {
		return s.postSuccess(ctx, "/update_weight_version", map[string]any{"new_version": r.label()})
	}); err != nil {
		return "", err
	}
	r.loaded()
	return s.model, r.phase(ctx, "resume", func(ctx context.Context) error { return s.post(ctx, "/resume", nil, nil) })
}

func (vllm) drop(ctx context.Context, s *server, model string) error {
	return s.post(ctx, "/v1/unload_lora_adapter", map[string]any{"lora_name": model}, nil)
}
