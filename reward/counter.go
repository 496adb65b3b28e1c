package reward

import (
	"context"
	"maps"
	"sync"

	"github.com/stepwise-rl/stepwise/prompt"
)

// Tally says how often a rule was asked, and what came of it.
type Tally struct {
	// Scored counts the scores with a value, Failed the errors.
	Scored, Failed int
	// Unscorable counts the scores without, per reason.
	Unscorable map[string]int
}

// Counter tallies what rules say, by a name for each rule. The zero Counter is
// ready. It may be used concurrently; it must not be copied after first use.
type Counter struct {
	mu      sync.Mutex
	tallies map[string]Tally
}

// Add counts one answer of the rule with that name.
func (c *Counter) Add(name string, s Score, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tallies == nil {
		c.tallies = make(map[string]Tally)
	}
	t := c.tallies[name]
	switch {
	case err != nil:
		t.Failed++
	case s.Scorable():
		t.Scored++
	default:
		if t.Unscorable == nil {
			t.Unscorable = make(map[string]int)
		}
		t.Unscorable[s.Reason]++
	}
	c.tallies[name] = t
}

// Tallies returns what was counted so far, by the rules' names. The caller owns
// the result.
func (c *Counter) Tallies() map[string]Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]Tally, len(c.tallies))
	for name, t := range c.tallies {
		t.Unscorable = maps.Clone(t.Unscorable)
		out[name] = t
	}
	return out
}

// Count returns rule, with every answer counted under name.
func Count[E any](c *Counter, name string, rule Rule[E]) Rule[E] {
	return RuleFunc[E](func(ctx context.Context, example E, trace *prompt.Trace, step int) (Score, error) {
		s, err := rule.Score(ctx, example, trace, step)
		c.Add(name, s, err)
		return s, err
	})
}
