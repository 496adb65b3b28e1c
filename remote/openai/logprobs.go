package openai

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stepwise-rl/stepwise/internal/settings"
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
	if b.Temperature != 0 && b.Temperature != 1 {
		return fmt.Errorf("openai: the batch has temperature %v: %w", b.Temperature, e.Supports().Check(rl.CapTemperature))
	}
	if err := e.CheckLogProbs(); err != nil {
		return err
	}
	calls := make([]*call, len(dst))
	for i, d := range dst {
		s := &b.Samples[i]
		if len(d) != len(s.Tokens) {
			panic(fmt.Sprintf("openai: sample %d has %d tokens, but room for %d log-probs", i, len(s.Tokens), len(d)))
		}
		if s.Prompt < 0 || s.Prompt >= len(b.Prompts) || len(b.Prompts[s.Prompt]) == 0 {
			return fmt.Errorf("openai: sample %d is of prompt %d, which is missing or empty", i, s.Prompt)
		}
		c := &call{prompt: slices.Concat(b.Prompts[s.Prompt], s.Tokens)}
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
		if len(dst[i]) == 0 {
			continue
		}
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			e.fleet.queue.add(time.Now(), 1)
			lost, err := e.deliver(gctx, 0, fmt.Sprintf("%s-%d", name, i), func(ctx context.Context, l *lease, id string) error {
				c.model, c.id = l.model, id
				logp, err := e.score(ctx, l.server, c)
				if err == nil {
					copy(dst[i], logp[len(logp)-len(dst[i]):])
				}
				return err
			}, func(int64, int64) {})
			if err = errors.Join(lost, err); err != nil {
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

// score asks once for the log-probs of c.prompt but for its first token.
func (e *Engine) score(ctx context.Context, s *server, c *call) (logp []float64, err error) {
	err = s.send(ctx, c, e.config.AttemptTimeout, s.dialect.score, func(body []byte) error {
		var err error
		if logp, err = s.dialect.parseScore(body, c); err != nil {
			return err
		}
		if len(logp) != len(c.prompt)-1 {
			return fmt.Errorf("%d log-probs of a prompt of %d tokens", len(logp), len(c.prompt))
		}
		return checkLogProbs(logp)
	})
	return logp, err
}
