package rl_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// tampered passes an engine's completions through f.
type tampered struct {
	rollout.Engine
	f func(c rollout.Completion, emit func(rollout.Completion) error) error
}

func (e tampered) Generate(ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	return e.Engine.Generate(ctx, reqs, func(c rollout.Completion) error { return e.f(c, emit) })
}

func TestCollectChecksTheEngine(t *testing.T) {
	_, p := setup()
	for name, c := range map[string]struct {
		f    func(c rollout.Completion, emit func(rollout.Completion) error) error
		want string
	}{
		"twice": {func(c rollout.Completion, emit func(rollout.Completion) error) error {
			return errors.Join(emit(c), emit(c))
		}, "twice"},
		"foreign": {func(c rollout.Completion, emit func(rollout.Completion) error) error {
			c.Request += 100
			return emit(c)
		}, "nobody asked for"},
		"lost": {func(c rollout.Completion, emit func(rollout.Completion) error) error {
			if c.Request == 2 && c.Index == 3 {
				return nil
			}
			return emit(c)
		}, "never emitted sample 3 of request 2"},
		"short": {func(c rollout.Completion, emit func(rollout.Completion) error) error {
			c.LogP = c.LogP[1:]
			return emit(c)
		}, "2 tokens but 1 LogP"},
		"backwards": {func(c rollout.Completion, emit func(rollout.Completion) error) error {
			c.Ends = []int{2, 1}
			return emit(c)
		}, "has Ends that do not fit its Text: prompt: token 1 ends at byte 1, before its start at byte 2"},
		"another text": {func(c rollout.Completion, emit func(rollout.Completion) error) error {
			c.Text += "!"
			return emit(c)
		}, "the tokens end at byte 2, the text at byte 3"},
		"no tokens": {func(c rollout.Completion, emit func(rollout.Completion) error) error {
			c.Tokens, c.Ends, c.LogP, c.LogPUnit = nil, nil, nil, nil
			return emit(c)
		}, "has a text of 2 bytes but no tokens"},
		"no log-prob":        {logProb(2, math.NaN()), "rl: sample 1 of request 2 has the log-prob NaN at token 1, want a finite number of at most 0"},
		"probability over 1": {logProb(3, 0.5), "rl: sample 1 of request 3 has the log-prob 0.5 at token 1"},
		"probability 0":      {logProb(0, math.Inf(-1)), "rl: sample 1 of request 0 has the log-prob -Inf at token 1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rl.Collect(t.Context(), tampered{p, c.f}, problems(8), [2]uint64{})
			require.ErrorContains(t, err, c.want)
		})
	}
}

// logProb replaces the second log-prob of sample 1 of a request.
func logProb(request int, p float64) func(rollout.Completion, func(rollout.Completion) error) error {
	return func(c rollout.Completion, emit func(rollout.Completion) error) error {
		if c.Request == request && c.Index == 1 {
			c.LogP[1] = p
		}
		return emit(c)
	}
}

// A log-prob may be above 0 by a rounding error.
func TestCollectAllowsForRounding(t *testing.T) {
	_, p := setup()
	_, err := rl.Collect(t.Context(), tampered{p, logProb(0, 1e-6)}, problems(8), [2]uint64{})
	require.NoError(t, err)
}

func TestAFailedSampleLeavesItsGroupOnly(t *testing.T) {
	_, p := setup()
	lost := errors.New("connection lost")
	e := tampered{p, func(c rollout.Completion, emit func(rollout.Completion) error) error {
		if c.Request == 1 && c.Index == 0 {
			c = rollout.Completion{Request: 1, Err: lost}
		}
		return emit(c)
	}}
	r, err := rl.Collect(t.Context(), e, problems(8), [2]uint64{})
	require.NoError(t, err)
	require.Equal(t, 1, r.Failed)
	require.ErrorIs(t, r.FirstFailure, lost)
	for g := range r.Groups {
		want := 8
		if g == 1 {
			want = 7
		}
		require.Len(t, r.Groups[g], want)
	}
}

type badJudge struct {
	successor
	err error
}

func (b badJudge) Judge(context.Context, *rollout.Completion) error { return b.err }

func TestJudgeErrorsEndTheCall(t *testing.T) {
	_, p := setup()
	service := errors.New("the rule's service is down")
	ps := append(problems(8), badJudge{successor{Prompt: 0, Vocab: vocab, Group: 8}, service})
	_, err := rl.Collect(t.Context(), p, ps, [2]uint64{})
	require.ErrorIs(t, err, service)
}

// custom is a problem whose methods are given.
type custom struct {
	successor
	request func() rollout.Request
	judge   func(c *rollout.Completion) error
}

func (c custom) Request() (rollout.Request, error) {
	if c.request != nil {
		return c.request(), nil
	}
	q, err := c.successor.Request()
	q.ID = "custom"
	return q, err
}

func (c custom) Judge(_ context.Context, x *rollout.Completion) error { return c.judge(x) }

// TestAPanicNamesTheProblem: what panics in a rule, in a goroutine that the user does
// not see, is an error with the panic's text and its stack.
func TestAPanicNamesTheProblem(t *testing.T) {
	_, p := setup()
	in := func(bad rl.Problem) error {
		_, err := rl.Collect(t.Context(), p, append(problems(8), bad), [2]uint64{})
		return err
	}
	ok := successor{Prompt: 0, Vocab: vocab, Group: 8}
	err := in(custom{successor: ok, judge: func(*rollout.Completion) error { panic("no such label") }})
	require.ErrorContains(t, err, "of request 5 (custom): panic in Judge: no such label")
	require.ErrorContains(t, err, "collect_test.go")

	err = in(custom{successor: ok, judge: func(c *rollout.Completion) error { _ = c.Trace.Final; return nil }})
	var cause runtime.Error
	require.ErrorAs(t, err, &cause)
	require.ErrorContains(t, err, "nil pointer dereference")

	require.ErrorContains(t, in(custom{request: func() rollout.Request { panic("no tokenizer") }}), "rl: request 5 (): panic in Request: no tokenizer")
	require.ErrorContains(t, in(nil), "rl: request 5 (): the problem is nil")
	var typed *successor
	require.ErrorContains(t, in(typed), "rl: request 5 (): panic in Request: ")

	c, _ := setup()
	c.Source = &rl.SliceSource{Problems: append(problems(8), nil)}
	_, err = rl.NewTrainer(c)
	require.ErrorContains(t, err, `Config.Source: problem 5 (""): the problem is nil`)
	c.Source = nothing{c.Source}
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.ErrorContains(t, tr.Run(t.Context()), "the problem is nil")
}

// nothing is a source that yields nil.
type nothing struct{ rl.Source }

func (nothing) Next(context.Context) (rl.Problem, error) { return nil, nil }

// The spread of such rewards overflows, and every difference is lost in it.
func TestRewardsThatOverflowNameTheSample(t *testing.T) {
	_, p := setup()
	for _, v := range []float64{1.7e308, -1.7e308, math.Inf(1)} {
		bad := custom{successor: successor{Prompt: 0, Vocab: vocab, Group: 8}, judge: func(c *rollout.Completion) error {
			c.Rewards = []float64{v}
			return nil
		}}
		_, err := rl.Collect(t.Context(), p, append(problems(8), bad), [2]uint64{})
		require.ErrorContains(t, err, fmt.Sprintf("of request 5 (custom): reward 0 is %v, want a number from -1e+100 to 1e+100", v))
		bad.judge = func(c *rollout.Completion) error {
			c.Rewards, c.Steps = []float64{math.NaN()}, []rollout.Step{{Name: "topic", Reward: v}}
			return nil
		}
		_, err = rl.Collect(t.Context(), p, append(problems(8), bad), [2]uint64{})
		require.ErrorContains(t, err, fmt.Sprintf("the reward of step 0 (topic) is %v", v))
	}
}

func TestCollectCanBeCancelled(t *testing.T) {
	_, p := setup()
	ctx, cancel := context.WithCancel(t.Context())
	e := tampered{p, func(c rollout.Completion, emit func(rollout.Completion) error) error {
		cancel()
		return emit(c)
	}}
	_, err := rl.Collect(ctx, e, problems(8), [2]uint64{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestSliceSource(t *testing.T) {
	all := problems(1)
	order := func(seed uint64, skip int) (out []int32) {
		s := &rl.SliceSource{Problems: all, Seed: seed, Epochs: 2}
		for range skip {
			_, err := s.Next(t.Context())
			require.NoError(t, err)
		}
		state, err := s.State()
		require.NoError(t, err)
		s = &rl.SliceSource{Problems: all, Seed: seed, Epochs: 2}
		require.NoError(t, s.Restore(state))
		for {
			p, err := s.Next(t.Context())
			if err != nil {
				return out
			}
			out = append(out, p.(successor).Prompt)
		}
	}
	whole := order(4, 0)
	require.Len(t, whole, 10)
	require.ElementsMatch(t, []int32{0, 1, 2, 3, 4}, whole[:5])
	require.ElementsMatch(t, []int32{0, 1, 2, 3, 4}, whole[5:])
	require.NotEqual(t, whole[:5], whole[5:])
	for skip := range 10 {
		require.Equal(t, whole[skip:], order(4, skip))
	}
}

func TestStreamSource(t *testing.T) {
	all := problems(1)
	at := func(s *rl.StreamSource) int32 {
		p, err := s.Next(t.Context())
		require.NoError(t, err)
		return p.(successor).Prompt
	}
	s := &rl.StreamSource{Problem: func(i int) rl.Problem { return all[i] }, At: 1}
	require.Equal(t, []int32{1, 2}, []int32{at(s), at(s)})
	state, err := s.State()
	require.NoError(t, err)
	again := &rl.StreamSource{Problem: s.Problem}
	require.NoError(t, again.Restore(state))
	require.Equal(t, []int32{3, 3, 4}, []int32{at(s), at(again), at(again)})
	require.ErrorContains(t, again.Restore([]byte("x")), "rl: stream source state")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Next(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

// TestASliceSourceIsRestoredToItsOwnState: another seed, other problems and another
// order would go on with problems that were not those to come.
func TestASliceSourceIsRestoredToItsOwnState(t *testing.T) {
	s := &rl.SliceSource{Problems: problems(8), Seed: 1}
	saved, err := s.State()
	require.NoError(t, err)
	swapped := problems(8)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	for want, other := range map[string]*rl.SliceSource{
		"is for seed 1, SliceSource.Seed is 2":   {Problems: problems(8), Seed: 2},
		"for other problems, or another order":   {Problems: problems(4), Seed: 1},
		"or another order of them: their digest": {Problems: swapped, Seed: 1},
		"for 5 problems, the source has 4":       {Problems: problems(8)[1:], Seed: 1},
	} {
		require.ErrorContains(t, other.Restore(saved), want)
	}
	require.NoError(t, (&rl.SliceSource{Problems: problems(8), Seed: 1}).Restore(saved))
	_, err = (&rl.SliceSource{Problems: []rl.Problem{nil}}).State()
	require.ErrorContains(t, err, "rl: problem 0")
}

func TestNewProblem(t *testing.T) {
	q := rollout.Request{ID: "a", Prompt: []int32{1}, N: 2, Params: rollout.Params{Temperature: 1, MaxTokens: 1}}
	fail := errors.New("no reward")
	p := rl.NewProblem(q, func(_ context.Context, c *rollout.Completion) (float64, error) {
		if c.Text == "" {
			return 0, fail
		}
		return float64(len(c.Text)), nil
	})
	got, err := p.Request()
	require.NoError(t, err)
	require.Equal(t, q, got)
	c := rollout.Completion{Text: "ab"}
	require.NoError(t, p.Judge(t.Context(), &c))
	require.Equal(t, []float64{2}, c.Rewards)
	require.ErrorIs(t, p.Judge(t.Context(), &rollout.Completion{}), fail)
}

func TestPairs(t *testing.T) {
	said := func(index int, answer string, status prompt.Status) rollout.Completion {
		return rollout.Completion{Index: index, Trace: &prompt.Trace{Steps: []prompt.Span{{Answer: answer, Status: status}}}}
	}
	r := &rl.Rollouts{
		Problems: []rl.Problem{successor{Prompt: 0}, successor{Prompt: 1}},
		Requests: []rollout.Request{{}, {ID: "second"}},
		Groups: []rollout.Group{
			{said(0, "low", prompt.StatusOK), said(1, "high", prompt.StatusOK)},
			{said(0, "other", prompt.StatusOK), said(1, "high", prompt.StatusTruncated)},
		},
	}
	gold := func(p rl.Problem) string { return []string{"low", "high"}[p.(successor).Prompt] }
	pairs, err := r.Pairs([]string{"low", "high"}, gold)
	require.NoError(t, err)
	require.Equal(t, []eval.Pair{{Gold: 0, Pred: 0}, {Gold: 0, Pred: 1}, {Gold: 1, Pred: -1}, {Gold: 1, Pred: -1}}, pairs)
	require.Equal(t, 0.25, eval.Accuracy(pairs))

	_, err = r.Pairs([]string{"low"}, gold)
	require.EqualError(t, err, `rl: the true label of request 1 (second) is "high", want one of ["low"]`)
	r.Groups[1][1].Trace = nil
	_, err = r.Pairs([]string{"low", "high"}, gold)
	require.ErrorContains(t, err, "rl: sample 1 of request 1 (second) has no trace")
}

func TestSummarizeLeavesOutWhatItDidNotSee(t *testing.T) {
	nan := func() float64 { var z float64; return z / z }
	r := &rl.Rollouts{
		Groups: []rollout.Group{{
			{Finish: rollout.FinishLength, Tokens: make([]int32, 3), Rewards: []float64{1, nan()}, Steps: []rollout.Step{{Name: "a", Verdict: rollout.VerdictIncorrect}, {Name: "b"}}},
			{Tokens: make([]int32, 5), Rewards: []float64{0, nan()}, Malformed: true, Steps: []rollout.Step{{Name: "a", Verdict: rollout.VerdictCorrect}, {Name: "b", Verdict: rollout.VerdictUnknown, Final: true}}},
		}},
	}
	require.Equal(t, map[string]float64{
		"reward/0": 0.5, "reward/0/unscorable": 0, "reward/1/unscorable": 1,
		"step/a/correct": 0.5, "step/a/unknown": 0, "step/a/broken": 0,
		"step/b/unknown": 1, "step/b/broken": 0,
		"malformed": 0.5, "truncated": 0.5, "right_answer_wrong_step": 0.5, "right_answer_after_right_steps": 0,
		"tokens": 8, "tokens/mean": 4, "failed": 0, "unjudged": 0,
	}, rl.Summarize(r))
}

// tempered asks for samples at another temperature.
type tempered struct {
	successor
	temperature float64
}

func (p tempered) Request() (rollout.Request, error) {
	q, err := p.successor.Request()
	q.Params.Temperature = p.temperature
	return q, err
}

func TestACollectionHasOneTemperature(t *testing.T) {
	_, p := setup()
	ps := []rl.Problem{tempered{successor{Prompt: 0, Vocab: vocab, Group: 2}, 0.5}, tempered{successor{Prompt: 1, Vocab: vocab, Group: 2}, 0.5}}
	r, err := rl.Collect(t.Context(), p, ps, [2]uint64{})
	require.NoError(t, err)
	require.Equal(t, 0.5, r.Batch().Temperature)
	_, err = rl.Collect(t.Context(), p, append(ps, problems(2)...), [2]uint64{})
	require.ErrorContains(t, err, "rl: request 2 has temperature 1, request 0 has 0.5")
}

func TestCollectRefusesAnImpossibleRequest(t *testing.T) {
	_, p := setup()
	_, err := rl.Collect(t.Context(), p, append(problems(8), successor{Prompt: 0, Vocab: vocab, Group: -1}), [2]uint64{})
	require.EqualError(t, err, "rl: request 5 (): N is -1, want 1 or more")
}

// Names that the policy makes up become no names of metrics.
func TestSurplusStepsAreCountedUnderOneName(t *testing.T) {
	var g rollout.Group
	for _, name := range []string{"mood", "Mood", "\xff\xfe", strings.Repeat("x", 10_000)} {
		g = append(g, rollout.Completion{Tokens: make([]int32, 2), Rewards: []float64{float64(len(g) % 2)}, Steps: []rollout.Step{
			{Name: "topic", Start: 0, End: 1, Verdict: rollout.VerdictCorrect, Reward: 1},
			{Name: name, Start: 1, End: 2, Verdict: rollout.VerdictBroken, Status: prompt.StatusSurplus},
		}})
	}
	r := &rl.Rollouts{Groups: []rollout.Group{g}}
	stats, err := r.Assign(rloo, sam.Mask{})
	require.NoError(t, err)
	require.Equal(t, []string{"surplus", "topic"}, stats.Names())
	require.Equal(t, 4, stats.Steps["surplus"].Kept+stats.Steps["surplus"].Masked)
	m := rl.Summarize(r)
	require.Equal(t, 1.0, m["step/surplus/broken"])
	for name := range m {
		require.True(t, !strings.Contains(name, "/") || strings.HasPrefix(name, "step/topic/") || strings.HasPrefix(name, "step/surplus/") ||
			strings.HasPrefix(name, "reward/") || name == "tokens/mean", name)
	}
}

// Five answers with two steps before them: three of them have none that is wrong, and two
// of those are right.
func TestRightAnswersAfterRightSteps(t *testing.T) {
	sample := func(reward float64, a, b, last rollout.Verdict) rollout.Completion {
		return rollout.Completion{Rewards: []float64{reward}, Steps: []rollout.Step{{Verdict: a}, {Verdict: b}, {Verdict: last, Final: true}}}
	}
	const right, wrong = rollout.VerdictCorrect, rollout.VerdictIncorrect
	r := &rl.Rollouts{Groups: []rollout.Group{{
		sample(1, right, right, right),
		sample(1, right, rollout.VerdictUnknown, right),
		sample(0, right, right, wrong),
		sample(1, wrong, right, right),
		sample(0, right, rollout.VerdictBroken, wrong),
		{Rewards: []float64{1}, Steps: []rollout.Step{{Verdict: right, Final: true}}}, // no step before it
	}}}
	require.InDelta(t, 2./3, rl.Summarize(r)["right_answer_after_right_steps"], 1e-15)
	r.Groups[0] = r.Groups[0][3:]
	require.NotContains(t, rl.Summarize(r), "right_answer_after_right_steps")
}
