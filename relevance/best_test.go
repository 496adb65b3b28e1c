package relevance

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

func TestBestPolicy(t *testing.T) {
	p, err := prepared(t, toy(50), toySettings())
	require.NoError(t, err)
	// Each stage: accuracy, malformed, step accuracy on validation rows.
	for _, c := range []struct {
		want                  string
		warmup, outcome, mask [3]float64
	}{
		{"warmup", [3]float64{.80, 0, .9}, [3]float64{.77, 0, .7}, [3]float64{.77, 0, .9}},
		{"rl-mask", [3]float64{.70, 0, .9}, [3]float64{.77, 0, .7}, [3]float64{.77, 0, .9}},
		{"rl-outcome", [3]float64{.70, 0, .9}, [3]float64{.77, 0, .8}, [3]float64{.77, 0, .8}},
		{"warmup", [3]float64{.70, .1, .9}, [3]float64{.77, .57, .7}, [3]float64{.80, .11, .9}},
		{"rl-mask", [3]float64{.70, .9, .9}, [3]float64{.77, .57, .7}, [3]float64{.80, .11, .9}},
	} {
		for stage, v := range map[string][3]float64{"warmup": c.warmup, "rl-outcome": c.outcome, "rl-mask": c.mask} {
			require.NoError(t, p.writeJSON(resultFile(stage), report.Stage{Validation: &report.Scores{Accuracy: v[0], Malformed: &v[1], MeanStepAccuracy: &v[2]}}))
		}
		best, why, err := p.bestPolicy()
		require.NoError(t, err)
		require.Equal(t, c.want, best)
		require.Contains(t, why, "the best on validation rows (accuracy)")
	}
	// Without validation it is the reward at the end, which a warm-up has not.
	for stage, reward := range map[string]float64{"warmup": 2, "rl-outcome": .5, "rl-mask": .6} {
		r := report.Stage{Numbers: map[string]float64{"last_reward": reward}}
		if stage == "warmup" {
			r.Numbers = nil
		}
		require.NoError(t, p.writeJSON(resultFile(stage), r))
	}
	best, _, err := p.bestPolicy()
	require.NoError(t, err)
	require.Equal(t, "rl-mask", best)
}

func TestWarmupIsBounded(t *testing.T) {
	w := Warmup{Steps: 1600, Batch: 16, Passes: 6}
	require.Equal(t, 1600, w.bounded(0), "a source without an end")
	require.Equal(t, 412, w.bounded(1099))
	require.Equal(t, 300, w.bounded(60), "the form takes some steps")
	require.Equal(t, 1600, w.bounded(100_000))
	require.Equal(t, 1600, (&Warmup{Steps: 1600, Batch: 16}).bounded(60), "no bound")
	require.Equal(t, 40, (&Warmup{Steps: 40, Batch: 16, Passes: 1}).bounded(20))
}

// Cut points are kept only if they raise kappa on other queries by more than they lower
// accuracy.
func TestCutsThatHelp(t *testing.T) {
	var good, useless []report.Outcome
	queries := []string{"a", "b", "c", "d", "e", "f"}
	for i := range 120 {
		gold, query := i%3, queries[i/20]
		// A model that never finds another label the most probable, but whose expected
		// grade orders the rows.
		p := [][]float64{{.2, .7, .1}, {.15, .7, .15}, {.1, .7, .2}}[gold]
		good = append(good, report.Outcome{Pair: eval.Pair{Gold: gold, Pred: 1}, Query: query, P: p})
		sure := []float64{.05, .05, .05}
		sure[gold] = .9
		useless = append(useless, report.Outcome{Pair: eval.Pair{Gold: gold, Pred: gold}, Query: query, P: sure})
	}
	require.Len(t, calibrate(good).Cuts, 2)
	require.Nil(t, calibrate(useless).Cuts)
	require.Nil(t, calibrate(good[:60]).Cuts, "three queries are fewer than the folds")
	require.Zero(t, calibrate(good[:9]))
}

// Alarms of a kind are one sentence with what to do, and an unknown step that the data
// leave open is none.
func TestAlarms(t *testing.T) {
	p, l := newToyLeg(t)
	for step := range int64(9) {
		require.NoError(t, l.alarm(20+step, alarm{"dead_groups", "", "97% of groups are dead"}, io.Discard))
	}
	require.NoError(t, l.alarm(30, alarm{"broken_rising", "thing", "step thing is broken"}, io.Discard))
	require.NoError(t, l.alarm(31, alarm{"broken_rising", "label", "step label is broken"}, io.Discard))
	said, err := l.alarms()
	require.NoError(t, err)
	require.Len(t, said, 2)
	require.Contains(t, said[0], "steps 20 to 28, 9 times: 97% of groups are dead. The outcome teaches only")
	require.Contains(t, said[1], "steps 30 to 31, 2 times (reasoning steps thing, label): step label is broken. ")

	e := toy(50).Train(0)
	r := func(e rows.Example) *rl.Rollouts {
		return &rl.Rollouts{Problems: []rl.Problem{p.task.Bind(e)}, Groups: []rollout.Group{{{Steps: []rollout.Step{{Name: "thing", Verdict: rollout.VerdictUnknown}}}}}}
	}
	require.False(t, p.unknownInData(r(e), "thing"), "the data know it")
	e.Truth = []string{"", "yes", "1"}
	require.True(t, p.unknownInData(r(e), "thing"))
	require.False(t, p.unknownInData(r(e), "no step"))
}

// A label that is written again counts in full for the reward, which is the core's rule;
// it is said in words, marked in scores, and counts as malformed.
func TestWritingOn(t *testing.T) {
	p, err := prepared(t, toy(50), toySettings())
	require.NoError(t, err)
	e := p.src.Train(0)
	write := func(texts ...string) *rollout.Completion {
		c := &rollout.Completion{}
		for _, text := range texts {
			c.Text += text
			c.Ends = append(c.Ends, len(c.Text))
			c.Tokens = append(c.Tokens, 1)
		}
		require.NoError(t, p.task.Bind(e).Judge(t.Context(), c))
		return c
	}
	text, err := p.task.Template().Write([]prompt.Written{{Answer: e.Truth[0]}, {Answer: e.Truth[1]}, {Answer: e.Truth[2]}})
	require.NoError(t, err)
	once := write(text)
	require.False(t, writesOn(once))
	require.False(t, once.Malformed)
	last := text[len(text)-len("<step name=\"label\"> \\boxed{0}</step>"):]
	again := write(text, "\n", last)
	require.True(t, writesOn(again), again.Text)
	require.Equal(t, []float64{1}, again.Rewards)
	s := (&policyScorer{labels: p.src.Labels}).score(rollout.Group{*again}, nil, ScoreOptions{Steps: true})
	require.True(t, s.Malformed)
	require.Equal(t, "duplicate", s.Steps[3].Problem)
	require.Empty(t, s.Steps[0].Problem)
	wrong := write(text[:len(text)-len("0}</step>")] + "7}</step>")
	s = (&policyScorer{labels: p.src.Labels}).score(rollout.Group{*wrong}, nil, ScoreOptions{Steps: true})
	require.Equal(t, StepScore{Name: "label", Answer: "7", Problem: "invalid answer"}, s.Steps[2])
}

// The console says what the report does of a test set with few queries.
func TestTablesOfFewQueries(t *testing.T) {
	few := &report.Scores{Examples: 7, Queries: make([]report.QueryScore, 2)}
	enough := &report.Scores{Examples: 70, Queries: make([]report.QueryScore, 10)}
	stages := []*report.Stage{
		{Name: "words", Tests: map[string]*report.Scores{"TEST": enough, "LONGTAIL": few}},
		{Name: "warmup", Tests: map[string]*report.Scores{"TEST": enough, "LONGTAIL": few}},
	}
	var out bytes.Buffer
	PrintTable(&out, stages)
	require.Contains(t, out.String(), "[95% bootstrap intervals by query]\nLONGTAIL has only 7 rows of 2 queries: too few to tell anything.\n")
	require.NotContains(t, out.String(), "TEST has only")
}
