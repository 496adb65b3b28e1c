package openai

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/remote/internal/transport"
	"github.com/stepwise-rl/stepwise/rollout"
)

// maxLongProbe bounds the prompt of the probe with a long context.
const maxLongProbe = 8192

// probePrompts is how many prompts a probe tries: llama.cpp cannot answer if what
// follows one is not UTF-8.
const probePrompts = 40

// tolerance is how far log-probs that should be the same may differ, because a server
// has computed them in another batch or precision.
const tolerance = 0.05

// open finds out who the server is and what it can do.
func (e *Engine) open(ctx context.Context, s *server) error {
	id, err := e.identify(ctx, s)
	if err != nil {
		return err
	}
	s.identity, s.model = id, id.model
	s.limit = cmp.Or(s.config.Concurrency, id.slots, 64)
	s.logps.perRequest = id.perRequest
	if want := e.config.Context; id.context > 0 && want > id.context {
		return fmt.Errorf("Config.Context is %d, but the server's is %d", want, id.context)
	}
	if n := e.config.Vocab.VocabSize(); id.vocab > 0 && n > id.vocab {
		return fmt.Errorf("Config.Vocab has %d token ids, but the server's model %d: it is the tokenizer of another model", n, id.vocab)
	}
	greedy, prompt, err := e.probe(ctx, s, s.model, 0)
	if err != nil {
		return fmt.Errorf("a probe: %w", err)
	}
	if err := e.probeMeaning(ctx, s); err != nil {
		return fmt.Errorf("a probe of log-probs: %w", err)
	}
	first, at, err := e.probe(ctx, s, s.model, 1)
	if err != nil {
		return fmt.Errorf("a probe with a seed: %w", err)
	}
	again, err := e.askOften(ctx, s, e.probeCall(s.model, at, rollout.Params{Temperature: 1, MaxTokens: len(first.Tokens)}))
	if err != nil {
		return fmt.Errorf("a probe with a seed, once more: %w", err)
	}
	s.seeded = slices.Equal(first.Tokens, again.Tokens) && slices.Equal(first.LogP, again.LogP)
	if err := e.probeLong(ctx, s); err != nil {
		if status, ok := errors.AsType[*transport.StatusError](err); ok && status.Status < 500 {
			err = fmt.Errorf("%w (its prompt has ids up to %d: does Config.Vocab belong to this model?)", err, e.config.Vocab.VocabSize()-1)
		}
		return fmt.Errorf("a probe with a long prompt: %w", err)
	}
	scores, err := e.probeScores(ctx, s, prompt, &greedy)
	if err != nil {
		return fmt.Errorf("a probe of prompt log-probs: %w", err)
	}
	s.scores = scores
	var forms []string
	for _, f := range s.dialect.forms() {
		forms = append(forms, f.String())
	}
	takes := strings.Join(forms, " or ")
	if s.config.Dialect == DialectLlamaCPP && !id.router {
		takes = "none: no router (--models-dir)"
	}
	e.config.Logger.InfoContext(ctx, "openai: inference server", "url", s.String(), "dialect", s.config.Dialect,
		"model", transport.Clean(s.model, 80), "context", id.context, "at_once", s.limit, "log_probs", s.logps.meaning.String(),
		"processed_log_probs_by_request", id.perRequest, "prompt_log_probs", scores, "same_seed_same_sample", s.seeded,
		"new_weights", takes)
	if scores && id.adapters {
		e.config.Logger.WarnContext(ctx, "openai: "+lostToAdapters, "url", s.String())
	}
	return nil
}

// identify asks the server who it is. One that is not up yet is asked again until
// Config.Patience has passed.
func (e *Engine) identify(ctx context.Context, s *server) (identity, error) {
	start, wait := time.Now(), e.backoff()
	for first := true; ; first = false {
		asked, cancel := context.WithTimeout(ctx, e.config.PhaseTimeout)
		id, err := s.dialect.identify(asked, s)
		cancel()
		if !notUp(err) {
			return id, err
		}
		if first {
			e.config.Logger.WarnContext(ctx, "openai: waiting for an inference server", "url", s.String(), "patience", e.config.Patience, "error", err.Error())
		}
		pause := wait.NextBackOff()
		if time.Since(start)+pause > e.config.Patience {
			return id, fmt.Errorf("not up within Config.Patience, %v: %w", e.config.Patience, err)
		}
		if transport.Sleep(ctx, pause) != nil {
			return id, err
		}
	}
}

// notUp reports whether an error is that of a server which starts: it takes no
// connections, or is loading its model (503), or something before it, as a published port
// or a gateway, takes connections and finds nobody behind (they end, 502, 504).
func notUp(err error) bool {
	if s, ok := errors.AsType[*transport.StatusError](err); ok {
		return s.Status >= http.StatusBadGateway && s.Status <= http.StatusGatewayTimeout
	}
	broken, ok := errors.AsType[*net.OpError](err)
	return errors.Is(err, io.EOF) || ok && slices.Contains([]string{"dial", "read", "write"}, broken.Op)
}

// programs are the dialects by what servers say of themselves (owned_by of their
// models).
var programs = map[string]Dialect{"vllm": DialectVLLM, "llamacpp": DialectLlamaCPP, "sglang": DialectSGLang}

// ownedBy returns an error if a model is that of another program than the server's
// dialect.
func (s *server) ownedBy(owner string) error {
	if d, ok := programs[owner]; ok && d != s.config.Dialect {
		return fmt.Errorf("the server says that it is %v (owned_by %q), want that as Server.Dialect", d, owner)
	}
	return nil
}

// probeCall is a call that no request asked for.
func (e *Engine) probeCall(model string, prompt []int32, p rollout.Params) *call {
	c := e.newCall(&rollout.Request{Prompt: prompt, Params: p})
	c.model, c.seed = model, 7
	c.id = fmt.Sprintf("%s-probe-%d", e.run, e.calls.Add(1))
	return c
}

// probePrompt makes a prompt of n ordinary tokens.
func (e *Engine) probePrompt(n, variant int) []int32 {
	prompt := make([]int32, n)
	size := e.config.Vocab.VocabSize()
	for i := range prompt {
		id := int32((7 + 31*i + 13*variant) % size)
		for slices.Contains(e.config.EOS, id) {
			id = (id + 1) % int32(size)
		}
		prompt[i] = id
	}
	return prompt
}

// probe asks for two tokens, with one prompt after the other while llama.cpp cannot
// answer. It returns the answer and its prompt.
func (e *Engine) probe(ctx context.Context, s *server, model string, temperature float64) (out rollout.Completion, prompt []int32, err error) {
	for variant := range probePrompts {
		prompt = e.probePrompt(4, variant)
		out, err = e.askOften(ctx, s, e.probeCall(model, prompt, rollout.Params{Temperature: temperature, MaxTokens: 2}))
		if err == nil || reasonOf(err) != lostUTF8 {
			return out, prompt, err
		}
	}
	return out, prompt, err
}

// probeMeaning finds out what the log-probs are. Of a token that greedy sampling draws
// it compares three: at temperature 0, and at temperatures 1 and 2 where the two most
// likely tokens are kept. (Keeping one is greedy sampling to some servers, whatever the
// temperature, and vLLM refuses temperatures above 2.)
func (e *Engine) probeMeaning(ctx context.Context, s *server) error {
	prompt, token, greedy, err := e.uncertain(ctx, s)
	if err != nil || prompt == nil {
		return err
	}
	var kept [2]float64
	for i, temperature := range []float64{1, 2} {
		p := rollout.Params{Temperature: temperature, TopK: 2, MaxTokens: 1}
		drawn := false
		for try := int64(0); try < probePrompts && !drawn; try++ {
			c := e.probeCall(s.model, prompt, p)
			c.seed += try
			out, err := e.askOften(ctx, s, c)
			if err != nil && reasonOf(err) != lostUTF8 { // the other token may be no UTF-8
				return err
			}
			if drawn = err == nil && out.Tokens[0] == token; drawn {
				kept[i] = out.LogP[0]
			}
		}
		if !drawn {
			return fmt.Errorf("at temperature %v with TopK 2 the most likely token, %d, is not among %d samples: parameters are not respected", temperature, token, probePrompts)
		}
	}
	same := func(p float64) bool { return math.Abs(p-greedy) <= tolerance }
	switch one, two := kept[0], kept[1]; {
	case same(one) && same(two):
		s.logps.meaning = meaningUnit
	case same(one):
		s.logps.meaning = meaningTempered
	case one > greedy && two > greedy:
		s.logps.meaning = meaningProcessed
	default:
		return fmt.Errorf("of the same token they are %v at temperature 0 and, with TopK 2, %v at 1 and %v at 2: none of the meanings that are known", greedy, one, two)
	}
	return nil
}

// uncertain looks for a prompt after which the most likely token has a probability
// below 0.45, so that the meanings of its log-prob differ by more than the tolerance. It
// returns no prompt if there is none.
func (e *Engine) uncertain(ctx context.Context, s *server) (prompt []int32, token int32, logp float64, err error) {
	for variant := range probePrompts {
		prompt = e.probePrompt(4, variant)
		out, err := e.askOften(ctx, s, e.probeCall(s.model, prompt, rollout.Params{MaxTokens: 1}))
		switch {
		case err == nil && math.Exp(out.LogP[0]) < 0.45:
			return prompt, out.Tokens[0], out.LogP[0], nil
		case err != nil && reasonOf(err) != lostUTF8:
			return nil, 0, 0, err
		}
	}
	return nil, 0, 0, nil
}

// probeLong asks for a token after a prompt that fills the context, as far as its size
// is known.
func (e *Engine) probeLong(ctx context.Context, s *server) (err error) {
	n := min(cmp.Or(e.config.Context, s.identity.context), maxLongProbe) - 1
	if n < 1 {
		return nil
	}
	for variant := range probePrompts {
		_, err = e.askOften(ctx, s, e.probeCall(s.model, e.probePrompt(n, variant), rollout.Params{MaxTokens: 1}))
		if err == nil || reasonOf(err) != lostUTF8 {
			break
		}
	}
	return err
}

// probeScores finds out whether the server gives the log-probs of prompts: they must
// be those that it gave when it sampled the same tokens.
func (e *Engine) probeScores(ctx context.Context, s *server, prompt []int32, greedy *rollout.Completion) (bool, error) {
	c := e.probeCall(s.model, slices.Concat(prompt, greedy.Tokens), rollout.Params{})
	if s.dialect.score(nil, c) == nil {
		return false, nil
	}
	var logp []float64
	err := e.often(ctx, func(ctx context.Context) error {
		return e.score(ctx, s, c, func(got *scores) error { logp = got.logp; return nil })
	})
	if _, ok := errors.AsType[*transport.StatusError](err); ok {
		return false, nil // not with this server's settings
	}
	if err != nil {
		return false, err
	}
	logp = logp[len(logp)-len(greedy.Tokens):]
	for i := range logp {
		if math.Abs(logp[i]-greedy.LogP[i]) > tolerance {
			return false, fmt.Errorf("%v of tokens that were sampled with %v", logp, greedy.LogP)
		}
	}
	return true, nil
}
