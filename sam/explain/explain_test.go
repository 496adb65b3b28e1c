package explain_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
	"github.com/stepwise-rl/stepwise/sam/explain"
)

var rloo = advantage.PerGroup(advantage.RLOO{})

// The values of Mask under a leave-one-out baseline are those of its
// documentation, with a₊ = 1−p and a₋ = p.
func TestMaskValues(t *testing.T) {
	for _, p := range []float64{.2, .5, .9} {
		for _, n := range []int{2, 4} {
			s := explain.World{GroupSize: n, Steps: 2, Success: p, RightInRight: .7, RightInWrong: .4}
			r, err := explain.Credit(rloo, sam.Mask{LeakPositive: .25, LeakNegative: -.5}, s)
			require.NoError(t, err)
			for _, step := range r.Steps {
				got := make([]float64, 4)
				outcome := make([]float64, 4)
				prob := make([]float64, 4)
				for i, v := range step {
					got[i], outcome[i], prob[i] = v.Credit, v.Outcome, v.Prob
				}
				require.InDeltaSlice(t, []float64{1, p + .25*(1-p), 1.5 * p, 0}, got, 1e-12)
				require.InDeltaSlice(t, []float64{1, 1, 0, 0}, outcome, 1e-12)
				require.InDeltaSlice(t, []float64{p * .7, p * .3, (1 - p) * .4, (1 - p) * .6}, prob, 1e-12)
			}
		}
	}
}

func TestOtherValues(t *testing.T) {
	r, err := explain.Credit(rloo, sam.StepGroup{Norm: advantage.RLOO{}}, explain.Typical())
	require.NoError(t, err)
	for i, want := range []float64{1, 0, 1, 0} {
		require.InDelta(t, want, r.Steps[0][i].Credit, 1e-12)
	}
	r, err = explain.Credit(rloo, sam.Outcome{}, explain.Typical())
	require.NoError(t, err)
	for _, v := range r.Steps[1] {
		require.InDelta(t, 0, v.Bias(), 1e-12)
		// A = r − mean of three others: the variance is p(1−p)/3.
		require.InDelta(t, .25/3, v.Noise*v.Noise, 1e-12)
	}
}

// The probabilities of the groups add up to one.
func TestGroupsAreAll(t *testing.T) {
	types := []explain.Type{{Prob: .5}, {Prob: .2}, {Prob: .3}}
	sum, groups := 0.0, 0
	err := explain.Groups(types, 5, rloo, sam.Outcome{}, func(p float64, pick []int, g rollout.Group) {
		sum += p
		groups++
		require.Len(t, g, 5)
		require.IsNonDecreasing(t, pick)
	})
	require.NoError(t, err)
	require.InDelta(t, 1, sum, 1e-12)
	require.Equal(t, 21, groups)
}

func TestErrors(t *testing.T) {
	s := explain.Typical()
	s.GroupSize = 0
	_, err := explain.Credit(rloo, sam.Outcome{}, s)
	require.EqualError(t, err, "explain: World.GroupSize is 0 and World.Steps 2, want at least 1")
	s = explain.Typical()
	s.Success = 1
	_, err = explain.Credit(rloo, sam.Outcome{}, s)
	require.ErrorContains(t, err, "must be above 0 and below 1")
	s = explain.Typical()
	s.GroupSize = 64
	_, err = explain.Credit(rloo, sam.Outcome{}, s)
	require.ErrorContains(t, err, "groups of 64 out of 8 types, want at most 5000000")
	_, err = explain.Credit(rloo, sam.StepGroup{}, explain.Typical())
	require.EqualError(t, err, "explain: sam: StepGroup.Norm is nil, want a normaliser such as advantage.RLOO")
	_, err = explain.Credit(rloo, failing{}, explain.Typical())
	require.EqualError(t, err, "explain: no credit")
}

type failing struct{}

func (failing) Validate() error { return nil }

func (failing) Assign([]rollout.Group) (sam.Stats, error) {
	return sam.Stats{}, errors.New("no credit")
}
