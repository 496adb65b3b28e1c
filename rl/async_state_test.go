package rl_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/curriculum"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// TestACheckpointThatIsDueContinuesBitForBit, with an observer, dynamic sampling and
// an adapted penalty too.
func TestACheckpointThatIsDueContinuesBitForBit(t *testing.T) {
	for name, change := range map[string]func(*rl.Config){
		"plain": func(*rl.Config) {},
		"observer": func(c *rl.Config) {
			s, err := curriculum.New(c.Source.(rl.Lister).List(), curriculum.Options{Seed: 4})
			require.NoError(t, err)
			c.Source = s
		},
		"dynamic": func(c *rl.Config) { c.Dynamic = rl.DynamicSampling{Rounds: 1, Oversample: 1.4} },
		"kl": func(c *rl.Config) {
			c.Reference = c.Policy
			c.RewardKL = &objective.RewardKL{Estimator: objective.K1, Beta: 0.1}
			c.AdaptiveKL = &objective.AdaptiveKL{Beta: 0.1, Target: 0.1, Horizon: 100}
		},
		"teacher": func(c *rl.Config) {
			c.Objective = objective.Corrected{Objective: objective.ReverseKL{}, Max: 5}
			c.Teacher = &rl.Teacher{LogProber: wise(), K: 2, Candidates: rl.CandidatesPolicy}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var saved []byte
				c, p, _ := asyncSetup(3, oneAhead)
				change(&c)
				c.CheckpointEvery = 3
				c.Checkpoint = func(ctx context.Context, tr *rl.Trainer) (err error) {
					if tr.Steps() == 3 {
						saved, err = tr.Save(ctx, "due")
					}
					return err
				}
				whole := train(t, c)
				want := logits(p.TablePolicy)

				again, q, _ := asyncSetup(5, oneAhead) // other durations
				change(&again)
				again.CheckpointEvery, again.Checkpoint = 3, func(context.Context, *rl.Trainer) error { return nil }
				q.saved = p.saved
				q.TablePolicy = p.TablePolicy // whose memory has the checkpoint
				rest := follow(&again)
				trainer, err := rl.NewTrainer(again)
				require.NoError(t, err)
				require.NoError(t, trainer.Restore(t.Context(), saved))
				require.NoError(t, trainer.Run(t.Context()))
				require.Equal(t, whole.problems[9:], rest.problems)
				require.Equal(t, whole.versions[3:], rest.versions)
				require.Equal(t, want, logits(q.TablePolicy))
			})
		})
	}
}

// TestAStateSavedAtAnyTimeLosesNoProblem: a run that is stopped in the middle, and
// continued from its state, trains on the problems of a run that was not.
func TestAStateSavedAtAnyTimeLosesNoProblem(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		a := rl.Async{Staleness: rapid.IntRange(1, 4).Draw(r, "staleness"), Partial: true}
		before := rapid.IntRange(1, 7).Draw(r, "steps before")
		seed := rapid.Uint64().Draw(r, "seed")
		synctest.Test(t, func(t *testing.T) {
			c, p, _ := asyncSetup(seed, a)
			c.Source.(*rl.SliceSource).Epochs = 4 // 28 problems, 9 collections
			tr := follow(&c)
			trainer, err := rl.NewTrainer(c)
			assert.NoError(r, err)
			for range before {
				_, err := trainer.Step(t.Context())
				assert.NoError(r, err)
			}
			saved, err := trainer.Save(t.Context(), "any")
			assert.NoError(r, err)
			trainer.Stop()

			again, q, _ := asyncSetup(seed+1, a)
			again.Source.(*rl.SliceSource).Epochs, again.Steps = 4, 0
			q.saved, q.TablePolicy = p.saved, p.TablePolicy
			rest := follow(&again)
			trainer, err = rl.NewTrainer(again)
			assert.NoError(r, err)
			assert.NoError(r, trainer.Restore(t.Context(), saved))
			assert.NoError(r, trainer.Run(t.Context()))
			assert.Equal(r, order(t, 9), append(tr.problems, rest.problems...))
			assert.EqualValues(r, 9, trainer.Steps())
			assert.Zero(r, rest.staleness[0], "sampled again, with the weights of the state")
		})
	})
}

// TestAStateOfAnObserverDrawsTheSameProblems: the collection after it is the same,
// though the state lacks what the source has learned since it was drawn.
func TestAStateOfAnObserverDrawsTheSameProblems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setup := func() (rl.Config, *author, *trace) {
			c, p, _ := asyncSetup(1, rl.Async{Staleness: 3, Partial: true})
			s, err := curriculum.New(c.Source.(rl.Lister).List(), curriculum.Options{Seed: 4})
			require.NoError(t, err)
			c.Source = s
			return c, p, follow(&c)
		}
		step := func(trainer *rl.Trainer, n int) {
			for range n {
				_, err := trainer.Step(t.Context())
				require.NoError(t, err)
			}
		}
		c, p, tr := setup()
		trainer, err := rl.NewTrainer(c)
		require.NoError(t, err)
		step(trainer, 4)
		saved, err := trainer.Save(t.Context(), "any")
		require.NoError(t, err)
		step(trainer, 1)
		trainer.Stop()

		again, q, rest := setup()
		q.saved, q.TablePolicy = p.saved, p.TablePolicy
		trainer, err = rl.NewTrainer(again)
		require.NoError(t, err)
		require.NoError(t, trainer.Restore(t.Context(), saved))
		step(trainer, 1)
		trainer.Stop()
		require.Equal(t, tr.problems[12:], rest.problems)
	})
}
