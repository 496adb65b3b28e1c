package parity

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
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

// maxTokens bounds the tokens of all completions of an input together: lines merely
// state them, and each takes about fifty bytes.
const maxTokens = 1 << 24

// plainReward is the name of a reward that is given as a number.
const plainReward = "reward"

var (
	groupFields      = []string{"version", "id", "completions"}
	completionFields = []string{"reward", "tokens", "malformed", "steps", "final", "logp", "ref"}
	judgedFields     = []string{"name", "start", "end", "verdict", "broken", "reward"}
	verdicts         = []string{"unknown", "correct", "incorrect"} // by rollout.Verdict; broken is a field
)

// readGroups reads all lines and makes them agree on the names of rewards.
func readGroups(r io.Reader) (groups []*Group, err error) {
	var names []string
	tokens := 0
	err = eachLine(r, func(line []byte, number int) error {
		g, err := ReadGroup(line, number, tokens)
		if err != nil {
			return err
		}
		groups = append(groups, g)
		for i := range g.Completions {
			tokens += len(g.Completions[i].Tokens)
		}
		if names == nil {
			names = g.Rewards
		} else if g.Rewards != nil && !slices.Equal(g.Rewards, names) {
			return lineErrorf(number, "completions", "rewards are named %q, but those before are named %q", g.Rewards, names)
		}
		return nil
	})
	if names == nil {
		names = []string{plainReward}
	}
	for _, g := range groups {
		g.Rewards = names
		for i := range g.Completions {
			for c := &g.Completions[i]; len(c.Rewards) < len(names); {
				c.Rewards = append(c.Rewards, math.NaN())
			}
		}
	}
	return groups, err
}

// ReadGroup reads the line with the given number, after lines with so many tokens. An
// error is a *LineError.
func ReadGroup(line []byte, number, tokens int) (*Group, error) {
	r, found := groupReader{newScanner(line), &Group{Line: number}, tokens}, false
	r.object("an object", groupFields, func(name string) {
		switch name {
		case "version":
			r.version()
		case "id":
			r.group.ID = r.text()
		case "completions":
			found = true
			r.array("an array of completions", func(int) { r.completion() })
		}
	})
	r.end()
	if !found {
		r.failAt("completions", "missing")
	}
	if r.err != nil {
		return nil, &LineError{Line: number, Field: r.at, Err: r.err}
	}
	return r.group, nil
}

type groupReader struct {
	scanner
	group  *Group
	tokens int // of all completions so far, those of the lines before included
}

// version reads the version of the format.
func (s *scanner) version() {
	if v := s.count(0, math.MaxInt32); v != Version {
		s.fail("the format's version is %d, want %d", v, Version)
	}
}

func (r *groupReader) completion() {
	c, tokens, final, rewarded := rollout.Completion{}, -1, math.MinInt, false
	var rewards map[string]float64
	var logp, ref []float64
	r.object("a completion", completionFields, func(name string) {
		switch name {
		case "reward":
			rewarded = true
			rewards = r.rewards()
		case "tokens":
			tokens = r.count(0, maxTokens)
		case "malformed":
			c.Malformed = r.flag()
		case "steps":
			r.array("an array of steps", func(int) { c.Steps = append(c.Steps, r.step()) })
		case "final":
			final = r.count(-1, math.MaxInt32)
		case "logp":
			logp = r.numbers()
		case "ref":
			ref = r.numbers()
		}
	})
	if final == math.MinInt {
		final = len(c.Steps) - 1
	}
	switch {
	case !rewarded:
		r.failAt("reward", "missing, want a number, null (unscorable) or an object of named rewards")
	case tokens < 0:
		r.failAt("tokens", "missing, want the number of tokens")
	case final >= len(c.Steps):
		r.failAt("final", "step %d of %d steps, want -1 (none) or an index into them", final, len(c.Steps))
	}
	r.checkSteps(c.Steps, tokens)
	r.checkRow("logp", logp, tokens)
	r.checkRow("ref", ref, tokens)
	r.name(&c, rewards)
	if r.tokens += max(tokens, 0); r.tokens > maxTokens {
		r.failAt("tokens", "%d make %d in this input, want at most %d: divide the batch", tokens, r.tokens, maxTokens)
	}
	if r.err != nil {
		return
	}
	if final >= 0 {
		c.Steps[final].Final = true
	}
	c.Tokens = make([]int32, tokens)
	r.group.Completions = append(r.group.Completions, c)
	r.group.LogP = append(r.group.LogP, logp)
	r.group.Ref = append(r.group.Ref, ref)
}

// rewards reads a reward: a number, null or an object of named ones. A null in
// place of all of them has no name yet.
func (r *groupReader) rewards() map[string]float64 {
	switch t := r.token(); t {
	case nil:
		return nil
	case json.Delim('{'):
	default:
		return map[string]float64{plainReward: r.reward(t, "a number, null or an object of named rewards")}
	}
	all := map[string]float64{}
	r.members(nil, func(name string) {
		if name == "" {
			r.fail("a reward without a name")
		}
		all[name] = r.reward(r.token(), "a number or null")
	})
	if len(all) == 0 {
		r.fail("no rewards, want at least one")
	}
	return all
}

// reward is number within the range of rewards.
func (r *groupReader) reward(t json.Token, what string) float64 {
	x := r.number(t, what)
	if err := advantage.CheckReward(x); err != nil {
		r.fail("%w", err)
	}
	return x
}

// name sets the completion's rewards and holds their names against those of
// the completions before.
func (r *groupReader) name(c *rollout.Completion, rewards map[string]float64) {
	if rewards == nil {
		return
	}
	names := slices.Sorted(maps.Keys(rewards))
	for _, name := range names {
		c.Rewards = append(c.Rewards, rewards[name])
	}
	if r.group.Rewards == nil {
		r.group.Rewards = names
	} else if !slices.Equal(names, r.group.Rewards) {
		r.failAt("reward", "named %q, but those before are named %q", names, r.group.Rewards)
	}
}

func (r *groupReader) step() rollout.Step {
	st, verdict, broken := rollout.Step{Start: -1, End: -1, Reward: math.NaN()}, -1, false
	r.object("a step", judgedFields, func(name string) {
		switch name {
		case "name":
			if st.Name = r.text(); st.Name == "" {
				r.fail("empty, want a step's name")
			}
		case "start":
			st.Start = r.count(0, maxTokens)
		case "end":
			st.End = r.count(0, maxTokens)
		case "verdict":
			text := r.text()
			if verdict = slices.Index(verdicts, text); verdict < 0 {
				r.fail("%q, want correct, incorrect or unknown", text)
			}
		case "broken":
			broken = r.flag()
		case "reward":
			st.Reward = r.reward(r.token(), "a number or null")
		}
	})
	switch {
	case st.Name == "":
		r.failAt("name", "missing, want a step's name")
	case st.Start < 0:
		r.failAt("start", "missing, want the index of the step's first token")
	case st.End < 0:
		r.failAt("end", "missing, want the index after the step's last token")
	case verdict < 0:
		r.failAt("verdict", "missing, want correct, incorrect or unknown")
	}
	if st.Verdict = rollout.Verdict(max(verdict, 0)); broken {
		st.Verdict = rollout.VerdictBroken
	}
	return st
}

// checkSteps records an error unless the steps lie within the tokens and apart
// from each other.
func (r *groupReader) checkSteps(steps []rollout.Step, tokens int) {
	var order []int
	for k, s := range steps {
		switch {
		case s.End > tokens:
			r.failAt(fmt.Sprintf("steps[%d].end", k), "%d, beyond the completion's %d tokens", s.End, tokens)
		case s.Start > s.End:
			r.failAt(fmt.Sprintf("steps[%d].start", k), "%d, after the step's end, %d", s.Start, s.End)
		case s.Start < s.End:
			order = append(order, k)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return steps[a].Start - steps[b].Start })
	for i := 1; i < len(order); i++ {
		a, b := order[i-1], order[i]
		if steps[b].Start < steps[a].End {
			r.failAt(fmt.Sprintf("steps[%d].start", b), "%d, inside step %d, whose tokens are [%d, %d)", steps[b].Start, a, steps[a].Start, steps[a].End)
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
