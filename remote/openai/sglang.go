package openai

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/stepwise-rl/stepwise/remote/internal/transport"
	"github.com/stepwise-rl/stepwise/rollout"
)

// sglang is the dialect of SGLang (measured with 0.5.23 on CPU). Its log-probs are at
// the temperature, before truncation. It respects seeds only with
// --enable-deterministic-inference. A token id outside the model's vocabulary kills it,
// and so does a request for more of the most likely tokens than that has.
type sglang struct{}

func (sglang) samplePath() string { return "/generate" }
func (sglang) healthPath() string { return "/health" }

func (sglang) forms() []rollout.Form { return []rollout.Form{rollout.FormFolder} }

func (sglang) identify(ctx context.Context, s *server) (identity, error) {
	var models struct {
		Data []struct {
			ID    string `json:"id"`
			Owner string `json:"owned_by"`
			Max   int    `json:"max_model_len"`
		} `json:"data"`
	}
	if err := s.get(ctx, "/v1/models", &models); err != nil {
		return identity{}, err
	}
	if len(models.Data) == 0 {
		return identity{}, oneModel(s, nil)
	}
	if err := s.ownedBy(models.Data[0].Owner); err != nil {
		return identity{}, err
	}
	// A refresh that was killed leaves it paused, which it does not tell. If this is
	// refused, the probes find out what it matters.
	_ = s.post(ctx, "/continue_generation", map[string]any{}, nil)
	// /generate asks for no model: there is one, and its adapters.
	// A prompt must be six tokens shorter than its context.
	return identity{model: models.Data[0].ID, context: max(0, models.Data[0].Max-6)}, nil
}

func (sglang) sample(b []byte, c *call) []byte {
	b = appendIDs(append(b, `{"input_ids":`...), c.prompt)
	b = appendText(field(b, "rid"), c.id)
	b = append(field(b, "sampling_params"), `{"max_new_tokens":`...)
	b = strconv.AppendInt(b, int64(c.params.MaxTokens), 10)
	b = appendFloat(field(b, "temperature"), c.params.Temperature)
	b = appendFloat(field(b, "top_p"), c.params.TopP)
	topK := cmp.Or(c.params.TopK, -1)
	b = strconv.AppendInt(field(b, "top_k"), int64(topK), 10)
	b = strconv.AppendInt(field(b, "sampling_seed"), c.seed, 10)
	b = appendIDs(field(b, "stop_token_ids"), c.eos)
	return append(b, `,"n":1,"min_p":0,"repetition_penalty":1,"presence_penalty":0,"frequency_penalty":0,`+
		`"min_new_tokens":0,"ignore_eos":true,"no_stop_trim":true,"skip_special_tokens":false},`+
		`"return_logprob":true,"logprob_start_len":-1,"stream":false}`...)
}

func (g sglang) parse(body []byte, c *call) (answer, error) {
	a := newAnswer(c)
	var ids []int32 // of the log-probs
	prompt := -1
	aborted := false
	err := scan(body, func(s *scanner) {
		s.object(func(key string) {
			switch key {
			case "output_ids":
				a.tokens = s.ids(a.tokens[:0])
			case "meta_info":
				s.object(func(key string) {
					switch key {
					case "finish_reason":
						if s.null() {
							return
						}
						s.object(func(key string) {
							if key == "type" {
								reason := s.text()
								a.stopped, aborted = reason == "stop", reason == "abort"
							}
						})
					case "prompt_tokens":
						prompt = int(s.id())
					case "weight_version":
						if !s.null() {
							a.version = s.text()
						}
					case "output_token_logprobs":
						a.logp, ids = g.pairs(s)
					}
				})
			}
		})
	})
	switch {
	case err != nil:
		return a, err
	case aborted:
		return a, fmt.Errorf("the server gave the request up")
	case prompt != len(c.prompt):
		return a, fmt.Errorf("the prompt was taken as %d tokens, want %d", prompt, len(c.prompt))
	}
	return a, sameIDs(a.tokens, ids)
}

// pairs reads a list of [log-prob, id, text or null]; null is no log-prob.
func (sglang) pairs(s *scanner) (logp []float64, ids []int32) {
	if s.null() {
		return nil, nil
	}
	s.array(func() {
		n := 0
		s.array(func() {
			switch n {
			case 0:
				logp = append(logp, s.float())
			case 1:
				ids = append(ids, s.id())
			default:
				s.skip()
			}
			n++
		})
		if n < 2 {
			s.fail("a log-prob without its token")
		}
	})
	return logp, ids
}

// sameIDs is an error unless the log-probs' ids are those of the tokens. Their numbers
// are compared elsewhere.
func sameIDs(tokens, ids []int32) error {
	for i := range min(len(tokens), len(ids)) {
		if tokens[i] != ids[i] {
			return fmt.Errorf("token %d is %d, but its log-prob is that of %d", i, tokens[i], ids[i])
		}
	}
	return nil
}

func (sglang) score(b []byte, c *call) []byte {
	b = appendIDs(append(b, `{"input_ids":`...), c.prompt)
	b = appendText(field(b, "rid"), c.id)
	if c.top > 0 {
		b = strconv.AppendInt(field(b, "top_logprobs_num"), int64(c.top), 10)
	}
	return append(b, `,"sampling_params":{"max_new_tokens":1,"temperature":0},"return_logprob":true,"logprob_start_len":0,"stream":false}`...)
}

func (g sglang) parseScore(body []byte, c *call) (scores, error) {
	var logp []float64
	var ids []int32
	var top [][]likely
	err := scan(body, func(s *scanner) {
		s.object(func(key string) {
			if key != "meta_info" {
				return
			}
			s.object(func(key string) {
				switch {
				case key == "input_token_logprobs":
					logp, ids = g.pairs(s)
				case key == "input_top_logprobs" && c.top > 0:
					s.array(func() { // null in the first place
						p, ids := g.pairs(s)
						if len(p) != len(ids) {
							return // an error, which s has
						}
						at := make([]likely, len(p))
						for i := range p {
							at[i] = likely{ids[i], p[i]}
						}
						top = append(top, at)
					})
				}
			})
		})
	})
	switch {
	case err != nil:
		return scores{}, err
	case len(ids) != len(c.prompt):
		return scores{}, fmt.Errorf("log-probs of %d prompt tokens, want %d", len(ids), len(c.prompt))
	case !math.IsNaN(logp[0]):
		return scores{}, fmt.Errorf("the first prompt token has the log-prob %v, want none", logp[0])
	case c.top > 0 && len(top) != len(c.prompt):
		return scores{}, fmt.Errorf("the most likely tokens of %d places, want %d", len(top), len(c.prompt))
	case c.top > 0:
		top = top[1:]
	}
	for i, id := range c.prompt {
		// It names the last id of the model's vocabulary 0; the log-prob is the id's.
		if int(id) == c.vocab-1 && ids[i] == 0 {
			ids[i] = id
		}
	}
	return scores{logp[1:], top}, sameIDs(c.prompt, ids)
}

func (sglang) version(ctx context.Context, s *server) (string, error) {
	var info struct {
		Version string `json:"weight_version"`
	}
	err := s.get(ctx, "/get_weight_version", &info)
	return info.Version, err
}

// It has one model, whose weights change in place.
func (sglang) has(context.Context, *server, string) (bool, error) { return true, nil }
func (sglang) lacks(*transport.StatusError, string) bool          { return false }

func (sglang) refresh(ctx context.Context, s *server, r *refresh) (model string, err error) {
	mode := "abort" // nothing is in flight
	if r.keep {
		mode = "retract" // computes keys and values again, with the new weights
	}
	if err := r.phase(ctx, "pause", func(ctx context.Context) error {
		return s.post(ctx, "/pause_generation", map[string]any{"mode": mode}, nil)
	}); err != nil {
		return "", err
	}
	if err := r.phase(ctx, "load the weights", func(ctx context.Context) error {
		return s.postSuccess(ctx, "/update_weights_from_disk", map[string]any{
			"model_path": r.weights.Ref, "weight_version": r.label(), "flush_cache": true,
		})
	}); err != nil {
		return "", err
	}
	r.loaded()
	return s.model, r.phase(ctx, "resume", func(ctx context.Context) error {
		return s.post(ctx, "/continue_generation", map[string]any{}, nil)
	})
}

func (sglang) drop(context.Context, *server, string) error { return nil }
