package openai

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/remote/internal/transport"
	"github.com/stepwise-rl/stepwise/rollout"
)

// llamaCPP is the dialect of llama.cpp's server (measured with b10434). Its log-probs
// are at temperature 1; a request can ask for probabilities after temperature and
// truncation instead. As a router it loads GGUF files under new names, and nothing
// restarts. Its own end-of-text tokens come from the GGUF file and always end a text.
type llamaCPP struct{}

func (llamaCPP) samplePath() string { return "/completion" }
func (llamaCPP) healthPath() string { return "/health" }

func (llamaCPP) forms() []rollout.Form { return []rollout.Form{rollout.FormGGUF} }

// llamaModels is the answer of GET /models.
type llamaModels struct {
	Data []struct {
		ID     string `json:"id"`
		Owner  string `json:"owned_by"`
		Status *struct {
			Value  string `json:"value"` // of a router's models
			Failed bool   `json:"failed"`
		} `json:"status"`
		Meta struct {
			Vocab int `json:"n_vocab"`
		} `json:"meta"` // of models that are loaded
	} `json:"data"`
}

func (l llamaCPP) identify(ctx context.Context, s *server) (identity, error) {
	var models llamaModels
	// A router reads its folder anew; to others the query means nothing.
	if err := s.get(ctx, "/models?reload=1", &models); err != nil {
		return identity{}, err
	}
	var names []string
	id := identity{perRequest: true}
	for _, m := range models.Data {
		if err := s.ownedBy(m.Owner); err != nil {
			return id, err
		}
		if s.config.Model == "" || s.config.Model == m.ID {
			names = append(names, m.ID)
			id.model, id.vocab, id.router = m.ID, m.Meta.Vocab, m.Status != nil
		}
	}
	if err := oneModel(s, names); err != nil {
		return id, err
	}
	props := "/props"
	if id.router {
		if err := l.load(ctx, s, id.model, false); err != nil {
			return id, err
		}
		if err := s.get(ctx, "/models", &models); err != nil {
			return id, err
		}
		for _, m := range models.Data {
			if m.ID == id.model {
				id.vocab = m.Meta.Vocab
			}
		}
		props += "?model=" + url.QueryEscape(id.model)
	}
	var p struct {
		Slots   int `json:"total_slots"`
		Default struct {
			Context int `json:"n_ctx"`
		} `json:"default_generation_settings"`
	}
	err := s.get(ctx, props, &p)
	// With the last place of its context the server says that it cut something.
	id.slots, id.context = p.Slots, max(0, p.Default.Context-1)
	return id, err
}

func (llamaCPP) sample(b []byte, c *call) []byte {
	b = appendIDs(append(b, `{"prompt":`...), c.prompt)
	b = appendText(field(b, "model"), c.model)
	b = strconv.AppendInt(field(b, "n_predict"), int64(c.params.MaxTokens), 10)
	b = appendFloat(field(b, "temperature"), c.params.Temperature)
	b = appendFloat(field(b, "top_p"), c.params.TopP)
	b = strconv.AppendInt(field(b, "top_k"), int64(c.params.TopK), 10)
	b = strconv.AppendInt(field(b, "seed"), c.seed, 10)
	b = strconv.AppendBool(field(b, "post_sampling_probs"), c.processed)
	// The order of the samplers: rollout.Params truncate after the temperature.
	return append(b, `,"samplers":["temperature","top_k","top_p"],"min_p":0,"typical_p":1,"top_n_sigma":-1,`+
		`"xtc_probability":0,"repeat_penalty":1,"presence_penalty":0,"frequency_penalty":0,"dry_multiplier":0,`+
		`"dynatemp_range":0,"mirostat":0,"min_keep":0,"n_probs":1,"return_tokens":true,"cache_prompt":false,"stop":[],"stream":false}`...)
}

func (llamaCPP) parse(body []byte, c *call) (answer, error) {
	a := newAnswer(c)
	var ids []int32 // of the log-probs
	prompt, truncated := -1, false
	var model string
	err := scan(body, func(s *scanner) {
		s.object(func(key string) {
			switch key {
			case "tokens":
				a.tokens = s.ids(a.tokens[:0])
			case "tokens_evaluated":
				prompt = int(s.id())
			case "truncated":
				truncated = s.bool()
			case "stop_type":
				a.stopped = s.text() == "eos"
			case "model":
				model = s.text()
			case "completion_probabilities":
				s.array(func() {
					id, p := int32(-1), math.NaN()
					s.object(func(key string) {
						switch key {
						case "id":
							id = s.id()
						case "logprob":
							p = s.float()
						case "prob":
							p = math.Log(s.float())
						}
					})
					ids, a.logp = append(ids, id), append(a.logp, p)
				})
			}
		})
	})
	switch {
	case err != nil:
		return a, err
	case model != c.model:
		return a, fmt.Errorf("answered by the model %.80q, want %q", model, c.model)
	case prompt != len(c.prompt):
		return a, fmt.Errorf("the prompt was taken as %d tokens, want %d", prompt, len(c.prompt))
	case truncated:
		return a, errors.New("the server cut the context")
	case len(a.logp) < len(a.tokens) && len(a.tokens) <= c.params.MaxTokens:
		// An entry per complete character: the same seed loses the same ones again.
		return a, lose(lostUTF8, fmt.Errorf("%d log-probs for %d tokens: llama.cpp gives one per complete character", len(a.logp), len(a.tokens)))
	}
	return a, sameIDs(a.tokens, ids)
}

// notUTF8 recognises llama.cpp's error for output that is not valid UTF-8. The same
// seed gives it again.
func notUTF8(err error) bool {
	s, ok := errors.AsType[*transport.StatusError](err)
	return ok && s.Status == 500 && strings.Contains(s.Body, "does not match the expected")
}

func (llamaCPP) score([]byte, *call) []byte { return nil }

func (llamaCPP) parseScore([]byte, *call) (scores, error) {
	panic("openai: llama.cpp has no log-probs of prompts")
}

// version is that of the model's name, which every request has.
func (llamaCPP) version(context.Context, *server) (string, error) { return "", nil }

// has: what a router lists it loads when it is asked for.
func (llamaCPP) has(ctx context.Context, s *server, model string) (bool, error) {
	var models llamaModels
	err := s.get(ctx, "/models?reload=1", &models)
	for _, m := range models.Data {
		if m.ID == model {
			return true, err
		}
	}
	return false, err
}

func (llamaCPP) lacks(err *transport.StatusError, model string) bool {
	return err.Status == http.StatusBadRequest && strings.Contains(err.Body, "model '"+model+"' not found")
}

func (l llamaCPP) refresh(ctx context.Context, s *server, r *refresh) (model string, err error) {
	if !s.router {
		return "", errors.New("this llama.cpp server is no router (--models-dir) and cannot change its weights")
	}
	name := strings.TrimSuffix(path.Base(r.weights.Ref), ".gguf")
	err = r.phase(ctx, "load "+strconv.Quote(name), func(ctx context.Context) error { return l.load(ctx, s, name, true) })
	return name, err
}

// load makes a router find and load a model, and waits until that is done. fresh says
// that the file is new: a model of that name which is loaded has other weights.
func (llamaCPP) load(ctx context.Context, s *server, name string, fresh bool) error {
	state := func(path string) (string, error) {
		var models llamaModels
		if err := s.get(ctx, path, &models); err != nil {
			return "", err
		}
		for _, m := range models.Data {
			if m.ID == name && m.Status != nil {
				if m.Status.Failed {
					return "failed", nil
				}
				return m.Status.Value, nil
			}
		}
		return "", fmt.Errorf("the router does not list the model %q, want %s.gguf in its --models-dir", name, name)
	}
	// until polls the state until it is the one wanted.
	until := func(want, meanwhile string) error {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for started := false; ; {
			now, err := state("/models")
			switch {
			case err != nil || now == want:
				return err
			case now == meanwhile:
				started = true
			case now == "failed" || started:
				return fmt.Errorf("the router's model %q is %.40q, want %s", name, now, want)
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%w: the router's model %q is still %.40q, want %s", ctx.Err(), name, now, want)
			case <-tick.C:
			}
		}
	}
	now, err := state("/models?reload=1")
	if err != nil {
		return err
	}
	if now == "loaded" && fresh {
		if err := s.postSuccess(ctx, "/models/unload", map[string]any{"model": name}); err != nil {
			return err
		}
		if err := until("unloaded", "loaded"); err != nil {
			return err
		}
	} else if now == "loaded" {
		return nil
	}
	if err := s.postSuccess(ctx, "/models/load", map[string]any{"model": name}); err != nil {
		return err
	}
	return until("loaded", "loading")
}

func (llamaCPP) drop(ctx context.Context, s *server, model string) error {
	return s.postSuccess(ctx, "/models/unload", map[string]any{"model": model})
}
