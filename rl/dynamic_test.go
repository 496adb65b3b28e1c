package rl_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

var rloo = advantage.PerGroup(advantage.RLOO{})

// scripted is a problem whose two completions have the given rewards.
type scripted struct {
	name    string
	rewards [2]float64
}

func (s *scripted) Request() (rollout.Request, error) {
	return rollout.Request{ID: s.name, Prompt: []int32{0}, N: 2, Params: rollout.Params{Temperature: 1, MaxTokens: 1}}, nil
}

func (s *scripted) Judge(_ context.Context, c *rollout.Completion) error {
	c.Rewards = []float64{s.rewards[c.Index]}
	return nil
}

// script makes problems of letters: r and w are all right and all wrong, l is live.
func script(letters string) func(context.Context) (rl.Problem, error) {
	i := 0
	return func(context.Context) (rl.Problem, error) {
		if i == len(letters) {
			return nil, io.EOF
		}
		p := &scripted{name: fmt.Sprintf("%c%d", letters[i], i)}
		switch letters[i] {
		case 'r':
			p.rewards = [2]float64{1, 1}
		case 'l':
			p.rewards = [2]float64{0, 1}
		}
		i++
		return p, nil
	}
}

func names(r *rl.Rollouts) (out []string) {
	for g := range r.Groups {
		out = append(out, r.Requests[g].ID)
		for i := range r.Groups[g] {
			if want := r.Problems[g].(*scripted).rewards[i]; r.Groups[g][i].Rewards[0] != want {
				panic("problem and group do not belong together")
			}
		}
	}
	return out
}

func TestDynamicSampling(t *testing.T) {
	type list = []string
	for name, c := range map[string]struct {
		problems        string
		d               rl.DynamicSampling
		kept, dropped   list
		reasons         list
		rounds, missing int
		repeated        int
	}{
		"all live": {"lll", rl.DynamicSampling{Rounds: 5},
			list{"l0", "l1", "l2"}, nil, nil, 1, 0, 0},
		"replacements": {"rlwrlwl", rl.DynamicSampling{Rounds: 9},
			list{"l1", "l4", "l6"}, list{"r0", "w2", "r3", "w5"}, list{"constant_1", "constant_0", "constant_1", "constant_0"}, 4, 0, 0},
		"oversampled": {"rlllll", rl.DynamicSampling{Rounds: 1, Oversample: 2},
			list{"l1", "l2", "l3"}, list{"r0", "l4", "l5"}, list{"constant_1", "surplus", "surplus"}, 1, 0, 0},
		"filled up": {"rlwrwwl", rl.DynamicSampling{Rounds: 2},
			list{"r0", "l1", "w2"}, list{"r3", "w4"}, list{"constant_1", "constant_0"}, 2, 2, 0},
		"trained short": {"rlwrwwl", rl.DynamicSampling{Rounds: 2, OnShortage: rl.ShortageTrain},
			list{"l1"}, list{"r0", "w2", "r3", "w4"}, list{"constant_1", "constant_0", "constant_1", "constant_0"}, 2, 2, 0},
		"repeated": {"rlwrwwl", rl.DynamicSampling{Rounds: 2, OnShortage: rl.ShortageRepeat},
			list{"l1", "l1", "l1"}, list{"r0", "w2", "r3", "w4"}, list{"constant_1", "constant_0", "constant_1", "constant_0"}, 2, 2, 2},
		"nothing to repeat": {"rww", rl.DynamicSampling{Rounds: 1, OnShortage: rl.ShortageRepeat},
			nil, list{"r0", "w1", "w2"}, list{"constant_1", "constant_0", "constant_0"}, 1, 3, 0},
		"the source ends": {"rlwl", rl.DynamicSampling{Rounds: 9, OnShortage: rl.ShortageTrain},
			list{"l1", "l3"}, list{"r0", "w2"}, list{"constant_1", "constant_0"}, 2, 1, 0},
		"a filter too": {"rlwl", rl.DynamicSampling{Rounds: 1, Oversample: 4. / 3, Filter: rl.DropMeanOutside{Low: 0.6, High: 2}, OnShortage: rl.ShortageTrain},
			nil, list{"r0", "l1", "w2", "l3"}, list{"constant_1", "too_hard", "constant_0", "too_hard"}, 1, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			e := policytest.NewTablePolicy(3, nil, -1)
			r, err := rl.CollectLive(t.Context(), e, script(c.problems), 3, rloo, c.d, [2]uint64{5, 6})
			require.NoError(t, err)
			require.Equal(t, c.kept, names(r))
			require.Equal(t, c.dropped, names(r.Dynamic.Dropped))
			require.Equal(t, c.reasons, r.Dynamic.Reasons)
			require.Equal(t, []int{c.rounds, c.missing, c.repeated}, []int{r.Dynamic.Rounds, r.Dynamic.Missing, r.Dynamic.Repeated})
			var all list
			all = append(append(all, c.kept[:len(c.kept)-c.repeated]...), c.dropped...)
			require.Equal(t, all, names(r.Sampled()))
			for i, p := range r.Sampled().Requests {
				require.Equal(t, [3]uint64{5, 6, uint64(all[i][1] - '0')}, p.Stream, "the number of the draw")
			}
		})
	}
}

func TestDynamicSamplingFails(t *testing.T) {
	e := policytest.NewTablePolicy(3, nil, -1)
	call := func(problems string, d rl.DynamicSampling) error {
		_, err := rl.CollectLive(t.Context(), e, script(problems), 3, rloo, d, [2]uint64{})
		return err
	}
	err := call("rlwrw", rl.DynamicSampling{Rounds: 2, OnShortage: rl.ShortageFail})
	require.ErrorIs(t, err, rl.ErrTooFewLive)
	require.ErrorContains(t, err, "1 of 3 after 2 rounds with 5 groups")
	require.Equal(t, io.EOF, call("ll", rl.DynamicSampling{Rounds: 1}))
	require.ErrorContains(t, call("lll", rl.DynamicSampling{}), "0 rounds")
	require.ErrorContains(t, call("lll", rl.DynamicSampling{Rounds: 1, Oversample: 0.5}), "Oversample is 0.5")

	c, _ := setup()
	c.Dynamic.Rounds = -1
	_, err = rl.NewTrainer(c)
	require.ErrorContains(t, err, "Rounds is -1")
	c.Dynamic = rl.DynamicSampling{OnShortage: rl.ShortageTrain}
	_, err = rl.NewTrainer(c)
	require.ErrorContains(t, err, "Rounds is 0, which turns it off")
	c.Dynamic = rl.DynamicSampling{Rounds: 1, OnShortage: 9}
	_, err = rl.NewTrainer(c)
	require.ErrorContains(t, err, "OnShortage is rl.Shortage(9), want fill, train, repeat or fail")
	c.Dynamic = rl.DynamicSampling{Rounds: 1, Filter: rl.DropConstant{Reward: -1}}
	_, err = rl.NewTrainer(c)
	require.ErrorContains(t, err, "rl: DynamicSampling.Filter: rl: DropConstant.Reward is -1")
}

func TestAProblemDrawnAgainGetsOtherSamples(t *testing.T) {
	e := policytest.NewTablePolicy(200, func(int32) string { return "x" }, -1)
	again := func(context.Context) (rl.Problem, error) { return &scripted{}, nil }
	sample := func() []int32 {
		r, err := rl.CollectLive(t.Context(), e, again, 2, rloo, rl.DynamicSampling{Rounds: 3, OnShortage: rl.ShortageTrain}, [2]uint64{1, 2})
		require.NoError(t, err)
		var tokens []int32
		for _, g := range r.Sampled().Groups {
			for _, c := range g {
				tokens = append(tokens, c.Tokens...)
			}
		}
		return tokens
	}
	first := sample()
	require.Len(t, first, 12)
	require.Equal(t, first, sample(), "the same streams")
	for i := 2; i < 12; i += 2 {
		require.NotEqual(t, first[:2], first[i:i+2])
	}
}

func TestRepeatedGroupsAreCreditedApart(t *testing.T) {
	e := policytest.NewTablePolicy(3, nil, -1)
	r, err := rl.CollectLive(t.Context(), e, script("lr"), 2, rloo, rl.DynamicSampling{Rounds: 1, OnShortage: rl.ShortageRepeat}, [2]uint64{})
	require.NoError(t, err)
	for range 2 { // a second pass overwrites advantages in place
		_, err = r.Assign(advantage.PerGroup(advantage.RLOO{}), sam.Outcome{})
		require.NoError(t, err)
	}
	require.Equal(t, r.Groups[0], r.Groups[1])
	r.Groups[1][0].Adv[0] = 99
	require.Equal(t, -1.0, r.Groups[0][0].Adv[0])
}

// sourceOf is a source that cannot be saved.
type sourceOf func(context.Context) (rl.Problem, error)

func (f sourceOf) Next(ctx context.Context) (rl.Problem, error) { return f(ctx) }
func (sourceOf) State() ([]byte, error)                         { return nil, nil }
func (sourceOf) Restore([]byte) error                           { return nil }

func TestATrainerWithDynamicSamplingReportsAllThatItSampled(t *testing.T) {
	c, _ := setup()
	c.Source = sourceOf(script("rlwrlwl"))
	c.Batching = rl.Batching{Prompts: 3, GroupSize: 2}
	c.Dynamic.Rounds = 9
	c.OnRollouts = func(_ int64, r *rl.Rollouts) error {
		require.Equal(t, []string{"l1", "l4", "l6"}, names(r))
		return nil
	}
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	m, err := tr.Step(t.Context())
	require.NoError(t, err)
	for name, want := range map[string]float64{
		"dynamic/rounds": 4, "dynamic/sampled": 7, "dynamic/missing": 0,
		"dynamic/dropped/constant_1": 2, "dynamic/dropped/constant_0": 2,
		"group/live": 3. / 7, "reward/0": (2*2 + 3) / 14., "tokens": 14,
	} {
		require.InDelta(t, want, m[name], 1e-15, name)
	}
	_, err = tr.Step(t.Context())
	require.Equal(t, io.EOF, err)
}

func TestATrainerTakesFewerLiveGroupsThanMiniBatches(t *testing.T) {
	for problems, steps := range map[string]float64{"rwwr": 0, "rlwr": 1, "rlwl": 2, "llll": 2} {
		c, _ := setup()
		c.Source = sourceOf(script(problems))
		c.Batching = rl.Batching{Prompts: 4, MiniBatches: 2}
		c.Dynamic = rl.DynamicSampling{Rounds: 1, OnShortage: rl.ShortageTrain}
		tr, err := rl.NewTrainer(c)
		require.NoError(t, err)
		m, err := tr.Step(t.Context())
		require.NoError(t, err)
		require.Equal(t, steps, m["optimizer_steps"], problems)
	}
}

func TestDynamicSamplingResumesBitForBit(t *testing.T) {
	train := func(steps int64, from []byte, p *policytest.TablePolicy) []byte {
		c, _ := setup()
		c.Policy, c.Engine, c.Steps = p, p, steps
		c.Dynamic.Rounds = 3
		c.Batching.GroupSize = 0
		c.Source = &rl.SliceSource{Problems: problems(2), Seed: 1}
		tr, err := rl.NewTrainer(c)
		require.NoError(t, err)
		if from != nil {
			require.NoError(t, tr.Restore(t.Context(), from))
		}
		require.NoError(t, tr.Run(t.Context()))
		saved, err := tr.Save(t.Context(), fmt.Sprint(steps))
		require.NoError(t, err)
		return saved
	}
	_, whole := setup()
	want := train(9, nil, whole)
	_, parts := setup()
	got := train(9, train(4, nil, parts), parts)
	require.Equal(t, logits(whole), logits(parts))
	require.Equal(t, want, got)
}

// watching is a source that notes what it is shown.
type watching struct {
	sourceOf
	seen []string
	err  error
}

func (w *watching) Observe(problems []rl.Problem, groups []rollout.Group) error {
	w.seen = append(w.seen, names(&rl.Rollouts{Problems: problems, Groups: groups, Requests: requests(problems)})...)
	return w.err
}

func requests(problems []rl.Problem) (out []rollout.Request) {
	for _, p := range problems {
		q, err := p.Request()
		if err != nil {
			panic(err)
		}
		out = append(out, q)
	}
	return out
}

func TestTheSourceObservesWhatWasSampled(t *testing.T) {
	c, _ := setup()
	w := &watching{sourceOf: script("rlwllll")}
	c.Source, c.Batching = w, rl.Batching{Prompts: 2}
	c.Dynamic = rl.DynamicSampling{Rounds: 9, Oversample: 1.5}
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	_, err = tr.Step(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"r0", "l1", "w2", "l3", "l4"}, w.seen)

	c.Dynamic = rl.DynamicSampling{}
	w.seen, w.err = nil, errors.New("full")
	_, err = tr.Step(t.Context())
	require.ErrorIs(t, err, w.err)
}

// A group whose samples have all failed does not fill a collection up.
func TestAFailedGroupFillsNothingUp(t *testing.T) {
	e := tampered{policytest.NewTablePolicy(3, nil, -1), func(c rollout.Completion, emit func(rollout.Completion) error) error {
		if c.Request == 0 {
			c = rollout.Completion{Request: c.Request, Index: c.Index, Err: errors.New("lost")}
		}
		return emit(c)
	}}
	r, err := rl.CollectLive(t.Context(), e, script("rwl"), 2, rloo, rl.DynamicSampling{Rounds: 1, Oversample: 1.5}, [2]uint64{})
	require.NoError(t, err)
	require.Equal(t, []string{"w1", "l2"}, []string{r.Requests[0].ID, r.Requests[1].ID})
}
