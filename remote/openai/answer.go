package openai

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/rollout"
)

// noLogProb is what some servers write for a log-prob of -Inf, or where they have
// none. No token with such a log-prob is ever drawn.
const noLogProb = -9000

// roundingLogP is how far above 0 a log-prob may be by rounding alone.
const roundingLogP = 1e-4

// check returns an error unless the answer has as many log-probs as tokens, and both
// can be some.
func (a *answer) check(c *call) error {
	switch {
	case len(a.tokens) == 0 || len(a.tokens) > c.params.MaxTokens:
		return fmt.Errorf("%d tokens, want 1 to %d", len(a.tokens), c.params.MaxTokens)
	case len(a.logp) != len(a.tokens):
		return fmt.Errorf("%d log-probs for %d tokens", len(a.logp), len(a.tokens))
	case !a.stopped && len(a.tokens) < c.params.MaxTokens && !slices.Contains(c.eos, a.tokens[len(a.tokens)-1]):
		return fmt.Errorf("%d tokens of %d, and the last ends no text", len(a.tokens), c.params.MaxTokens)
	}
	for i, id := range a.tokens {
		if id < 0 || int(id) >= c.vocab {
			return fmt.Errorf("token %d is %d, want an id below %d", i, id, c.vocab)
		}
	}
	return checkLogProbs(a.logp)
}

func checkLogProbs(logp []float64) error {
	for i, p := range logp {
		if math.IsNaN(p) || p > roundingLogP || p <= noLogProb {
			return fmt.Errorf("the log-prob of token %d is %v", i, p)
		}
	}
	return nil
}

// errEOS: the model ends texts with a token that the engine does not know as such.
var errEOS = errors.New("want it in Config.EOS")

// complete makes a completion of an answer, without log-probs: it ends where the text
// ends or a stop string is complete, whatever the server has sampled after that.
func (e *Engine) complete(a *answer, c *call) (rollout.Completion, error) {
	out := rollout.Completion{Finish: rollout.FinishLength}
	var text strings.Builder
	n := 0
	out.Ends = make([]int, 0, len(a.tokens))
	for _, id := range a.tokens {
		seen := text.Len()
		text.Write(e.config.Vocab.Bytes(id))
		out.Ends = append(out.Ends, text.Len())
		n++
		if slices.Contains(c.eos, id) || stops(text.String(), seen, c.params.Stop) {
			out.Finish = rollout.FinishStop
			break
		}
	}
	if out.Finish == rollout.FinishLength && a.stopped {
		return out, fmt.Errorf("the model ends a text with id %d: %w", a.tokens[n-1], errEOS)
	}
	out.Tokens, out.Text = slices.Clip(a.tokens[:n]), text.String()
	return out, nil
}

// stops reports whether the text contains a stop string that ends after its first
// seen bytes, which have been searched before.
func stops(text string, seen int, stop []string) bool {
	return slices.ContainsFunc(stop, func(s string) bool { return strings.Contains(text[max(0, seen-len(s)+1):], s) })
}
