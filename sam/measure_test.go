package sam_test

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// Credit written on Measure has the statistics of the one that it repeats.
func TestMeasureCountsAlike(t *testing.T) {
	estimated := func() []rollout.Group {
		batch := append(twoCompletions(), twoCompletions()...)
		require.NoError(t, advantage.PerGroup(advantage.RLOO{}).Estimate(batch))
		return batch
	}
	a, b := estimated(), estimated()
	want, err := sam.Mask{}.Assign(a)
	require.NoError(t, err)
	got, err := sam.Measure(b, func(g rollout.Group) error {
		_, err := sam.Mask{}.Assign([]rollout.Group{g})
		return err
	})
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, a, b)
}

// Credit that only clears Keep is credit all the same: its masked tokens have
// no advantage, alone and in a blend.
func TestMeasureClearsWhatIsMasked(t *testing.T) {
	batch := twoCompletions()
	require.NoError(t, advantage.PerGroup(advantage.RLOO{}).Estimate(batch))
	stats, err := sam.Blend{A: deaf{}, B: sam.Outcome{}, Lambda: .5}.Assign(batch)
	require.NoError(t, err)
	require.Equal(t, []float64{.5, .5, 1, 1}, batch[0][0].Adv)
	require.Equal(t, 2., stats.Steps["rules"].MassAfter)
}

// deaf masks the first two tokens.
type deaf struct{}

func (deaf) Validate() error { return nil }

func (deaf) Assign(batch []rollout.Group) (sam.Stats, error) {
	return sam.Measure(batch, func(g rollout.Group) error {
		for _, c := range g {
			c.Keep[0], c.Keep[1] = false, false
		}
		return nil
	})
}

func TestMeasureErrors(t *testing.T) {
	batch := append(twoCompletions(), twoCompletions()...)
	_, err := sam.Measure(batch, func(rollout.Group) error { return nil })
	require.ErrorContains(t, err, "sam: group 0, completion 0", "no estimator ran")

	require.NoError(t, advantage.PerGroup(advantage.RLOO{}).Estimate(batch))
	calls, reason := 0, errors.New("no idea")
	_, err = sam.Measure(batch, func(rollout.Group) error { calls++; return reason })
	require.ErrorIs(t, err, reason)
	require.EqualError(t, err, "sam: group 0: no idea")
	require.Equal(t, 1, calls)

	for want, spoil := range map[string]func(c *rollout.Completion){
		"sam: group 0: completion 1: the credit left 4 advantages and 3 keep flags for 4 tokens":      func(c *rollout.Completion) { c.Keep = c.Keep[:3] },
		"sam: group 0: completion 1: the credit gave token 2 the advantage NaN, want a finite number": func(c *rollout.Completion) { c.Adv[2] = math.NaN() },
	} {
		batch := twoCompletions()
		require.NoError(t, advantage.PerGroup(advantage.RLOO{}).Estimate(batch))
		_, err := sam.Measure(batch, func(g rollout.Group) error { spoil(&g[1]); return nil })
		require.EqualError(t, err, want)
	}
}
