package sam

import (
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/rollout"
)

// completion is a completion whose steps have been checked.
type completion struct {
	*rollout.Completion
	// n is the number of its tokens.
	n int
	// flat is whether no completion of its group has an outcome advantage.
	flat bool
	// segments cover all its tokens, in order.
	segments []segment
	// stats has an entry for each step, of its name.
	stats []*StepStats
}

// segment is a run of tokens of one step, or, if step is -1, of none.
type segment struct{ step, start, end int }

// eachGroup is the frame of every kind of credit: it checks each group, counts it,
// lets credit rewrite it, and counts again. The groups are handed over one at a
// time in the same memory.
func eachGroup(batch []rollout.Group, credit func(g []completion)) (Stats, error) {
	return tryGroup(batch, func(g []completion) error {
		credit(g)
		return nil
	})
}

// tryGroup is eachGroup for a credit that can fail, which ends it.
func tryGroup(batch []rollout.Group, credit func(g []completion) error) (Stats, error) {
	var (
		stats Stats
		view  []completion
		l     layout
	)
	for gi, g := range batch {
		flat := !g.HasAdvantage()
		view = slices.Grow(view[:0], len(g))
		l.reset(g)
		for i := range g {
			c := completion{Completion: &g[i], n: len(g[i].Tokens), flat: flat}
			if err := l.check(&c); err != nil {
				return Stats{}, fmt.Errorf("sam: group %d, completion %d: %w", gi, i, err)
			}
			c.stats = l.find(&stats, c.Steps)
			stats.before(c)
			view = append(view, c)
		}
		stats.Groups++
		if flat {
			stats.FlatGroups++
		}
		if err := credit(view); err != nil {
			return Stats{}, fmt.Errorf("sam: group %d: %w", gi, err)
		}
		for _, c := range view {
			stats.after(c)
		}
	}
	return stats, nil
}

// layout is the working memory of check.
type layout struct {
	segments []segment // of the completions of a group
	order    []int     // steps that have tokens, in the order of the text
	stats    []*StepStats
}

// reset makes room for a group.
func (l *layout) reset(g rollout.Group) {
	steps, most := 0, 0
	for i := range g {
		steps += len(g[i].Steps)
		most = max(most, len(g[i].Steps))
	}
	l.segments = slices.Grow(l.segments[:0], 2*steps+len(g))
	l.order = slices.Grow(l.order[:0], most)
	l.stats = slices.Grow(l.stats[:0], steps)
}

// find looks up the entries of a completion's steps once for all its segments.
func (l *layout) find(s *Stats, steps []rollout.Step) []*StepStats {
	first := len(l.stats)
	for k := range steps {
		l.stats = append(l.stats, s.step(steps[k].Label()))
	}
	return l.stats[first:]
}

// check returns an error unless the completion is as an estimator leaves it, and
// cuts it into segments.
func (l *layout) check(c *completion) error {
	if len(c.Adv) != c.n || len(c.Keep) != c.n {
		return fmt.Errorf("the lengths of Tokens, Adv and Keep are %d, %d and %d, want them equal: run an estimator first", c.n, len(c.Adv), len(c.Keep))
	}
	if !finite(c.Advantage) {
		return fmt.Errorf("outcome advantage is %v, want a finite number (0 for an unscorable completion)", c.Advantage)
	}
	l.order = l.order[:0]
	for k := range c.Steps {
		if err := checkStep(c, k); err != nil {
			return err
		}
		if c.Steps[k].Start < c.Steps[k].End {
			l.order = append(l.order, k)
		}
	}
	slices.SortStableFunc(l.order, func(a, b int) int { return c.Steps[a].Start - c.Steps[b].Start })
	return l.cut(c)
}

// checkStep returns an error unless step k makes sense by itself.
func checkStep(c *completion, k int) error {
	s := &c.Steps[k]
	switch {
	case s.Start < 0 || s.End < s.Start || s.End > c.n:
		return fmt.Errorf("step %d (%q): tokens [%d, %d) outside the completion's [0, %d)", k, s.Name, s.Start, s.End, c.n)
	case s.Verdict > rollout.VerdictBroken:
		return fmt.Errorf("step %d (%q): %v, want unknown, correct, incorrect or broken", k, s.Name, s.Verdict)
	case math.IsInf(s.Reward, 0):
		return fmt.Errorf("step %d (%q): reward is %v, want a finite number or NaN (unscorable)", k, s.Name, s.Reward)
	}
	return nil
}

// cut makes the segments of c from the steps in order.
func (l *layout) cut(c *completion) error {
	first, end := len(l.segments), 0
	for i, k := range l.order {
		s := &c.Steps[k]
		if s.Start < end {
			o := &c.Steps[l.order[i-1]]
			return fmt.Errorf("step %d (%q): tokens [%d, %d) overlap those of step %d (%q), [%d, %d)",
				k, s.Name, s.Start, s.End, l.order[i-1], o.Name, o.Start, o.End)
		}
		if end < s.Start {
			l.segments = append(l.segments, segment{-1, end, s.Start})
		}
		l.segments = append(l.segments, segment{k, s.Start, s.End})
		end = s.End
	}
	if end < c.n {
		l.segments = append(l.segments, segment{-1, end, c.n})
	}
	c.segments = l.segments[first:]
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
