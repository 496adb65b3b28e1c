package rl_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

func run(t *testing.T, c rl.Config) {
	t.Helper()
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.NoError(t, tr.Run(t.Context()))
}

func TestTrainingRaisesTheReward(t *testing.T) {
	// A uniform table has 0.2. The bigram has other fixed points in which the
	// first token is wrong and the second right for some prompts; only step
	// credit tells them from the solution.
	for _, c := range []struct {
		name   string
		credit sam.Credit
		least  float64
	}{{"outcome", sam.Outcome{}, 0.5}, {"mask", sam.Mask{}, 0.9}} {
		t.Run(c.name, func(t *testing.T) {
			config, p := setup()
			config.Credit, config.Steps = c.credit, 150
			run(t, config)
			r, m, err := rl.EvaluateProblems(t.Context(), p, problems(64), 5)
			require.NoError(t, err)
			require.Greater(t, m["reward/0"], c.least)
			require.Len(t, r.Groups, vocab)
		})
	}
}

func TestResumeContinuesBitForBit(t *testing.T) {
	record := func(c *rl.Config) *[]map[string]float64 {
		var all []map[string]float64
		c.Recorder = rl.RecorderFunc(func(_ int64, m map[string]float64) error {
			m = maps.Clone(m)
			delete(m, "time/collect_s")
			delete(m, "time/update_s")
			all = append(all, m)
			return nil
		})
		return &all
	}
	for name, change := range map[string]func(*rl.Config){
		"plain": func(*rl.Config) {},
		"distillation": func(c *rl.Config) {
			teacher := wise()
			c.Engine = &rl.MixedEngine{Policy: c.Engine, Given: teacher, Lambda: .5}
			c.Objective = objective.JSD{Beta: .5}
			c.Teacher = &rl.Teacher{LogProber: teacher, K: 2, Candidates: rl.CandidatesUnion}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, p := setup()
			c.Batching.MiniBatches, c.Batching.Epochs = 2, 2
			change(&c)
			whole := record(&c)
			var saved []byte
			c.CheckpointEvery = 3
			c.Checkpoint = func(ctx context.Context, t *rl.Trainer) (err error) {
				if t.Steps() == 3 {
					saved, err = t.Save(ctx, "at 3")
				}
				return err
			}
			run(t, c)
			want := logits(p)

			c.Checkpoint, c.CheckpointEvery = nil, 0
			c.Source = &rl.SliceSource{Problems: problems(8), Seed: 1}
			rest := record(&c)
			tr, err := rl.NewTrainer(c)
			require.NoError(t, err)
			require.NoError(t, tr.Restore(t.Context(), saved))
			require.EqualValues(t, 3, tr.Steps())
			require.NoError(t, tr.Run(t.Context()))
			require.Equal(t, want, logits(p))
			require.Equal(t, (*whole)[3:], *rest)
		})
	}
}

// The last training step is saved too, once; running a finished run saves nothing.
func TestRunSavesItsLastStep(t *testing.T) {
	for _, test := range []struct {
		steps int64
		want  []int64
	}{{3, []int64{3}}, {5, []int64{3, 5}}, {6, []int64{3, 6}}} {
		c, _ := setup()
		var saved []int64
		c.Steps, c.CheckpointEvery = test.steps, 3
		c.Checkpoint = func(_ context.Context, t *rl.Trainer) error {
			saved = append(saved, t.Steps())
			return nil
		}
		tr, err := rl.NewTrainer(c)
		require.NoError(t, err)
		require.NoError(t, tr.Run(t.Context()))
		require.Equal(t, test.want, saved)
		require.NoError(t, tr.Run(t.Context()))
		require.Equal(t, test.want, saved)
	}
}

// A step whose evaluation fails has been trained on: going on saves it.
func TestRunSavesAStepWhoseEvalFailed(t *testing.T) {
	c, _ := setup()
	fail := errors.New("no eval today")
	c.Steps, c.EvalEvery, c.CheckpointEvery = 2, 2, 1
	c.Eval = func(context.Context, int64) (map[string]float64, error) { return nil, fail }
	saved := int64(0)
	c.Checkpoint = func(_ context.Context, t *rl.Trainer) error {
		saved = t.Steps()
		return nil
	}
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.ErrorIs(t, tr.Run(t.Context()), fail)
	require.EqualValues(t, 1, saved)
	require.NoError(t, tr.Run(t.Context()))
	require.EqualValues(t, 2, saved)
}

func TestAccumulationChangesNoNumber(t *testing.T) {
	var got [][]float64
	for _, n := range []int{1, 2, 4} {
		c, p := setup()
		c.Batching.Accumulate = n
		run(t, c)
		got = append(got, logits(p))
	}
	require.InDeltaSlice(t, got[0], got[1], 1e-12)
	require.InDeltaSlice(t, got[0], got[2], 1e-12)
}

func TestInnerEpochsUseTheLogProbsBeforeTheFirst(t *testing.T) {
	for _, trust := range []bool{false, true} {
		c, _ := setup()
		c.Batching.Epochs, c.TrustRollout, c.Steps = 3, trust, 1
		spy := &ratios{Objective: c.Objective}
		c.Objective = spy
		run(t, c)
		require.Len(t, spy.old, 3)
		require.InDelta(t, 0, spy.diff[0], 1e-12, "first epoch: on policy")
		require.Greater(t, spy.diff[1], 1e-3, "later epochs: off it")
		require.Equal(t, spy.old[0], spy.old[2], "Old does not move")
	}
}

// ratios notes, per epoch, the first sequence's Old and its largest |log-ratio|.
type ratios struct {
	objective.Objective
	n    int
	old  [][]float64
	diff []float64
}

func (r *ratios) Eval(s *objective.Sequence, m objective.Metrics) (float64, error) {
	if r.n%32 == 0 {
		r.old = append(r.old, append([]float64(nil), s.Old...))
		r.diff = append(r.diff, 0)
	}
	r.n++
	for t := range s.LogP {
		r.diff[len(r.diff)-1] = max(r.diff[len(r.diff)-1], math.Abs(s.LogP[t]-s.Old[t]))
	}
	return r.Objective.Eval(s, m)
}

func TestRunEndsWithTheSource(t *testing.T) {
	c, _ := setup()
	c.Source, c.Steps = &rl.SliceSource{Problems: problems(8), Epochs: 2}, 0
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.NoError(t, tr.Run(t.Context()))
	require.EqualValues(t, 2, tr.Steps(), "10 problems make two collections of 4")
}

func TestAMiniBatchWithoutLiveTokensIsSkipped(t *testing.T) {
	c, p := setup() // every completion of the table ends at its length limit
	c.ExcludeTruncated = true
	before := logits(p)
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	m, err := tr.Step(t.Context())
	require.NoError(t, err)
	require.Zero(t, m["optimizer_steps"])
	require.NotContains(t, m, "loss", "nothing was computed")
	require.NotContains(t, m, "grad_norm")
	require.Equal(t, before, logits(p))
}

// Samples that the engine loses take their mini-batch with them, and the run
// only if there is nothing left at all.
func TestFailedSamplesLeaveTheRestToTrainOn(t *testing.T) {
	lost := errors.New("connection lost")
	engine := func(p rollout.Engine, lose func(c *rollout.Completion) bool) rollout.Engine {
		return tampered{p, func(c rollout.Completion, emit func(rollout.Completion) error) error {
			if lose(&c) {
				c = rollout.Completion{Request: c.Request, Index: c.Index, Err: lost}
			}
			return emit(c)
		}}
	}
	c, p := setup()
	c.Batching.MiniBatches = 4
	c.Engine = engine(p, func(c *rollout.Completion) bool { return c.Request == 1 })
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	m, err := tr.Step(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 8, m["failed"])
	require.EqualValues(t, 3, m["optimizer_steps"])

	c.Engine = engine(p, func(*rollout.Completion) bool { return true })
	tr, err = rl.NewTrainer(c)
	require.NoError(t, err)
	_, err = tr.Step(t.Context())
	require.ErrorIs(t, err, lost)
	require.ErrorContains(t, err, "all 32 samples of training step 1 failed")
}

// A run that is stopped says how far it came, and from where it will go on: what came
// after the last checkpoint is done again.
func TestRunSaysWhereItStopped(t *testing.T) {
	var saved []byte
	stopping := func(at int64) (rl.Config, context.Context) {
		ctx, cancel := context.WithCancel(t.Context())
		c, _ := setup()
		c.CheckpointEvery = 4
		c.Checkpoint = func(ctx context.Context, tr *rl.Trainer) (err error) {
			saved, err = tr.Save(ctx, "state")
			return err
		}
		c.OnRollouts = func(step int64, _ *rl.Rollouts) error {
			if step == at {
				cancel()
			}
			return ctx.Err()
		}
		return c, ctx
	}
	run := func(c rl.Config, ctx context.Context, from []byte) error {
		tr, err := rl.NewTrainer(c)
		require.NoError(t, err)
		if from != nil {
			require.NoError(t, tr.Restore(t.Context(), from))
		}
		err = tr.Run(ctx)
		require.ErrorIs(t, err, context.Canceled)
		return err
	}
	c, ctx := stopping(3)
	require.EqualError(t, run(c, ctx, nil), "rl: stopped after training step 2; resumed, the run goes on after step 0: rl: OnRollouts of training step 3: context canceled")
	c, ctx = stopping(6)
	require.EqualError(t, run(c, ctx, nil), "rl: stopped after training step 5; resumed, the run goes on after step 4: rl: OnRollouts of training step 6: context canceled")
	require.EqualError(t, run(c, ctx, saved), "rl: stopped after training step 4; resumed, the run goes on after step 4: context canceled")
	c, ctx = stopping(6)
	c.Checkpoint, c.CheckpointEvery = nil, 0
	require.EqualError(t, run(c, ctx, nil), "rl: stopped after training step 5: rl: OnRollouts of training step 6: context canceled")
}

// A state saved after an interrupted step would skip that step's problems.
func TestSaveRefusesAfterAnInterruptedStep(t *testing.T) {
	c, p := setup()
	ctx, cancel := context.WithCancel(t.Context())
	interrupted := true
	c.Engine = tampered{p, func(c rollout.Completion, emit func(rollout.Completion) error) error {
		if interrupted {
			cancel()
		}
		return emit(c)
	}}
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	start, err := tr.Save(t.Context(), "start")
	require.NoError(t, err)
	_, err = tr.Step(ctx)
	require.ErrorIs(t, err, context.Canceled)
	_, err = tr.Save(t.Context(), "midway")
	require.ErrorIs(t, err, rl.ErrMidway)

	require.NoError(t, tr.Restore(t.Context(), start))
	again, err := tr.Save(t.Context(), "start")
	require.NoError(t, err)
	require.JSONEq(t, string(start), string(again))

	_, err = tr.Step(ctx)
	require.Error(t, err, "the context was done before: nothing happened")
	_, err = tr.Save(t.Context(), "again")
	require.NoError(t, err)
	interrupted = false
	_, err = tr.Step(t.Context())
	require.NoError(t, err)
	_, err = tr.Save(t.Context(), "after")
	require.NoError(t, err)
}

func TestEvalIsRecordedAndItsErrorEndsTheRun(t *testing.T) {
	c, p := setup()
	c.EvalEvery = 4
	c.Eval = func(ctx context.Context, step int64) (map[string]float64, error) {
		_, m, err := rl.EvaluateProblems(ctx, p, problems(4), 9)
		return m, err
	}
	var with []int64
	c.Recorder = rl.RecorderFunc(func(step int64, m map[string]float64) error {
		if _, ok := m["eval/reward/0"]; ok {
			with = append(with, step)
		}
		return nil
	})
	run(t, c)
	require.Equal(t, []int64{4, 8}, with)

	broken := errors.New("no eval today")
	c.Eval = func(context.Context, int64) (map[string]float64, error) { return nil, broken }
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.ErrorIs(t, tr.Run(t.Context()), broken)
}

func TestRestoreRefusesForeignState(t *testing.T) {
	c, _ := setup()
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	for _, bad := range []string{"", "{}", `{"format":1,"step":-1}`, `{"format":1,"policy":"never saved"}`} {
		require.Error(t, tr.Restore(t.Context(), []byte(bad)), bad)
	}
	saved, err := tr.Save(t.Context(), "x")
	require.NoError(t, err)
	c.Source = &rl.SliceSource{Problems: problems(8)[:2]}
	other, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.ErrorContains(t, other.Restore(t.Context(), saved), "5 problems")
}

func TestKLInTheRewardHoldsThePolicyBack(t *testing.T) {
	drift := func(beta float64) float64 {
		c, p := setup()
		reference := policytest.NewTablePolicy(vocab, nil, -1)
		reference.Randomize(3, 0.1) // where the policy starts
		c.Reference, c.RewardKL = reference, &objective.RewardKL{Estimator: objective.K1, Beta: beta}
		c.Steps = 60
		run(t, c)
		d := 0.0
		start := logits(reference)
		for i, w := range logits(p) {
			d += (w - start[i]) * (w - start[i])
		}
		return d
	}
	free, held := drift(0), drift(0.5)
	require.Less(t, held, free/2)
}

// counting counts the completions whose log-probs it computes.
type counting struct {
	*policytest.TablePolicy
	computed int
}

func (c *counting) LogProbs(ctx context.Context, b *rl.Batch, dst [][]float64) error {
	c.computed += len(b.Samples)
	return c.TablePolicy.LogProbs(ctx, b, dst)
}

// The penalty in the reward, the KL term and the ratios of the second epoch need
// the same log-probs.
func TestLogProbsAreComputedOnce(t *testing.T) {
	c, p := setup()
	policy := &counting{TablePolicy: p}
	reference := &counting{TablePolicy: policytest.NewTablePolicy(vocab, nil, -1)}
	c.Policy, c.Reference = policy, reference
	c.RewardKL = &objective.RewardKL{Estimator: objective.K1, Beta: 0.1}
	c.Objective = objective.Terms{c.Objective, objective.KL{Estimator: objective.K3, Beta: 0.1}}
	c.Batching.Epochs, c.Batching.MiniBatches = 2, 2
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	_, err = tr.Step(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int{32, 32}, []int{policy.computed, reference.computed}, "completions")
}

// With an estimator that folds the penalty into the rewards, a group of equal
// rewards is live: filter, metric and estimator say the same.
func TestAFoldedPenaltyKeepsAGroupAlive(t *testing.T) {
	c, _ := setup()
	reference := policytest.NewTablePolicy(vocab, nil, -1)
	reference.Randomize(9, 1)
	c.Reference, c.RewardKL = reference, &objective.RewardKL{Estimator: objective.K1, Beta: 0.1}
	c.Estimator = advantage.GroupEstimator{Norm: advantage.RLOO{}, Combine: advantage.Combine{FoldShaping: true}}
	c.Source, c.Batching = sourceOf(script("rrr")), rl.Batching{Prompts: 2}
	c.Dynamic = rl.DynamicSampling{Rounds: 1, OnShortage: rl.ShortageTrain}
	c.OnRollouts = func(_ int64, r *rl.Rollouts) error {
		for _, g := range r.Groups {
			require.Equal(t, g[0].Tokens[0] != g[1].Tokens[0], g.HasAdvantage())
			require.Equal(t, g.HasAdvantage(), c.Estimator.Dead(g) == "")
		}
		return nil
	}
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	m, err := tr.Step(t.Context())
	require.NoError(t, err)
	require.Positive(t, m["group/live"])
}

func TestAdaptiveKLMovesBetaAndIsSaved(t *testing.T) {
	c, _ := setup()
	reference := policytest.NewTablePolicy(vocab, nil, -1)
	c.Reference, c.RewardKL = reference, &objective.RewardKL{Estimator: objective.K3} // never negative
	c.AdaptiveKL = &objective.AdaptiveKL{Beta: 0.1, Target: 1e-6, Horizon: 100}
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.NoError(t, tr.Run(t.Context()))
	beta := c.AdaptiveKL.Beta
	require.Greater(t, beta, 0.1, "the divergence is over its target")
	saved, err := tr.Save(t.Context(), "x")
	require.NoError(t, err)
	c.AdaptiveKL.Beta = 9
	require.NoError(t, tr.Restore(t.Context(), saved))
	require.Equal(t, beta, c.AdaptiveKL.Beta)

	c.Reference = nil
	_, err = rl.NewTrainer(c)
	require.ErrorContains(t, err, "Config.Reference")
}

func TestEngineMismatchIsMeasured(t *testing.T) {
	c, p := setup()
	mismatch := func() (mean, over float64) {
		tr, err := rl.NewTrainer(c)
		require.NoError(t, err)
		m, err := tr.Step(t.Context())
		require.NoError(t, err)
		return m["objective/engine_mismatch"], m["objective/engine_mismatch_over_01"]
	}
	mean, over := mismatch()
	require.Less(t, mean, 1e-12)
	require.Zero(t, over)

	c.Engine = tampered{p, func(c rollout.Completion, emit func(rollout.Completion) error) error {
		c.LogP[0] -= 0.5 // of two tokens
		return emit(c)
	}}
	mean, over = mismatch()
	require.InDelta(t, 0.25, mean, 1e-12)
	require.InDelta(t, 0.5, over, 1e-12)
}

// unscorable is a problem whose every second completion no rule can score.
type unscorable struct{ successor }

func (u unscorable) RewardNames() []string { return []string{"right"} }

func (u unscorable) Judge(ctx context.Context, c *rollout.Completion) error {
	err := u.successor.Judge(ctx, c)
	if c.Index%2 == 1 {
		c.Rewards[0] = math.NaN()
	}
	return err
}

func TestUnscorableCompletionsAreNotTrainedOn(t *testing.T) {
	_, p := setup()
	r, err := rl.Collect(t.Context(), p, []rl.Problem{unscorable{successor{Prompt: 0, Vocab: vocab, Group: 8}}}, [2]uint64{})
	require.NoError(t, err)
	_, err = r.Assign(advantage.PerGroup(advantage.DrGRPO{}), sam.Outcome{})
	require.NoError(t, err)
	b := r.Batch()
	require.NoError(t, b.Weigh(objective.TokenMean{}))
	for i := range b.Samples {
		want := 1. / 8 // 4 completions of 2 tokens
		if i%2 == 1 {
			want = 0
		}
		require.Equal(t, []float64{want, want}, b.Samples[i].Weight)
	}
	require.Contains(t, rl.Summarize(r), "reward/right")
}

func TestASourceWithoutACollectionIsAnError(t *testing.T) {
	c, _ := setup()
	c.Source = &rl.SliceSource{Problems: problems(8)[:3], Epochs: 1}
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.ErrorContains(t, tr.Run(t.Context()), "fewer problems than the 4")
}

// Nor is the end of the source a training step that makes up for one that failed.
func TestSaveRefusesAtTheEndAfterAnInterruptedStep(t *testing.T) {
	c, p := setup()
	lost := errors.New("lost")
	c.Engine = tampered{p, func(rollout.Completion, func(rollout.Completion) error) error { return lost }}
	c.Source.(*rl.SliceSource).Epochs = 1 // a collection of four, and one problem
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	_, err = tr.Step(t.Context())
	require.ErrorIs(t, err, lost)
	_, err = tr.Step(t.Context())
	require.Equal(t, io.EOF, err)
	_, err = tr.Save(t.Context(), "end")
	require.ErrorIs(t, err, rl.ErrMidway)
}
