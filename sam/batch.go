package sam

import (
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rl/advantage"
)

// completion is a completion whose steps have been checked.
type completion struct {
	*advantage.Completion
	// owner is, for each token, the index in Steps of the step it belongs to,
	// or -1.
	owner []int32
}

// anchor is the token that answers for a step without tokens: the one at which
// the step should have begun, or the last; -1 if there is no token at all.
func (c completion) anchor(s *advantage.Step) int { return min(s.Start, c.Tokens-1) }

// eachGroup is the frame of every rule: it checks each group, counts it, lets
// credit rewrite it, and counts again. The groups are handed over one at a
// time in the same memory.
func eachGroup(batch []advantage.Group, credit func(g []completion)) (Stats, error) {
	var (
		stats Stats
		view  []completion
		owner []int32
	)
	for gi, g := range batch {
		tokens := 0
		for i := range g {
			tokens += max(g[i].Tokens, 0)
		}
		if cap(owner) < tokens {
			owner = make([]int32, tokens)
		}
		view = view[:0]
		rest := owner[:cap(owner)]
		for i := range g {
			c := completion{&g[i], rest[:max(g[i].Tokens, 0)]}
			rest = rest[len(c.owner):]
			if err := c.check(); err != nil {
				return Stats{}, fmt.Errorf("sam: group %d, completion %d: %w", gi, i, err)
			}
			stats.before(c)
			view = append(view, c)
		}
		stats.Groups++
		if dead(view) {
			stats.DeadGroups++
		}
		credit(view)
		for _, c := range view {
			stats.after(c)
		}
	}
	return stats, nil
}

// check returns an error unless the completion is what an estimator leaves
// behind, and fills owner.
func (c completion) check() error {
	if len(c.Adv) != c.Tokens || len(c.Keep) != c.Tokens {
		return fmt.Errorf("%d tokens, but %d advantages and %d keep flags: run an estimator first", c.Tokens, len(c.Adv), len(c.Keep))
	}
	if !finite(c.Scalar) {
		return fmt.Errorf("outcome advantage is %v, want a finite number (0 for an unscorable completion)", c.Scalar)
	}
	if n := len(c.Steps); c.Final < -1 || c.Final >= max(n, 1) {
		return fmt.Errorf("final step %d, want -1 or an index into its %d steps", c.Final, n)
	}
	for t := range c.owner {
		c.owner[t] = -1
	}
	for k := range c.Steps {
		if err := c.claim(k); err != nil {
			return fmt.Errorf("step %d (%q): %w", k, c.Steps[k].Name, err)
		}
	}
	return nil
}

// claim marks the tokens of step k as its own.
func (c completion) claim(k int) error {
	s := &c.Steps[k]
	if s.Start < 0 || s.End < s.Start || s.End > c.Tokens {
		return fmt.Errorf("tokens [%d, %d) outside the completion's [0, %d)", s.Start, s.End, c.Tokens)
	}
	if int(s.Verdict) > int(advantage.Incorrect) {
		return fmt.Errorf("%v, want unknown, correct or incorrect", s.Verdict)
	}
	if math.IsInf(s.Reward, 0) {
		return errors.New("reward is infinite, want a finite number or NaN (unscorable)")
	}
	for t := s.Start; t < s.End; t++ {
		if o := c.owner[t]; o >= 0 {
			return fmt.Errorf("token %d belongs to step %d (%q) already", t, o, c.Steps[o].Name)
		}
		c.owner[t] = int32(k)
	}
	return nil
}

// dead reports whether the outcome says nothing about the group: estimators
// write an exact zero then.
func dead(g []completion) bool {
	for _, c := range g {
		if c.Scalar != 0 {
			return false
		}
	}
	return true
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
