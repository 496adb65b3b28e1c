package task_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/task"
)

var (
	_ rl.Problem    = (*task.Bound[pair])(nil)
	_ rl.GroupJudge = (*task.Bound[pair])(nil)
)

// pair is a query and a note with the true grade of their topic, "" if nobody
// knows it, and their label.
type pair struct{ query, note, topic, label string }

func definition() task.Definition[pair] {
	return task.Definition[pair]{
		System: "You judge relevance.",
		Steps: []task.Step[pair]{
			{
				Name: "topic", Instruction: "Compare the topics.", Answers: []string{"yes", "no"},
				Rule: reward.ExactLabel(func(p pair) string { return p.topic }),
			},
			{
				Name: "evidence", Instruction: "Quote the note.",
			},
			{
				Name: "label", Instruction: "Decide.", Answers: []string{"0", "1"},
				Rule: reward.ExactLabel(func(p pair) string { return p.label }),
			},
		},
		Input:     func(p pair) string { return p.query + " | " + p.note },
		Outcomes:  []task.Outcome[pair]{{Name: "label", Rule: reward.ExactLabel(func(p pair) string { return p.label })}},
		Encode:    task.Plain[pair](func(text string) []int32 { return []int32{1} }),
		ID:        func(p pair) string { return p.query },
		GroupSize: 4,
		Params:    rollout.Params{Temperature: 1, MaxTokens: 64},
		Counter:   &reward.Counter{},
	}
}

// completion makes a completion whose tokens are the given pieces of text.
func completion(pieces ...string) *rollout.Completion {
	c := &rollout.Completion{}
	for i, p := range pieces {
		c.Tokens = append(c.Tokens, int32(i))
		c.Text += p
		c.Ends = append(c.Ends, len(c.Text))
	}
	return c
}

func judge(t *testing.T, p pair, c *rollout.Completion) *rollout.Completion {
	t.Helper()
	tk, err := task.New(definition())
	require.NoError(t, err)
	require.NoError(t, tk.Bind(p).Judge(t.Context(), c))
	return c
}

const (
	topicYes = `<step name="topic">same \boxed{yes}</step>`
	evidence = `<step name="evidence">\boxed{a tent}</step>`
	label1   = `<step name="label">\boxed{1}</step>`
	label0   = `<step name="label">\boxed{0}</step>`
)

func TestJudge(t *testing.T) {
	p := pair{"tent", "a tent", "yes", "1"}
	j := judge(t, p, completion(topicYes, evidence, label0, ""))
	require.False(t, j.Malformed)
	require.Equal(t, []float64{0}, j.Rewards)
	require.False(t, j.Trace.Malformed())
	require.Equal(t, rollout.Step{Name: "topic", Start: 0, End: 1, Verdict: rollout.VerdictCorrect, Reward: 1}, j.Steps[0])
	require.Equal(t, rollout.VerdictUnknown, j.Steps[1].Verdict, "no rule")
	require.EqualError(t, j.Steps[1].Cause, "the step has no rule")
	require.True(t, math.IsNaN(j.Steps[1].Reward))
	require.Equal(t, rollout.Step{Name: "label", Start: 2, End: 3, Verdict: rollout.VerdictIncorrect, Final: true}, j.Steps[2])
}

func TestWhatThePolicyBroke(t *testing.T) {
	p := pair{"tent", "a tent", "yes", "1"}

	j := judge(t, p, completion(topicYes, label1))
	require.True(t, j.Malformed)
	require.Equal(t, []float64{1}, j.Rewards, "the label stands")
	require.Equal(t, rollout.Step{Name: "evidence", Start: 1, End: 1, Verdict: rollout.VerdictBroken, Status: prompt.StatusMissing}, j.Steps[1], "missing: no tokens, where it should have begun")

	j = judge(t, p, completion(topicYes, evidence, topicYes, label1))
	require.Len(t, j.Steps, 4)
	require.Equal(t, rollout.Step{Name: "topic", Start: 2, End: 3, Verdict: rollout.VerdictBroken, Status: prompt.StatusDuplicate}, j.Steps[2], "a duplicate")

	j = judge(t, p, completion(topicYes, "\n", evidence, "\n", label1, "\n", "\n", label1, "\n", `<step name="mood">`, "?", "</step>", "\n", ""))
	require.Len(t, j.Steps, 5)
	require.Equal(t, rollout.Step{Name: "label", Start: 4, End: 5, Verdict: rollout.VerdictCorrect, Reward: 1, Final: true}, j.Steps[2])
	require.Equal(t, rollout.Step{Name: "label", Start: 5, End: 8, Verdict: rollout.VerdictBroken, Status: prompt.StatusDuplicate}, j.Steps[3], "with what leads to it")
	require.Equal(t, rollout.Step{Name: "mood", Start: 8, End: 12, Verdict: rollout.VerdictBroken, Status: prompt.StatusSurplus}, j.Steps[4])

	j = judge(t, p, completion(topicYes, evidence, `<step name="label">\boxed{9}</step>`))
	require.Equal(t, []float64{0}, j.Rewards, "an answer that is not one is wrong, not unscorable")
	require.Equal(t, rollout.Step{Name: "label", Start: 2, End: 3, Verdict: rollout.VerdictBroken, Status: prompt.StatusBadAnswer, Final: true}, j.Steps[2])
}

// Where rewards go below 0, a broken answer must not be better than a wrong one.
func TestBrokenReward(t *testing.T) {
	d := definition()
	d.Outcomes[0].BrokenReward = -1
	d.Outcomes = append(d.Outcomes, task.Outcome[pair]{Name: "format", Rule: reward.FormatStrict[pair](), BrokenReward: -1})
	tk, err := task.New(d)
	require.NoError(t, err)
	for text, want := range map[string][]float64{
		label1:                                {1, 1},
		label0:                                {0, 1},
		`<step name="label">\boxed{9}</step>`: {-1, 0}, // the format rule can score it
	} {
		j := completion(topicYes, evidence, text)
		require.NoError(t, tk.Bind(pair{"tent", "a tent", "yes", "1"}).Judge(t.Context(), j))
		require.Equal(t, want, j.Rewards, text)
	}
}

func TestWhatNobodyCanJudgeIsUnknown(t *testing.T) {
	d := definition()
	tk, err := task.New(d)
	require.NoError(t, err)
	j := completion(topicYes, evidence, label1)
	require.NoError(t, tk.Bind(pair{"tent", "a tent", "", ""}).Judge(t.Context(), j))
	require.Equal(t, rollout.VerdictUnknown, j.Steps[0].Verdict)
	require.True(t, math.IsNaN(j.Steps[0].Reward))
	require.True(t, math.IsNaN(j.Rewards[0]))
	require.Equal(t, map[string]int{"no gold label": 1}, d.Counter.Tallies()["topic"].Unscorable)
	require.Equal(t, map[string]int{"no gold label": 1}, d.Counter.Tallies()["label"].Unscorable, "as a step")
	require.Equal(t, map[string]int{"no gold label": 1}, d.Counter.Tallies()["outcome label"].Unscorable)
}

func TestPassAt(t *testing.T) {
	d := definition()
	graded := func(v float64) reward.Rule[pair] {
		return reward.RuleFunc[pair](func(context.Context, pair, *prompt.Trace, int) (reward.Score, error) {
			return reward.Score{Value: v}, nil
		})
	}
	d.Steps[0].PassAt, d.Steps[0].Rule = 0.5, graded(0.6)
	d.Steps[1].Rule = graded(0.6)
	tk, err := task.New(d)
	require.NoError(t, err)
	j := completion(topicYes, evidence, label1)
	require.NoError(t, tk.Bind(pair{label: "1"}).Judge(t.Context(), j))
	require.Equal(t, rollout.VerdictCorrect, j.Steps[0].Verdict)
	require.Equal(t, rollout.VerdictIncorrect, j.Steps[1].Verdict)
	require.Equal(t, 0.6, j.Steps[1].Reward)
}

func TestARulesOwnFailureIsAnError(t *testing.T) {
	service := errors.New("no route to the judge")
	for want, rule := range map[string]reward.Rule[pair]{
		"no route to the judge": reward.RuleFunc[pair](func(context.Context, pair, *prompt.Trace, int) (reward.Score, error) {
			return reward.Score{}, service
		}),
		"gave the score NaN": reward.RuleFunc[pair](func(context.Context, pair, *prompt.Trace, int) (reward.Score, error) {
			return reward.Score{Value: math.NaN()}, nil
		}),
	} {
		d := definition()
		d.Steps[1].Rule = rule
		tk, err := task.New(d)
		require.NoError(t, err)
		err = tk.Bind(pair{query: "tent"}).Judge(t.Context(), completion(topicYes, evidence, label1))
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, `task: "tent": rule "evidence"`)
	}
}

// A rule that compares completions is asked once for the group, with those that it
// can be asked about.
func TestJudgeGroup(t *testing.T) {
	var fail error
	asked := map[int][][]string{} // step -> the texts of each call
	longest := reward.GroupRuleFunc[pair](func(_ context.Context, _ pair, traces []*prompt.Trace, step int) ([]reward.Score, error) {
		var texts []string
		scores := make([]reward.Score, len(traces))
		best := 0
		for i, tr := range traces {
			texts = append(texts, tr.Text)
			if _, ok := tr.FinalAnswer(); !ok {
				scores[i] = reward.Unscorable("broken step")
			} else if len(tr.Text) > len(traces[best].Text) {
				best = i
			}
		}
		scores[best].Value = 1
		asked[step] = append(asked[step], texts)
		return scores, fail
	})
	d := definition()
	d.Steps[1].Rule = longest
	d.Outcomes = append(d.Outcomes, task.Outcome[pair]{Name: "longest", Rule: longest, BrokenReward: -1})
	tk, err := task.New(d)
	require.NoError(t, err)
	b := tk.Bind(pair{"tent", "a tent", "yes", "1"})
	g := rollout.Group{
		*completion(topicYes, evidence, "  ", label1),
		*completion(topicYes, evidence, label0),
		*completion(topicYes, label1),
		*completion(topicYes, evidence, evidence),
	}
	for i := range g {
		require.NoError(t, b.Judge(t.Context(), &g[i]))
		require.True(t, math.IsNaN(g[i].Rewards[1]))
	}
	require.Equal(t, rollout.VerdictUnknown, g[0].Steps[1].Verdict)
	require.Empty(t, asked)
	require.NoError(t, b.JudgeGroup(t.Context(), g))

	require.Equal(t, map[int][][]string{
		1:                      {{g[0].Text, g[1].Text, g[3].Text}}, // the step is missing in the third
		reward.WholeCompletion: {{g[0].Text, g[1].Text, g[2].Text, g[3].Text}},
	}, asked)
	require.Equal(t, rollout.VerdictCorrect, g[0].Steps[1].Verdict)
	require.Equal(t, rollout.VerdictIncorrect, g[1].Steps[1].Verdict)
	require.Equal(t, rollout.VerdictBroken, g[2].Steps[1].Verdict)
	require.Equal(t, []rollout.Verdict{rollout.VerdictUnknown, rollout.VerdictBroken}, []rollout.Verdict{g[3].Steps[1].Verdict, g[3].Steps[2].Verdict}, "the duplicate is not graded")
	require.Equal(t, [][]float64{{1, 1}, {0, 0}, {1, 0}, {0, -1}}, [][]float64{g[0].Rewards, g[1].Rewards, g[2].Rewards, g[3].Rewards})
	require.Equal(t, reward.Tally{Scored: 3, Unscorable: map[string]int{"broken step": 1}}, d.Counter.Tallies()["outcome longest"])

	fail = reward.ErrDrop
	err = b.JudgeGroup(t.Context(), g)
	require.ErrorIs(t, err, reward.ErrDrop)
	require.ErrorContains(t, err, `task: "tent": rule "evidence": `)
	require.Equal(t, 1, d.Counter.Tallies()["evidence"].Failed)
	require.NoError(t, b.JudgeGroup(t.Context(), g[2:3:3][:0]), "nothing to compare")
}

// Ends come from the engine, which may be a server.
func TestEndsThatDoNotFitAreAnError(t *testing.T) {
	tk, err := task.New(definition())
	require.NoError(t, err)
	j := completion(topicYes, evidence, label1)
	j.Text += " "
	require.ErrorContains(t, tk.Bind(pair{query: "tent"}).Judge(t.Context(), j), `task: "tent": prompt: the tokens end at byte`)
}

func TestRequest(t *testing.T) {
	d := definition()
	d.Encode = task.Plain[pair](func(text string) []int32 { return []int32{int32(len(text))} })
	tk, err := task.New(d)
	require.NoError(t, err)
	p := pair{query: "tent", note: "a tent"}
	b := tk.Bind(p)
	require.Equal(t, p, b.Example())
	require.Equal(t, []string{"label"}, b.RewardNames())
	r, err := b.Request()
	require.NoError(t, err)
	require.Equal(t, "tent", r.ID)
	require.Equal(t, 4, r.N)
	require.Equal(t, []int32{int32(len(tk.Template().Render(p)))}, r.Prompt)

	alone, err := tk.WithSampling(1, rollout.Params{MaxTokens: 7})
	require.NoError(t, err)
	greedy, err := alone.Bind(p).Request()
	require.NoError(t, err)
	require.Equal(t, 1, greedy.N)
	require.Equal(t, rollout.Params{MaxTokens: 7}, greedy.Params)
	r, err = tk.Bind(p).Request()
	require.NoError(t, err)
	require.Equal(t, 4, r.N, "the task is left alone")
	_, err = tk.WithSampling(0, rollout.Params{MaxTokens: 7})
	require.ErrorContains(t, err, "GroupSize is 0")

	d.Encode = func(*prompt.Template[pair], pair) ([]int32, error) { return nil, errors.New("the note is empty") }
	tk, err = task.New(d)
	require.NoError(t, err)
	r, err = tk.Bind(p).Request()
	require.EqualError(t, err, "task: encoding the prompt: the note is empty")
	require.Equal(t, "tent", r.ID, "so that whoever reports the error can name it")
}

func TestNewListsAllThatIsWrong(t *testing.T) {
	d := definition()
	d.Outcomes, d.Encode, d.GroupSize = nil, nil, 0
	d.Params.MaxTokens = 0
	d.Steps[0].PassAt = math.NaN()
	d.Steps[1].Name = "topic"
	d.Steps[2].Answers = []string{"0", "0"}
	d.Input = nil
	_, err := task.New(d)
	for _, want := range []string{"Outcomes", "Encode", "GroupSize", "Params", "PassAt", `both named "topic"`, `answer "0" twice`, "no Input"} {
		require.ErrorContains(t, err, want)
	}
}

func TestOutcomesHaveDifferentNames(t *testing.T) {
	d := definition()
	d.Outcomes = append(d.Outcomes, d.Outcomes[0])
	d.Outcomes[0].BrokenReward = math.Inf(-1)
	_, err := task.New(d)
	require.ErrorContains(t, err, "Outcomes[0].BrokenReward is -Inf")
	require.ErrorContains(t, err, `two of Definition.Outcomes are named "label"`)
	d.Outcomes = []task.Outcome[pair]{{Rule: d.Outcomes[0].Rule}, {Name: "label"}}
	_, err = task.New(d)
	require.EqualError(t, err, "task: Definition.Outcomes[0].Name is empty\ntask: Definition.Outcomes[1].Rule is nil")
}

// A reward that the trainer would refuse at the first broken answer, after hours
// perhaps, is refused beforehand.
func TestBrokenRewardIsWithinTheBoundOfRewards(t *testing.T) {
	d := definition()
	d.Outcomes[0].BrokenReward = -math.MaxFloat64
	require.EqualError(t, d.Validate(), "task: Definition.Outcomes[0].BrokenReward is -1.7976931348623157e+308, want a number from -1e+100 to 1e+100")
	d.Outcomes[0].BrokenReward = -advantage.MaxReward
	require.NoError(t, d.Validate())
}
