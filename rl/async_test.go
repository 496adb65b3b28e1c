package rl_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// oneAhead samples one collection ahead, with one version of the weights each.
var oneAhead = rl.Async{Staleness: 1}

// train runs c to its end and returns what it trained on.
func train(t testing.TB, c rl.Config) *trace {
	tr := follow(&c)
	trainer, err := rl.NewTrainer(c)
	require.NoError(t, err)
	require.NoError(t, trainer.Run(t.Context()))
	return tr
}

// TestOneAheadDoesNotDependOnTime: whatever takes how long, every collection but the
// first, and the first after a checkpoint, is sampled with weights of one version, one
// training step old. So the result is the same, bit for bit.
func TestOneAheadDoesNotDependOnTime(t *testing.T) {
	for _, every := range []int64{0, 3} {
		var want []float64
		for seed := range uint64(5) {
			synctest.Test(t, func(t *testing.T) {
				c, p, _ := asyncSetup(seed, oneAhead)
				stale := []float64{0, 1, 1, 1, 1, 1, 1, 1}
				if c.CheckpointEvery = every; every > 0 {
					c.Checkpoint = func(context.Context, *rl.Trainer) error { return nil }
					stale = []float64{0, 1, 1, 0, 1, 1, 0, 1}
				}
				tr := train(t, c)
				require.Equal(t, order(t, 8), tr.problems)
				require.Equal(t, stale, tr.staleness)
				for k, v := range tr.versions {
					at := int64(k) - int64(stale[k])
					require.Equal(t, [2]int64{at, at}, v)
				}
				if want == nil {
					want = logits(p.TablePolicy)
				}
				require.Equal(t, want, logits(p.TablePolicy))
			})
		}
	}
}

// TestOneAheadOverlaps: with samples of 10 s and updates of 10 s, n training steps
// take n+1 times 10 s and not 2n times.
func TestOneAheadOverlaps(t *testing.T) {
	for s, want := range map[int]time.Duration{0: 160 * time.Second, 1: 90 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			c, p, e := asyncSetup(0, rl.Async{Staleness: s})
			p.pace = func() time.Duration { return 10 * time.Second }
			e.pace = func([3]uint64, int) time.Duration { return 5 * time.Second } // of 2 tokens
			start := time.Now()
			tr := train(t, c)
			require.Equal(t, want, time.Since(start))
			if s > 0 {
				require.Equal(t, 10., tr.metrics[3]["async/collect_s"])
				require.Equal(t, 0., tr.metrics[3]["time/collect_s"])
			}
		})
	}
}

// TestTheBound checks, for any bound and any durations, that no collection is begun
// too early, that problems keep their order, and that every sample is trained on,
// dropped or failed, exactly once.
func TestTheBound(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		a := rl.Async{Staleness: rapid.IntRange(1, 5).Draw(r, "staleness")}
		a.Partial = a.Staleness > 1 || rapid.Bool().Draw(r, "partial")
		seed := rapid.Uint64().Draw(r, "seed")
		slow := rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Second}).Draw(r, "update")
		long := rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Second}).Draw(r, "sample")
		every := rapid.Int64Range(0, 6).Draw(r, "checkpoint every")
		failing := rapid.Bool().Draw(r, "failing")
		synctest.Test(t, func(t *testing.T) {
			c, p, e := asyncSetup(seed, a)
			if every > 0 {
				c.CheckpointEvery, c.Checkpoint = every, func(context.Context, *rl.Trainer) error { return nil }
			}
			random := rand.New(rand.NewPCG(seed, 2))
			p.pace = func() time.Duration { return time.Duration(random.Float64() * float64(slow)) }
			e.pace = func(q [3]uint64, i int) time.Duration {
				r := rand.New(rand.NewPCG(seed^q[1]<<20, q[2]<<20+uint64(i)))
				return time.Duration(r.ExpFloat64() * float64(long))
			}
			e.refresh = time.Second
			failed := 0
			if failing {
				e.fails = func(q [3]uint64, i int) error {
					if (q[1]+q[2]+uint64(i))%10 == 0 {
						return errors.New("out of luck")
					}
					return nil
				}
			}
			tr := follow(&c)
			e.began = func(step uint64) {
				done := tr.steps.Load()
				if ahead := int64(step) - done; ahead < 0 || ahead > int64(a.Staleness) {
					r.Errorf("collection %d is begun after %d training steps", step, done)
				}
			}
			trainer, err := rl.NewTrainer(c)
			assert.NoError(r, err)
			assert.NoError(r, trainer.Run(t.Context()))
			assert.Equal(r, order(t, 8), tr.problems)
			for k, m := range tr.metrics {
				assert.LessOrEqual(r, tr.staleness[k], float64(a.Staleness))
				assert.GreaterOrEqual(r, tr.versions[k][0], int64(k-a.Staleness))
				assert.Zero(r, m["async/dropped"])
				failed += int(m["failed"])
			}
			assert.Equal(r, 8*3*4, tr.trained+failed)
			assert.Equal(r, 8*3*4, e.ended)
		})
	})
}

// TestBackPressure: a slow engine makes the trainer wait, a slow trainer the engine,
// and the metrics say how long.
func TestBackPressure(t *testing.T) {
	last := func(update, token time.Duration, a rl.Async) (m map[string]float64) {
		synctest.Test(t, func(t *testing.T) {
			c, p, e := asyncSetup(0, a)
			c.Steps = 16
			p.pace = func() time.Duration { return update }
			e.pace = func([3]uint64, int) time.Duration { return token }
			e.refresh = time.Second
			tr := train(t, c)
			m = tr.metrics[8]
			require.Equal(t, m["async/refresh_s"], 1.)
		})
		return m
	}
	m := last(time.Second, 50*time.Second, oneAhead)
	require.Equal(t, 0., m["time/collect_s"], "it was waited for before the refresh")
	require.Equal(t, 99., m["async/drain_s"])
	require.Equal(t, 1., m["async/idle_s"], "the refresh")

	m = last(100*time.Second, time.Second, oneAhead)
	require.Equal(t, 0., m["time/collect_s"])
	require.Equal(t, 99., m["async/idle_s"], "2 of 101 seconds are sampling")
	require.Equal(t, []float64{0, 1}, []float64{m["async/ready"], m["async/collections"]})

	m = last(100*time.Second, time.Second, rl.Async{Staleness: 4, Partial: true})
	require.Equal(t, 99., m["async/idle_s"])
	require.Equal(t, []float64{3, 1, 12}, []float64{m["async/ready"], m["async/collections"], m["async/samples"]},
		"the fifth has just been begun")
	require.Equal(t, 4., m["async/staleness"])
	require.Equal(t, 0., m["async/mixed"])

	m = last(9*time.Second, 30*time.Second, rl.Async{Staleness: 4, Partial: true})
	require.Equal(t, 0., m["async/idle_s"])
	require.Equal(t, 1., m["async/mixed"])
	require.Equal(t, 0., m["async/drain_s"])
}

// TestStaleSamplesTeach: with samples that are 4 training steps old, and no two
// versions alike, the policy learns as from fresh ones.
func TestStaleSamplesTeach(t *testing.T) {
	for _, a := range []rl.Async{{}, oneAhead, {Staleness: 4, Partial: true}} {
		synctest.Test(t, func(t *testing.T) {
			c, p, e := asyncSetup(1, a)
			p.pace = func() time.Duration { return 10 * time.Second } // sampling is always ahead
			e.refresh = time.Second
			c.Steps = 200
			tr := train(t, c)
			require.Equal(t, float64(a.Staleness), tr.metrics[150]["async/staleness"])
			first, last := 0., 0.
			for k := range 10 {
				first += tr.metrics[k]["reward/0"] / 10
				last += tr.metrics[190+k]["reward/0"] / 10
			}
			t.Log(a, first, last)
			require.Less(t, first, 0.6)
			require.Greater(t, last, 0.9)
		})
	}
}

// TestAnEngineThatKeepsOldWeights: what it samples is dropped once it is older than
// the bound, and if nothing else is left the run ends.
func TestAnEngineThatKeepsOldWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, e := asyncSetup(0, oneAhead)
		e.lags = func(index int) int { return index % 2 } // every other server
		tr := train(t, c)
		require.Equal(t, order(t, 8), tr.problems)
		for k, m := range tr.metrics {
			dropped := 0.
			if k > 1 {
				dropped = 6
			}
			require.Equal(t, dropped, m["async/dropped"])
			require.Equal(t, 0., m["failed"])
		}
		require.Equal(t, []float64{0, 1, 1, 1, 1, 1, 1, 1}, tr.staleness)
		require.Equal(t, 2*12+6*6, tr.trained)
	})
	synctest.Test(t, func(t *testing.T) {
		c, _, e := asyncSetup(0, oneAhead)
		e.lags = func(int) int { return 1 }
		tr := follow(&c)
		trainer, err := rl.NewTrainer(c)
		require.NoError(t, err)
		require.EqualError(t, trainer.Run(t.Context()),
			"rl: all 12 completions of training step 3 are more than 1 training steps old: the engine does not take new weights")
		require.Equal(t, []float64{0, 1}, tr.staleness)
	})
	synctest.Test(t, func(t *testing.T) {
		c, p, _ := asyncSetup(0, oneAhead)
		trainer, err := rl.NewTrainer(c)
		require.NoError(t, err)
		c.Engine.(*fleet).began = func(step uint64) {
			if step == 2 {
				e := c.Engine.(*fleet)
				e.weights[len(e.weights)-1].Version += 100
			}
		}
		require.ErrorContains(t, trainer.Run(t.Context()), "was sampled with weights of version 101, but the engine was only given versions such as 1 and 2")
		_ = p
	})
}

// TestAfterStopTheSameProblemsAreSampled again.
func TestAfterStopTheSameProblemsAreSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, _ := asyncSetup(1, rl.Async{Staleness: 3, Partial: true})
		tr := follow(&c)
		trainer, err := rl.NewTrainer(c)
		require.NoError(t, err)
		for range 8 {
			_, err := trainer.Step(t.Context())
			require.NoError(t, err)
			trainer.Stop()
		}
		require.Equal(t, order(t, 8), tr.problems)
		require.Equal(t, make([]float64, 8), tr.staleness)
	})
}

// TestAnErrorOfEitherSideEndsBoth at once, and the next training step goes on with the
// problems that were not trained on.
func TestAnErrorOfEitherSideEndsBoth(t *testing.T) {
	never := func() time.Duration { return 1000 * time.Hour }
	broken := errors.New("broken")
	for _, a := range []rl.Async{oneAhead, {Staleness: 3, Partial: true}} {
		t.Run(fmt.Sprint(a), func(t *testing.T) {
			t.Run("engine", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, p, e := asyncSetup(0, a)
					trainer, err := rl.NewTrainer(c)
					require.NoError(t, err)
					pace := p.pace
					p.pace = never
					e.pace = func(q [3]uint64, i int) time.Duration { return time.Duration(1+q[1]) * time.Second }
					start, failing := time.Now(), true
					for _, p := range c.Source.(*rl.SliceSource).Problems {
						p.(*numbered).fail = func(c *rollout.Completion) error {
							if failing && time.Since(start) > 2*time.Second {
								return broken
							}
							return nil
						}
					}
					_, err = trainer.Step(t.Context())
					require.ErrorIs(t, err, broken)
					require.ErrorContains(t, err, "rl: sampling for training step 2: rl: judging sample")
					require.Less(t, time.Since(start), time.Minute)
					_, err = trainer.Save(t.Context(), "x")
					require.ErrorIs(t, err, rl.ErrMidway)
					failing, p.pace = false, pace
					_, err = trainer.Step(t.Context())
					require.NoError(t, err)
					trainer.Stop()
				})
			})
			t.Run("policy", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, p, e := asyncSetup(0, a)
					p.fail = broken
					e.pace = func(q [3]uint64, i int) time.Duration {
						if q[1] > 0 {
							return never()
						}
						return time.Second
					}
					trainer, err := rl.NewTrainer(c)
					require.NoError(t, err)
					_, err = trainer.Step(t.Context())
					require.ErrorIs(t, err, broken)
				}) // synctest finds goroutines that are left
			})
			t.Run("cancel", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, _, e := asyncSetup(0, a)
					e.pace = func([3]uint64, int) time.Duration { return never() }
					trainer, err := rl.NewTrainer(c)
					require.NoError(t, err)
					ctx, cancel := context.WithCancel(t.Context())
					time.AfterFunc(time.Second, cancel)
					start := time.Now()
					require.ErrorIs(t, trainer.Run(ctx), context.Canceled)
					require.Equal(t, time.Second, time.Since(start))
				})
			})
		})
	}
}

// A training step that failed between two optimiser steps has changed the policy: the next
// one samples with what it is now.
func TestAfterHalfATrainingStepTheWeightsAreHandedOver(t *testing.T) {
	for _, a := range []rl.Async{oneAhead, {Staleness: 3, Partial: true}} {
		synctest.Test(t, func(t *testing.T) {
			c, p, _ := asyncSetup(0, a)
			c.Batching.MiniBatches = 3
			tr := follow(&c)
			trainer, err := rl.NewTrainer(c)
			require.NoError(t, err)
			broken, passes := errors.New("broken"), 0
			pace := p.pace
			p.pace = func() time.Duration {
				if passes++; passes == 2 {
					p.fail = broken
				}
				return pace()
			}
			_, err = trainer.Step(t.Context())
			require.ErrorIs(t, err, broken)
			require.EqualValues(t, 1, p.version)
			p.fail = nil
			_, err = trainer.Step(t.Context())
			require.NoError(t, err)
			trainer.Stop()
			require.Equal(t, [][2]int64{{0, 0}, {1, 1}}, tr.versions)
		})
	}
}

// TestAsyncEndsWithTheSource and leaves nothing behind.
func TestAsyncEndsWithTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, _ := asyncSetup(0, rl.Async{Staleness: 4, Partial: true})
		c.Source.(*rl.SliceSource).Epochs, c.Steps = 2, 0 // 14 problems
		trainer, err := rl.NewTrainer(c)
		require.NoError(t, err)
		require.NoError(t, trainer.Run(t.Context()))
		require.EqualValues(t, 4, trainer.Steps())
		_, err = trainer.Step(t.Context())
		require.Equal(t, io.EOF, err)
	})
}

// TestAnEnginesEOFIsNoEndOfTheSource: a connection that breaks must not end a run as
// if all problems had been trained on.
func TestAnEnginesEOFIsNoEndOfTheSource(t *testing.T) {
	for _, broken := range []error{io.EOF, fmt.Errorf("reading the answer: %w", io.EOF)} {
		for _, a := range []rl.Async{{}, oneAhead} {
			synctest.Test(t, func(t *testing.T) {
				c, _, e := asyncSetup(0, a)
				e.breaks = func(step uint64) error {
					if step == 2 {
						return broken
					}
					return nil
				}
				trainer, err := rl.NewTrainer(c)
				require.NoError(t, err)
				require.ErrorIs(t, trainer.Run(t.Context()), io.EOF)
				require.Less(t, trainer.Steps(), int64(3))
			})
		}
	}
}

// cutShort yields so many problems of its source, and then what then says.
type cutShort struct {
	rl.Source
	left int
	then func() (rl.Problem, error)
}

func (s *cutShort) Next(ctx context.Context) (rl.Problem, error) {
	if s.left == 0 {
		return s.then()
	}
	s.left--
	return s.Source.Next(ctx)
}

// unreadable is a problem whose data end too early.
type unreadable struct{ rl.Problem }

func (unreadable) Request() (rollout.Request, error) {
	return rollout.Request{ID: "torn"}, fmt.Errorf("reading the note: %w", io.EOF)
}

// TestOnlyEOFItselfIsTheEndOfTheSource: a file that ends too early, behind a source or a
// problem, must not end a run as if all problems had been trained on.
func TestOnlyEOFItselfIsTheEndOfTheSource(t *testing.T) {
	for want, then := range map[string]func() (rl.Problem, error){
		"reading shard 2":                  func() (rl.Problem, error) { return nil, fmt.Errorf("reading shard 2: %w", io.EOF) },
		`problem "torn": reading the note`: func() (rl.Problem, error) { return unreadable{}, nil },
	} {
		for _, a := range []rl.Async{{}, oneAhead} {
			synctest.Test(t, func(t *testing.T) {
				c, _, _ := asyncSetup(0, a)
				c.Source = &cutShort{c.Source, 7, then}
				trainer, err := rl.NewTrainer(c)
				require.NoError(t, err)
				require.ErrorContains(t, trainer.Run(t.Context()), want)
				_, err = trainer.Save(t.Context(), "x")
				require.ErrorIs(t, err, rl.ErrMidway)
			})
		}
	}
}

// TestStopForgetsWhatFailed: what will be sampled again has not failed.
func TestStopForgetsWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, e := asyncSetup(0, oneAhead)
		down := true
		e.breaks = func(step uint64) error {
			if step == 1 && down {
				time.Sleep(time.Hour)
				return errors.New("down")
			}
			return nil
		}
		trainer, err := rl.NewTrainer(c)
		require.NoError(t, err)
		_, err = trainer.Step(t.Context())
		require.NoError(t, err)
		saved, err := trainer.Save(t.Context(), "first")
		require.NoError(t, err)
		time.Sleep(2 * time.Hour) // the collection of the second training step fails
		down = false
		require.NoError(t, trainer.Restore(t.Context(), saved))
		_, err = trainer.Step(t.Context())
		require.NoError(t, err)
		trainer.Stop()
	})
}

// TestEvalSeesTheNewWeights while the next collections are sampled.
func TestEvalSeesTheNewWeights(t *testing.T) {
	for _, a := range []rl.Async{oneAhead, {Staleness: 2, Partial: true}} {
		synctest.Test(t, func(t *testing.T) {
			c, p, e := asyncSetup(0, a)
			c.EvalEvery = 2
			c.Eval = func(ctx context.Context, step int64) (map[string]float64, error) {
				r, m, err := rl.EvaluateProblems(ctx, e, problems(2), 9)
				require.NoError(t, err)
				for _, g := range r.Groups {
					require.Equal(t, [2]int64{step, step}, [2]int64{g[0].FirstVersion, g[0].LastVersion})
				}
				return m, nil
			}
			train(t, c)
			require.Len(t, e.weights, 9, "each version is handed over once")
			require.EqualValues(t, 8, p.version)
		})
	}
}

func TestAsyncIsRefusedByName(t *testing.T) {
	refuse := func(want string, a rl.Async, change func(*rl.Config)) {
		t.Helper()
		c, _, _ := asyncSetup(0, a)
		change(&c)
		_, err := rl.NewTrainer(c)
		require.ErrorContains(t, err, want)
	}
	same := func(*rl.Config) {}
	refuse("Async.Staleness is -1", rl.Async{Staleness: -1}, same)
	refuse("Staleness is 0, which turns it off", rl.Async{Partial: true}, same)
	refuse("Async.Staleness is 2, but without Partial", rl.Async{Staleness: 2}, same)
	refuse("needs a policy that is a Publisher, which *policytest.TablePolicy is not", oneAhead,
		func(c *rl.Config) { c.Policy = c.Policy.(*author).TablePolicy })
	refuse("needs an engine that is a rollout.Concurrent, with weights of its own, which *policytest.TablePolicy is not", oneAhead,
		func(c *rl.Config) { c.Engine = c.Policy.(*author).TablePolicy })
	refuse("Partial needs an engine that takes new weights while it samples, which this *rl_test.fleet does not", rl.Async{Staleness: 1, Partial: true},
		func(c *rl.Config) { c.Engine.(*fleet).rigid = true })
	refuse("the objective does not correct for stale samples", oneAhead,
		func(c *rl.Config) { c.Objective = objective.PPO{ClipLow: 0.2, ClipHigh: 0.2} })
	refuse("the objective does not correct for stale samples", oneAhead, func(c *rl.Config) { // a gate alone reweights nothing
		c.Objective = objective.Terms{objective.Gated{Objective: objective.PPO{ClipLow: 0.2, ClipHigh: 0.2}, MaxDrift: 0.5}}
	})
	refuse("Config.Async allows one round of dynamic sampling, not 2", oneAhead,
		func(c *rl.Config) { c.Dynamic.Rounds = 2 })
	refuse("excludes dynamic sampling with RewardKL and advantage.", oneAhead, func(c *rl.Config) {
		c.Dynamic.Rounds, c.Estimator = 1, advantage.ReinforcePP{Gamma: 1}
		c.Reference, c.RewardKL = c.Policy, &objective.RewardKL{Estimator: objective.K1, Beta: 0.1}
	})

	for _, change := range []func(*rl.Config){
		func(c *rl.Config) { c.Engine.(*fleet).rigid = true },
		func(c *rl.Config) {
			c.Objective = objective.FromRollout{Objective: objective.PPO{ClipLow: 0.2, ClipHigh: 0.2}}
		},
		func(c *rl.Config) {
			c.Objective = objective.Gated{Objective: c.Objective, MaxDrift: 0.5}
		},
		func(c *rl.Config) {
			c.Objective, c.TrustRollout, c.Batching.Epochs = objective.PPO{ClipLow: 0.2, ClipHigh: 0.2}, true, 2
		},
	} {
		c, _, _ := asyncSetup(0, oneAhead)
		change(&c)
		_, err := rl.NewTrainer(c)
		require.NoError(t, err)
	}
}

func TestAsyncAsJSON(t *testing.T) {
	a := rl.Async{Staleness: 4, Partial: true}
	text, err := json.Marshal(a)
	require.NoError(t, err)
	require.JSONEq(t, `{"staleness":4,"partial":true}`, string(text))
	var b rl.Async
	require.NoError(t, json.NewDecoder(strings.NewReader(string(text))).Decode(&b))
	require.Equal(t, a, b)
}
