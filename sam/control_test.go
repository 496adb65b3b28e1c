package sam_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// judgedBatch makes groups of eight completions of two inner steps and a last one, two
// tokens each. Every third answer is wrong, and about a fifth of the inner steps.
func judgedBatch(t *testing.T, groups int) []rollout.Group {
	batch, n := make([]rollout.Group, groups), 0
	for g := range batch {
		batch[g] = make(rollout.Group, 8)
		for i := range batch[g] {
			c := &batch[g][i]
			c.Tokens, c.Rewards = make([]int32, 6), []float64{number(i%3 != 0)}
			for k := range 3 {
				s := rollout.Step{Name: fmt.Sprint(k), Start: 2 * k, End: 2*k + 2, Verdict: rollout.VerdictCorrect, Reward: 1, Final: k == 2}
				if n++; n%5 == 0 && !s.Final {
					s.Verdict, s.Reward = rollout.VerdictIncorrect, 0
				}
				c.Steps = append(c.Steps, s)
			}
		}
	}
	batch[0][1].Steps[0].Verdict = rollout.VerdictBroken
	require.NoError(t, estimator.Estimate(batch))
	return batch
}

// spy is outcome credit that looks at what it gets.
type spy struct{ look func(batch []rollout.Group) }

func (spy) Validate() error { return nil }

func (s spy) Assign(batch []rollout.Group) (sam.Stats, error) {
	s.look(batch)
	return sam.Outcome{}.Assign(batch)
}

// The credit sees the verdicts of each step as often as they are, but elsewhere; a broken
// step keeps its own. Afterwards all are back in their places.
func TestPermuted(t *testing.T) {
	batch, before := judgedBatch(t, 40), judgedBatch(t, 40)
	moved := 0
	p := sam.Permuted{Rand: rand.New(rand.NewPCG(1, 2)), Credit: spy{func(batch []rollout.Group) {
		for g := range batch {
			for k := range 3 {
				was, is := 0.0, 0.0
				for i := range batch[g] {
					s, old := batch[g][i].Steps[k], before[g][i].Steps[k]
					was, is = was+old.Reward, is+s.Reward
					if s.Verdict != old.Verdict {
						moved++
					}
					if s.Verdict != rollout.VerdictBroken {
						require.Equal(t, number(s.Verdict == rollout.VerdictCorrect), s.Reward, "verdict and reward go together")
					}
				}
				require.Equal(t, was, is)
			}
		}
		require.Equal(t, rollout.VerdictBroken, batch[0][1].Steps[0].Verdict)
	}}}
	require.NoError(t, p.Validate())
	_, err := p.Assign(batch)
	require.NoError(t, err)
	require.Greater(t, moved, 100)
	require.Equal(t, before, batch)
	require.Error(t, sam.Permuted{Credit: sam.Mask{}}.Validate())
	require.Error(t, sam.Permuted{Rand: p.Rand}.Validate())
}

// Within its own inner steps a completion keeps its number of right ones, and which they are
// changes; the last step and broken ones keep their verdicts.
func TestPermutedWithin(t *testing.T) {
	batch, before := judgedBatch(t, 40), judgedBatch(t, 40)
	mixed, moved := 0, 0
	p := sam.Permuted{Within: true, Rand: rand.New(rand.NewPCG(1, 2)), Credit: spy{func(batch []rollout.Group) {
		for g := range batch {
			for i := range batch[g] {
				is, was := batch[g][i].Steps, before[g][i].Steps
				require.Equal(t, was[2], is[2])
				require.Equal(t, was[0].Reward+was[1].Reward, is[0].Reward+is[1].Reward)
				if was[0].Verdict != was[1].Verdict {
					mixed++
				}
				if is[0].Verdict != was[0].Verdict {
					moved++
					require.Equal(t, was[0].Verdict, is[1].Verdict)
					require.Equal(t, was[0].Reward, is[1].Reward)
				}
			}
		}
		require.Equal(t, before[0][1].Steps, batch[0][1].Steps, "of two inner steps one is broken")
	}}}
	_, err := p.Assign(batch)
	require.NoError(t, err)
	require.InDelta(t, .5, float64(moved)/float64(mixed), .1, "two steps change places half of the time")
	require.Equal(t, before, batch)
}

// As many tokens are masked as by the mask, whatever the verdicts of the steps, and never
// the last step's.
func TestRandomMask(t *testing.T) {
	counts := func(c sam.Credit) (masked int, wrong float64) {
		batch := judgedBatch(t, 300)
		stats, err := c.Assign(batch)
		require.NoError(t, err)
		require.Zero(t, stats.Steps["2"].Masked)
		all := 0
		for _, g := range batch {
			for i := range g {
				for _, s := range g[i].Steps {
					if !s.Final && !g[i].Keep[s.Start] {
						all++
						if s.Verdict.Wrong() {
							wrong++
						}
					}
				}
			}
		}
		return stats.Steps["0"].Masked + stats.Steps["1"].Masked, wrong / float64(all)
	}
	r := sam.RandomMask{Rand: rand.New(rand.NewPCG(1, 2))}
	require.NoError(t, r.Validate())
	want, _ := counts(sam.Mask{})
	got, wrong := counts(r)
	require.InEpsilon(t, want, got, .05)
	require.InDelta(t, .2, wrong, .03)
	require.Error(t, sam.RandomMask{}.Validate())
}

// Dynamic sampling may repeat a group, whose copy shares the steps (rl.ShortageRepeat).
func TestPermutedPutsSharedStepsBack(t *testing.T) {
	batch, before := judgedBatch(t, 1), judgedBatch(t, 1)
	batch = append(batch, slices.Clone(batch[0]))
	_, err := sam.Permuted{Credit: sam.Outcome{}, Rand: rand.New(rand.NewPCG(1, 2))}.Assign(batch)
	require.NoError(t, err)
	for i := range before[0] {
		require.Equal(t, before[0][i].Steps, batch[0][i].Steps)
	}
}
