package progress_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/record/progress"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// threeGroups has two groups of two completions and one of one, each with its
// place as its text.
func threeGroups() *rl.Rollouts {
	return &rl.Rollouts{Groups: []rollout.Group{
		{{Text: "a1"}, {Text: "a2", Advantage: 1}},
		{{Text: "b1"}, {Text: "b2", Advantage: 1}},
		{{Text: "c1"}},
	}}
}

func texts(s string) (out []string) {
	for line := range strings.Lines(s) {
		if text, ok := strings.CutPrefix(line, "  | "); ok {
			out = append(out, strings.TrimSpace(text))
		}
	}
	return out
}

func TestSamplesAreTakenFromAllGroups(t *testing.T) {
	r := threeGroups()
	assert.Equal(t, []string{"a1", "b1"}, texts(progress.Samples{}.Text(1, r)))
	assert.Equal(t, []string{"a1", "b1", "c1", "a2", "b2"}, texts(progress.Samples{Count: 9}.Text(1, r)))
	chosen := progress.Samples{Where: func(c *rollout.Completion) bool { return c.Advantage > 0 }}
	assert.Equal(t, []string{"a2", "b2"}, texts(chosen.Text(1, r)))
	assert.Empty(t, progress.Samples{}.Text(1, &rl.Rollouts{}))
}

func TestSamplesEvery(t *testing.T) {
	for step, shown := range []bool{true, false, false, true, false, false, true} {
		text := progress.Samples{Every: 3}.Text(int64(step), threeGroups())
		assert.Equal(t, shown, text != "", "training step %d", step)
	}
}

func TestSampleInFull(t *testing.T) {
	r := &rl.Rollouts{
		Requests: []rollout.Request{{ID: "q\n1"}},
		Groups: []rollout.Group{{{
			Text:    "topic: 3.5mm\tC++ 你好😀\n\x1b[2J\xff \u202eevil\n",
			Rewards: []float64{1, math.NaN()}, Advantage: -.25, Finish: rollout.FinishLength,
			Steps: []rollout.Step{
				{Name: "topic", Start: 0, End: 3, Verdict: rollout.VerdictCorrect},
				{Name: "place\n", Start: 3, End: 5, Verdict: rollout.VerdictBroken, Status: prompt.StatusBadAnswer},
			},
			Keep: []bool{true, true, true, false, true},
		}}},
	}
	assert.Equal(t, `training step 7, problem "q\n1", completion 1 of 1, reward/0 1, reward/1 NaN, advantage -0.25, truncated
  topic    correct
  place\n  broken (invalid answer), 1 of 2 tokens masked
  | topic: 3.5mm`+"\t"+`C++ 你好😀
  | \x1b[2J\xff \u202eevil
`, progress.Samples{}.Text(7, r))
}

func TestLongTextLosesItsMiddle(t *testing.T) {
	r := &rl.Rollouts{Groups: []rollout.Group{{{Text: strings.Repeat("甲", 10) + strings.Repeat("b", 90) + "end", Unscorable: true}}}}
	text := progress.Samples{MaxRunes: 8}.Text(1, r)
	assert.Contains(t, text, "completion 1 of 1, unscorable\n  | 甲甲甲甲 … 95 characters left out … bend\n")
}
