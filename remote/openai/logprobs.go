package openai

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/remote/internal/transport"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// logProbs says which log-probs of sampled tokens a server gives.
type logProbs struct {
	meaning meaning
	// perRequest: a request can ask for processed ones.
	perRequest bool
}

// meaning is what a server's log-prob of a sampled token is.
type meaning uint8

const (
	// meaningUnclear: the probe could not tell, because the model left no choice.
	meaningUnclear meaning = iota
	// meaningUnit: at temperature 1, of all tokens.
	meaningUnit
	// meaningTempered: at the temperature, of all tokens.
	meaningTempered
	// meaningProcessed: at the temperature, of the tokens that truncation keeps.
	meaningProcessed
)

var meaningNames = []string{"unclear", "at temperature 1", "at the temperature", "after truncation"}

func (m meaning) String() string { return settings.EnumString(meaningNames, m) }

// uses tells whether parameters change the distribution by temperature or truncation.
func uses(p *rollout.Params) (temperature, truncation bool) {
	if p.Temperature == 0 {
		return false, false
	}
	return p.Temperature != 1, p.TopK > 0 || p.TopP > 0 && p.TopP < 1
}

// refuse returns an error for parameters with which the server does not give the
// log-probs at the temperature, before truncation. It names the parameters.
func (l logProbs) refuse(p *rollout.Params) error {
	temperature, truncation := uses(p)
	var ok bool
	switch {
	case !temperature && !truncation || l.meaning == meaningTempered:
		ok = true
	case !truncation:
		ok = l.meaning == meaningProcessed || l.perRequest
	case !temperature:
		ok = l.meaning == meaningUnit
	}
	if ok {
		return nil
	}
	var names []string
	if temperature {
		names = append(names, fmt.Sprintf("Temperature %v", p.Temperature))
	}
	if p.TopK > 0 {
		names = append(names, fmt.Sprintf("TopK %d", p.TopK))
	}
	if p.TopP > 0 && p.TopP < 1 {
		names = append(names, fmt.Sprintf("TopP %v", p.TopP))
	}
	why := l.meaning.String()
	if l.perRequest {
		why += " or after truncation"
	}
	return fmt.Errorf("%s: the server's log-probs are %s, but those at the temperature before truncation are needed (Config.UnitLogProbs accepts others)", strings.Join(names, " with "), why)
}

// processed reports whether the request has to ask for processed log-probs.
func (l logProbs) processed(p *rollout.Params) bool {
	temperature, truncation := uses(p)
	return l.perRequest && temperature && !truncation
}

// assign writes a completion's log-probs from those of the answer, of which there may
// be more.
func (l logProbs) assign(c *rollout.Completion, logp []float64, p *rollout.Params, processed bool) {
	logp = slices.Clip(logp[:len(c.Tokens)])
	for i, p := range logp {
		logp[i] = min(p, 0)
	}
	c.LogP = logp
	temperature, truncation := uses(p)
	unit := !temperature
	switch {
	case processed:
		unit = false
	case l.meaning == meaningUnit:
		unit = true
	case l.meaning == meaningProcessed:
		unit = unit && !truncation
	}
	if unit {
		c.LogPUnit = slices.Clone(logp)
	}
}

// Supports implements rl.Supporter, for the engine as a log-prober: the log-probs of
// prompts are at temperature 1.
func (e *Engine) Supports() rl.Capabilities { return rl.CapAll &^ rl.CapTemperature }

// CheckLogProbs implements rl.LogProbChecker: it returns an error if a server gives no
// log-probs of prompts (llama.cpp).
func (e *Engine) CheckLogProbs() error {
	for _, s := range e.fleet.servers {
		if !s.scores {
			return fmt.Errorf("openai: %s (%v) gives no log-probs of prompts", s, s.config.Dialect)
		}
	}
	return nil
}

// CheckTopLogProbs implements rl.TopLogProbChecker: besides CheckLogProbs, k must be 1 to
// the size of Config.Vocab, and no server may refuse it (vLLM gives 20 unless it is
// started with --max-logprobs). Each is asked for k after one token, unless it has given
// as many before; PhaseTimeout bounds each question. A server that does not answer is
// no error: it may be back when it is needed.
func (e *Engine) CheckTopLogProbs(k int) error {
	if err := e.checkTop(k); err != nil {
		return err
	}
	defer e.Close()
	for _, s := range e.fleet.servers {
		if int(s.top.Load()) >= k {
			continue
		}
		c := e.probeCall(s.identity.model, e.probePrompt(2, 0), rollout.Params{})
		c.top = k
		err := e.often(context.Background(), func(ctx context.Context) error {
			return e.score(ctx, s, c, func(got *scores) error {
				return e.fillTop(make([]int32, k), make([]float64, k+1), got.top[0])
			})
		})
		_, answered := errors.AsType[*answerError](err)
		switch {
		case err == nil:
			s.top.Store(int64(k))
		case answered || !transport.Retryable(err):
			return fmt.Errorf("openai: %w", err)
		}
	}
	return nil
}

// checkTop is what CheckTopLogProbs knows without asking.
func (e *Engine) checkTop(k int) error {
	if n := e.config.Vocab.VocabSize(); k < 1 || k > n {
		return fmt.Errorf("openai: %d most likely tokens, want 1 to the %d of Config.Vocab", k, n)
	}
	return e.CheckLogProbs()
}

// LogProbs writes the log-prob of every completion token into dst[i][t], as
// rl.LogProber says: with an Engine over servers that have other weights than the
// policy's, that is a reference policy or a teacher. It is an error if a server gives
// no log-probs of prompts (llama.cpp), if the batch's temperature is not 1, which is
// what all give them at, or if one sample cannot be had. It panics if dst does not
// fit.
func (e *Engine) LogProbs(ctx context.Context, b *rl.Batch, dst [][]float64) error {
	if len(dst) != len(b.Samples) {
		panic(fmt.Sprintf("openai: %d samples, but room for the log-probs of %d", len(b.Samples), len(dst)))
	}
	for i, d := range dst {
		if n := len(b.Samples[i].Tokens); len(d) != n {
			panic(fmt.Sprintf("openai: sample %d has %d tokens, but room for %d log-probs", i, n, len(d)))
		}
	}
	if err := e.CheckLogProbs(); err != nil {
		return err
	}
	return e.scoreAll(ctx, b, 0, func(i int, s *scores) error {
		copy(dst[i], s.logp)
		return nil
	})
}

// TopLogProbs implements rl.TopLogProber, under the conditions of LogProbs and
// CheckTopLogProbs. The rest is 1 minus the tokens' probabilities, and at least
// leastRest.
func (e *Engine) TopLogProbs(ctx context.Context, b *rl.Batch, k int, dst []rl.Top) error {
	if err := e.checkTop(k); err != nil {
		return err
	}
	if len(dst) != len(b.Samples) {
		panic(fmt.Sprintf("openai: %d samples, but room for the most likely tokens of %d", len(b.Samples), len(dst)))
	}
	for i, d := range dst {
		if n := len(b.Samples[i].Tokens); len(d.IDs) != n*k || len(d.LogP) != n*(k+1) {
			panic(fmt.Sprintf("openai: sample %d has %d tokens, but room for %d ids and %d log-probs of %d each", i, n, len(d.IDs), len(d.LogP), k))
		}
	}
	return e.scoreAll(ctx, b, k, func(i int, s *scores) error {
		for t, top := range s.top {
			if err := e.fillTop(dst[i].IDs[t*k:][:k], dst[i].LogP[t*(k+1):][:k+1], top); err != nil {
				return fmt.Errorf("token %d: %w", t, err)
			}
		}
		return nil
	})
}

// leastRest bounds the probability of the rest from below: what servers send has the
// precision of a float32, in which the most likely tokens may sum to 1 or more.
const leastRest = 1e-7

// fillTop writes the most likely of top, the rest last.
func (e *Engine) fillTop(ids []int32, logp []float64, top []likely) error {
	slices.SortFunc(top, func(a, b likely) int { return cmp.Or(cmp.Compare(b.logp, a.logp), cmp.Compare(a.id, b.id)) })
	if len(top) < len(ids) {
		return fmt.Errorf("%d most likely tokens, want %d", len(top), len(ids))
	}
	rest, size := 1.0, e.config.Vocab.VocabSize()
	for j := range ids {
		id, lp := top[j].id, top[j].logp
		switch {
		case id < 0 || int(id) >= size:
			return fmt.Errorf("a most likely token is %d, want an id below %d", id, size)
		case slices.Contains(ids[:j], id):
			return fmt.Errorf("the most likely token %d is there twice", id)
		case math.IsNaN(lp) || lp > roundingLogP:
			return fmt.Errorf("the log-prob of the most likely token %d is %v", id, lp)
		case lp <= noLogProb:
			lp = math.Inf(-1)
		}
		ids[j], logp[j] = id, min(lp, 0)
		rest -= math.Exp(lp)
	}
	logp[len(ids)] = math.Log(max(rest, leastRest))
	if len(ids) == size {
		logp[len(ids)] = math.Inf(-1)
	}
	return nil
}

// lostToAdapters says what vLLM does with adapters (0.32.0 on CPU; its issue 16668): it
// applies those of a batch's samples to the log-probs of prompts, which have other rows.
const lostToAdapters = "vLLM with --enable-lora can end when it is asked for the log-probs of several prompts at once; start it without for a reference or a teacher"

// scoreAll asks for the scores of every sample that has tokens, and calls use with
// those of its tokens; a failure of use is one of the answer. Its checks are those that
// LogProbs and TopLogProbs share.
func (e *Engine) scoreAll(ctx context.Context, b *rl.Batch, top int, use func(i int, s *scores) error) error {
	if b.Temperature != 0 && b.Temperature != 1 {
		return fmt.Errorf("openai: the batch has temperature %v: %w", b.Temperature, e.Supports().Check(rl.CapTemperature))
	}
	calls := make([]*call, len(b.Samples))
	for i := range b.Samples {
		s := &b.Samples[i]
		if s.Prompt < 0 || s.Prompt >= len(b.Prompts) || len(b.Prompts[s.Prompt]) == 0 {
			return fmt.Errorf("openai: sample %d is of prompt %d, which is missing or empty", i, s.Prompt)
		}
		c := &call{prompt: slices.Concat(b.Prompts[s.Prompt], s.Tokens), top: top, vocab: e.config.Vocab.VocabSize()}
		for t, id := range c.prompt {
			if id < 0 || int(id) >= e.config.Vocab.VocabSize() {
				return fmt.Errorf("openai: sample %d: token %d of prompt and completion is %d, want an id below %d", i, t, id, e.config.Vocab.VocabSize())
			}
		}
		if e.context > 0 && len(c.prompt) >= e.context { // the server samples one more
			return fmt.Errorf("openai: sample %d: a prompt of %d tokens and %d more are too long for the servers' context, %d, with one token to spare",
				i, len(b.Prompts[s.Prompt]), len(s.Tokens), e.context)
		}
		calls[i] = c
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	defer e.Close()
	call := e.calls.Add(1)
	e.fleet.begin(call, 0)
	defer e.fleet.end(call)
	name := fmt.Sprintf("%s-%d", e.run, call)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(e.fleet.slots())
	for i, c := range calls {
		n := len(b.Samples[i].Tokens)
		if n == 0 {
			continue
		}
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			e.fleet.queue.add(time.Now(), 1)
			lost, err := e.deliver(gctx, 0, fmt.Sprintf("%s-%d", name, i), func(ctx context.Context, l *lease, id string) error {
				c.model, c.id = l.model, id
				return e.score(ctx, l.server, c, func(s *scores) error {
					s.logp = s.logp[len(s.logp)-n:]
					if top > 0 {
						s.top = s.top[len(s.top)-n:]
					}
					return use(i, s)
				})
			}, func(int64, int64) {})
			if err = errors.Join(lost, err); err != nil {
				if gctx.Err() == nil && slices.ContainsFunc(e.fleet.servers, func(s *server) bool { return s.adapters }) {
					err = fmt.Errorf("%w (%s)", err, lostToAdapters)
				}
				return fmt.Errorf("openai: log-probs of sample %d: %w", i, err)
			}
			return nil
		})
	}
	err := g.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// score asks once for the log-probs of c.prompt but for its first token, and calls use
// with them. An error of use is one of the answer.
func (e *Engine) score(ctx context.Context, s *server, c *call, use func(*scores) error) error {
	err := s.send(ctx, c, e.config.AttemptTimeout, s.dialect.score, func(body []byte) error {
		got, err := s.dialect.parseScore(body, c)
		if err != nil {
			return err
		}
		if len(got.logp) != len(c.prompt)-1 || c.top > 0 && len(got.top) != len(c.prompt)-1 {
			return fmt.Errorf("%d log-probs and %d lists of likely tokens of a prompt of %d tokens", len(got.logp), len(got.top), len(c.prompt))
		}
		if err := checkLogProbs(got.logp); err != nil {
			return err
		}
		return use(&got)
	})
	if status, ok := errors.AsType[*transport.StatusError](err); ok && c.top > 0 && status.Status == http.StatusBadRequest {
		return fmt.Errorf("%s (%v), asked for the %d most likely tokens (vLLM gives --max-logprobs at most): %w", s, s.config.Dialect, c.top, err)
	}
	return err
}
