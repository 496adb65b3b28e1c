package rl_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

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
		}, "has a token 1 that ends at byte 1, before its start at byte 2"},
		"another text": {func(c rollout.Completion, emit func(rollout.Completion) error) error {
			c.Text += "!"
			return emit(c)
		}, "has tokens that end at byte 2 of a text of 3"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rl.Collect(t.Context(), tampered{p, c.f}, problems(8), [2]uint64{})
			require.ErrorContains(t, err, c.want)
		})
	}
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
	ps := append(problems(8), badJudge{successor{0, vocab, 8}, service})
	_, err := rl.Collect(t.Context(), p, ps, [2]uint64{})
	require.ErrorIs(t, err, service)
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
			out = append(out, p.(successor).prompt)
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

func TestSummarizeLeavesOutWhatItDidNotSee(t *testing.T) {
	nan := func() float64 { var z float64; return z / z }
	r := &rl.Rollouts{
		Groups: []rollout.Group{{
			{Finish: rollout.FinishLength, Tokens: make([]int32, 3), Rewards: []float64{1, nan()}, Steps: []rollout.Step{{Name: "a", Verdict: rollout.VerdictIncorrect}, {Name: "b"}}},
			{Tokens: make([]int32, 5), Rewards: []float64{0, nan()}, Malformed: true, Steps: []rollout.Step{{Name: "a", Verdict: rollout.VerdictCorrect}, {Name: "b"}}},
		}},
	}
	require.Equal(t, map[string]float64{
		"reward/0": 0.5, "reward/0/unscorable": 0, "reward/1/unscorable": 1,
		"step/a/correct": 0.5, "step/a/unknown": 0, "step/a/broken": 0,
		"step/b/unknown": 1, "step/b/broken": 0,
		"malformed": 0.5, "truncated": 0.5, "right_answer_wrong_step": 0.5,
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
	ps := []rl.Problem{tempered{successor{0, vocab, 2}, 0.5}, tempered{successor{1, vocab, 2}, 0.5}}
	r, err := rl.Collect(t.Context(), p, ps, [2]uint64{})
	require.NoError(t, err)
	require.Equal(t, 0.5, r.Batch().Temperature)
	_, err = rl.Collect(t.Context(), p, append(ps, problems(2)...), [2]uint64{})
	require.ErrorContains(t, err, "rl: request 2 has temperature 1, request 0 has 0.5")
}

func TestCollectRefusesAnImpossibleRequest(t *testing.T) {
	_, p := setup()
	_, err := rl.Collect(t.Context(), p, append(problems(8), successor{0, vocab, -1}), [2]uint64{})
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
