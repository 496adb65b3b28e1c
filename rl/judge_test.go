package rl_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

var errJudge = errors.New("the judge is down")

// judging is a problem with its own judges.
type judging struct {
	successor
	single func(ctx context.Context, c *rollout.Completion) error
	group  func(ctx context.Context, g rollout.Group) error
}

func (j judging) Judge(ctx context.Context, c *rollout.Completion) error {
	if err := j.successor.Judge(ctx, c); err != nil || j.single == nil {
		return err
	}
	return j.single(ctx, c)
}

func (j judging) JudgeGroup(ctx context.Context, g rollout.Group) error {
	if j.group == nil {
		return nil
	}
	return j.group(ctx, g)
}

func dropIf(yes bool) error {
	if yes {
		return fmt.Errorf("%w: %w", reward.ErrDrop, errJudge)
	}
	return nil
}

func TestUnjudgedSamplesAreDropped(t *testing.T) {
	_, p := setup()
	var asked [3][]int // the indices that each JudgeGroup saw
	ps := make([]rl.Problem, 3)
	for i := range ps {
		ps[i] = judging{
			successor{Prompt: int32(i), Vocab: vocab, Group: 4},
			func(_ context.Context, c *rollout.Completion) error { return dropIf(i == 1 && c.Index%2 == 0) },
			func(_ context.Context, g rollout.Group) error {
				for k := range g {
					asked[i] = append(asked[i], g[k].Index)
					g[k].Rewards[0] = float64(k)
				}
				return dropIf(i == 2)
			},
		}
	}
	r, m, err := rl.EvaluateProblems(t.Context(), p, ps, 1)
	require.NoError(t, err)
	require.Equal(t, [3][]int{{0, 1, 2, 3}, {1, 3}, {0, 1, 2, 3}}, asked)
	require.Equal(t, 6, r.Unjudged)
	require.Zero(t, r.Failed)
	require.ErrorIs(t, r.FirstUnjudged, errJudge)
	require.EqualError(t, r.FirstUnjudged, "rl: sample 0 of request 1: reward: dropped, the judgement failed: the judge is down")
	require.Len(t, r.Groups[0], 4)
	require.Len(t, r.Groups[1], 2)
	require.Empty(t, r.Groups[2])
	require.EqualValues(t, 6, m["unjudged"])
	require.Equal(t, (0+1+2+3+0+1)/6., m["reward/0"], "what the group's judge wrote")

	ps[0] = judging{successor{Prompt: 0, Vocab: vocab, Group: 4}, nil, func(context.Context, rollout.Group) error { return errJudge }}
	_, err = rl.Collect(t.Context(), p, ps, [2]uint64{})
	require.EqualError(t, err, "rl: judging the group of request 0: the judge is down")
}

// The trainer goes on without what nobody judged, with and without dynamic
// sampling, unless nothing is left.
func TestTrainerWithUnjudgedSamples(t *testing.T) {
	for _, rounds := range []int{0, 2} {
		share := 2
		c, _ := setup()
		var ps []rl.Problem
		for v := range int32(vocab) {
			ps = append(ps, judging{successor{Prompt: v, Vocab: vocab, Group: 8}, func(_ context.Context, c *rollout.Completion) error { return dropIf(c.Index < share) }, nil})
		}
		c.Source = &rl.SliceSource{Problems: ps}
		c.Dynamic.Rounds = rounds
		tr, err := rl.NewTrainer(c)
		require.NoError(t, err)
		m, err := tr.Step(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, m["tokens"]/2, 3*m["unjudged"], "2 of 8")
		share = 8
		_, err = tr.Step(t.Context())
		require.ErrorIs(t, err, errJudge)
		require.ErrorContains(t, err, "samples of training step 2 failed or could not be judged; the first: rl: sample 0 of request 0:")
	}
}

func TestJudges(t *testing.T) {
	_, p := setup()
	for _, c := range []struct{ set, want int }{{0, 64}, {1, 1}, {3, 3}, {100, 80}} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			running, most := 0, 0
			wait := func() error {
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				time.Sleep(time.Minute)
				mu.Lock()
				defer mu.Unlock()
				running--
				return nil
			}
			slow := make([]rl.Problem, 80)
			for i := range slow {
				slow[i] = judging{successor{Prompt: 0, Vocab: vocab, Group: 1}, func(context.Context, *rollout.Completion) error { return wait() }, nil}
			}
			groups := make([]rl.Problem, 80)
			for i := range groups {
				groups[i] = judging{successor{Prompt: 0, Vocab: vocab, Group: 1}, nil, func(context.Context, rollout.Group) error { return wait() }}
			}
			check := func(err error) {
				t.Helper()
				require.NoError(t, err)
				require.Equal(t, c.want, most)
				most = 0
			}
			_, err := rl.Collect(t.Context(), p, slow, [2]uint64{}, rl.WithJudges(c.set))
			check(err)
			_, err = rl.Collect(t.Context(), p, groups, [2]uint64{}, rl.WithJudges(c.set))
			check(err)
			_, _, err = rl.EvaluateProblems(t.Context(), p, slow, 1, rl.WithJudges(c.set))
			check(err)
			source := &rl.SliceSource{Problems: slow}
			_, err = rl.CollectLive(t.Context(), p, source.Next, 80, rloo, rl.DynamicSampling{Rounds: 1}, [2]uint64{}, rl.WithJudges(c.set))
			check(err)
			config, _ := setup()
			config.Source, config.Judges = &rl.SliceSource{Problems: slow}, c.set
			config.Estimator, config.Batching = advantage.PerGroup(advantage.DrGRPO{}), rl.Batching{Prompts: 80}
			tr, err := rl.NewTrainer(config)
			require.NoError(t, err)
			_, err = tr.Step(t.Context())
			check(err)
		})
	}
	_, err := rl.Collect(t.Context(), p, problems(1), [2]uint64{}, rl.WithJudges(-1))
	require.EqualError(t, err, "rl: WithJudges(-1), must not be negative")
	_, err = rl.CollectLive(t.Context(), p, func(context.Context) (rl.Problem, error) { return nil, io.EOF }, 1, rloo, rl.DynamicSampling{Rounds: 1}, [2]uint64{}, rl.WithJudges(-1))
	require.EqualError(t, err, "rl: WithJudges(-1), must not be negative")
}

// A share is warned about when it exceeds the last one warned about by more than
// the setting; below half of the setting it starts again.
func TestWarnUnscorable(t *testing.T) {
	unknown := 0 // of 8
	var ps []rl.Problem
	for v := range int32(vocab) {
		ps = append(ps, judging{successor{Prompt: v, Vocab: vocab, Group: 8}, func(_ context.Context, c *rollout.Completion) error {
			if c.Index < unknown {
				c.Steps[0].Verdict = rollout.VerdictUnknown
				c.Steps[0].Cause = errJudge
			}
			return nil
		}, nil})
	}
	for setting, want := range map[float64]string{
		0:    "2 4 7 8",
		0.1:  "2 4 7 8",
		0.13: "4 8",
		1:    "",
	} {
		c, _ := setup()
		var log bytes.Buffer
		c.Source, c.Logger, c.WarnUnscorable = &rl.SliceSource{Problems: ps}, slog.New(slog.NewTextHandler(&log, nil)), setting
		tr, err := rl.NewTrainer(c)
		require.NoError(t, err)
		var warned []string
		for i, n := range []int{0, 1, 1, 2, 2, 0, 1, 8} {
			unknown = n
			log.Reset()
			_, err := tr.Step(t.Context())
			require.NoError(t, err)
			if strings.Contains(log.String(), fmt.Sprintf(`level=WARN msg="a share could not be judged" step=%d metric=step/first/unknown share=%v `, i+1, float64(n)/8)) {
				warned = append(warned, fmt.Sprint(i+1))
				require.Contains(t, log.String(), ` first="the judge is down"`)
			} else {
				require.NotContains(t, log.String(), "could not be judged")
			}
		}
		require.Equal(t, want, strings.Join(warned, " "), setting)
	}
	// A reward has a cause, too, and a problem's own judge need not give one.
	for _, want := range []string{`metric=reward/0/unscorable share=1 last_warned_at=0 first="judge failed: the judge is down"`, `metric=step/first/unknown share=1 last_warned_at=0 first="the problem's judge gives no cause"`} {
		c, _ := setup()
		var log bytes.Buffer
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		c.Source = &rl.SliceSource{Problems: []rl.Problem{judging{successor{Prompt: 0, Vocab: vocab, Group: 8}, func(_ context.Context, c *rollout.Completion) error {
			c.Rewards[0], c.Causes = math.NaN(), []error{reward.Score{Reason: "judge failed", Err: errJudge}.Cause()}
			c.Steps[0].Verdict = rollout.VerdictUnknown
			return nil
		}, nil}}}
		tr, err := rl.NewTrainer(c)
		require.NoError(t, err)
		_, err = tr.Step(t.Context())
		require.NoError(t, err)
		require.Contains(t, log.String(), want)
	}
	c, _ := setup()
	c.Judges, c.WarnUnscorable = -1, 1.5
	_, err := rl.NewTrainer(c)
	require.ErrorContains(t, err, "rl: Config.Judges is -1, must not be negative")
	require.ErrorContains(t, err, "rl: Config.WarnUnscorable is 1.5, want 0 to 1")
}

// A run that cannot learn, as nearly all completions are cut off or without form, says so
// once, and what to look at.
func TestWarnRuined(t *testing.T) {
	const warning = `level=WARN msg="nearly all completions are truncated or malformed`
	malformed := 0 // of 10
	var ps []rl.Problem
	for v := range int32(vocab) {
		ps = append(ps, judging{successor{Prompt: v, Vocab: vocab, Group: 10}, func(_ context.Context, c *rollout.Completion) error {
			c.Finish, c.Malformed = rollout.FinishStop, c.Index < malformed
			return nil
		}, nil})
	}
	c, _ := setup()
	var log bytes.Buffer
	c.Source, c.Logger = &rl.SliceSource{Problems: ps}, slog.New(slog.NewTextHandler(&log, nil))
	c.Batching.GroupSize = 10
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	for i, n := range []int{0, 8, 9, 10} {
		malformed = n
		log.Reset()
		m, err := tr.Step(t.Context())
		require.NoError(t, err)
		require.Equal(t, float64(n)/10, m["malformed"])
		require.Equal(t, n == 9, strings.Contains(log.String(), warning), "step %d", i+1)
		require.Equal(t, n == 9, strings.Contains(log.String(), "training has unlearned the format"), "step %d", i+1)
	}

	// Without an end-of-text token every completion is truncated.
	c, _ = setup()
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	log.Reset()
	run(t, c)
	require.Equal(t, 1, strings.Count(log.String(), warning))
	require.Contains(t, log.String(), "end-of-text token")
	require.Regexp(t, "step=1 truncated=1 malformed=0", log.String())
}
