package parity

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/rl/advantage"
)

// Group is a line of input of Advantages: the completions of one prompt.
type Group struct {
	ID          string
	Completions rollout.Group
	// Rewards names the entries of every completion's Rewards, sorted. A
	// reward that is a bare number has the name "reward".
	Rewards []string
	// LogP and Ref hold the log-probs of each completion's tokens under the
	// policy that sampled and the reference; a row is nil where none is given.
	LogP, Ref [][]float64
	// Line is its number in the input.
	Line int
}

// maxTokens bounds the tokens of a completion, which a line merely states.
const maxTokens = 1 << 24

// plainReward is the name of a reward that is given as a number.
const plainReward = "reward"

// ReadGroup reads the line with the given number. An error is a *LineError.
func ReadGroup(line []byte, number int) (*Group, error) {
	r := groupReader{scanner: scanner{data: line}, group: &Group{Line: number}}
	r.read()
	if r.err != nil {
		return nil, &LineError{Line: number, Field: r.at, Err: r.err}
	}
	return r.group, nil
}

type groupReader struct {
	scanner
	group *Group
}

func (r *groupReader) read() {
	g, found := r.group, false
	r.object("an object", []string{"version", "id", "completions"}, func(name string) {
		switch name {
		case "version":
			r.version()
		case "id":
			g.ID = r.text("a string")
		case "completions":
			found = true
			r.array("an array of completions", func(int) { r.completion() })
		}
	})
	r.end()
	if !found {
		r.failAt("completions", "missing")
	}
}

// version reads the version of the format.
func (s *scanner) version() {
	if v := s.count(math.MaxInt32); v != Version {
		s.fail("the format's version is %d, want %d", v, Version)
	}
}

// reward is a named reward.
type reward struct {
	name  string
	value float64
}

func (r *groupReader) completion() {
	c := rollout.Completion{Tokens: -1, Final: math.MinInt}
	var rewards []reward
	var logp, ref []float64
	r.object("a completion", []string{"reward", "tokens", "malformed", "steps", "final", "logp", "ref"}, func(name string) {
		switch name {
		case "reward":
			rewards = r.rewards()
		case "tokens":
			c.Tokens = r.count(maxTokens)
		case "malformed":
			c.Malformed = r.flag()
		case "steps":
			r.array("an array of steps", func(int) { c.Steps = append(c.Steps, r.step()) })
		case "final":
			c.Final = r.final()
		case "logp":
			logp = r.numbers()
		case "ref":
			ref = r.numbers()
		}
	})
	if c.Final == math.MinInt {
		c.Final = len(c.Steps) - 1
	}
	switch {
	case r.err != nil:
		return
	case rewards == nil:
		r.failAt("reward", "missing, want a number, null (unscorable) or an object of named rewards")
	case c.Tokens < 0:
		r.failAt("tokens", "missing, want the number of tokens")
	case c.Final >= len(c.Steps):
		r.failAt("final", "step %d of %d steps, want -1 (none) or an index into them", c.Final, len(c.Steps))
	}
	r.checkSteps(&c)
	r.checkRow("logp", logp, c.Tokens)
	r.checkRow("ref", ref, c.Tokens)
	r.name(&c, rewards)
	r.group.Completions = append(r.group.Completions, c)
	r.group.LogP = append(r.group.LogP, logp)
	r.group.Ref = append(r.group.Ref, ref)
}

// final reads the index of the final step, or -1.
func (r *groupReader) final() int {
	if r.word("-1") {
		return -1
	}
	return r.count(math.MaxInt32)
}

// rewards reads a reward: a number, null or an object of named ones.
func (r *groupReader) rewards() []reward {
	if r.peek() != '{' {
		if r.word("null") {
			return []reward{{value: math.NaN()}}
		}
		return []reward{{plainReward, r.number("a number, null or an object of named rewards")}}
	}
	all := []reward{}
	r.object("an object of rewards", nil, func(name string) {
		if name == "" {
			r.fail("a reward without a name")
		}
		all = append(all, reward{name, r.orNull()})
	})
	if len(all) == 0 {
		r.fail("no rewards, want at least one")
	}
	slices.SortFunc(all, func(a, b reward) int { return cmp.Compare(a.name, b.name) })
	return all
}

// name sets the completion's rewards and holds their names against those of
// the completions before. A null in place of all of them waits for names.
func (r *groupReader) name(c *rollout.Completion, rewards []reward) {
	if r.err != nil || rewards[0].name == "" {
		return
	}
	names := make([]string, len(rewards))
	for k, w := range rewards {
		names[k] = w.name
		c.Rewards = append(c.Rewards, w.value)
	}
	if r.group.Rewards == nil {
		r.group.Rewards = names
	} else if err := sameNames(names, r.group.Rewards); err != nil {
		r.failAt("reward", "%w", err)
	}
}

func sameNames(got, want []string) error {
	if !slices.Equal(got, want) {
		return fmt.Errorf("named %q, but those before are named %q", got, want)
	}
	return nil
}

func (r *groupReader) step() rollout.Step {
	st := rollout.Step{Start: -1, End: -1, Reward: math.NaN()}
	verdict := false
	r.object("a step", []string{"name", "start", "end", "verdict", "broken", "reward"}, func(name string) {
		switch name {
		case "name":
			if st.Name = r.text("a string"); st.Name == "" {
				r.fail("empty, want a step's name")
			}
		case "start":
			st.Start = r.count(maxTokens)
		case "end":
			st.End = r.count(maxTokens)
		case "verdict":
			verdict = true
			st.Verdict = r.verdict()
		case "broken":
			st.Broken = r.flag()
		case "reward":
			st.Reward = r.orNull()
		}
	})
	switch {
	case st.Name == "":
		r.failAt("name", "missing, want a step's name")
	case st.Start < 0:
		r.failAt("start", "missing, want the index of the step's first token")
	case st.End < 0:
		r.failAt("end", "missing, want the index after the step's last token")
	case !verdict:
		r.failAt("verdict", "missing, want correct, incorrect or unknown")
	}
	return st
}

func (r *groupReader) verdict() rollout.Verdict {
	const what = "correct, incorrect or unknown"
	name := r.text(what)
	for _, v := range []rollout.Verdict{rollout.VerdictUnknown, rollout.VerdictCorrect, rollout.VerdictIncorrect} {
		if v.String() == name {
			return v
		}
	}
	r.fail("%q, want %s", name, what)
	return rollout.VerdictUnknown
}

// checkSteps records an error unless the steps lie within the tokens and apart
// from each other.
func (r *groupReader) checkSteps(c *rollout.Completion) {
	var order []int
	for k := range c.Steps {
		s := &c.Steps[k]
		switch {
		case s.End > c.Tokens:
			r.failAt(fmt.Sprintf("steps[%d].end", k), "%d, beyond the completion's %d tokens", s.End, c.Tokens)
		case s.Start > s.End:
			r.failAt(fmt.Sprintf("steps[%d].start", k), "%d, after the step's end, %d", s.Start, s.End)
		case s.Start < s.End:
			order = append(order, k)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return c.Steps[a].Start - c.Steps[b].Start })
	for i := 1; i < len(order); i++ {
		a, b := order[i-1], order[i]
		if c.Steps[b].Start < c.Steps[a].End {
			r.failAt(fmt.Sprintf("steps[%d].start", b), "%d, inside step %d, whose tokens are [%d, %d)", c.Steps[b].Start, a, c.Steps[a].Start, c.Steps[a].End)
		}
	}
}

// checkRow records an error unless a row is absent or one number per token.
func (r *groupReader) checkRow(name string, row []float64, tokens int) {
	if row != nil && len(row) != tokens {
		r.failAt(name, "%d numbers, want one per token: %d", len(row), tokens)
	}
	for t, x := range row {
		if math.IsNaN(x) {
			r.failAt(fmt.Sprintf("%s[%d]", name, t), "null, want a number")
		}
	}
}
