package sam_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/sam"
)

// A rule written on Measure has the statistics of the rule that it repeats.
func TestMeasureCountsAsTheRulesDo(t *testing.T) {
	estimated := func() []advantage.Group {
		batch := append(twoCompletions(), twoCompletions()...)
		require.NoError(t, advantage.PerGroup(advantage.RLOO{}).Estimate(batch))
		return batch
	}
	a, b := estimated(), estimated()
	want, err := sam.Mask{}.Credit(a)
	require.NoError(t, err)
	got, err := sam.Measure(b, func(g advantage.Group) error {
		_, err := sam.Mask{}.Credit([]advantage.Group{g})
		return err
	})
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, a, b)
}

func TestMeasureErrors(t *testing.T) {
	batch := append(twoCompletions(), twoCompletions()...)
	_, err := sam.Measure(batch, func(advantage.Group) error { return nil })
	require.ErrorContains(t, err, "sam: group 0, completion 0", "no estimator ran")

	require.NoError(t, advantage.PerGroup(advantage.RLOO{}).Estimate(batch))
	calls, reason := 0, errors.New("no idea")
	_, err = sam.Measure(batch, func(advantage.Group) error { calls++; return reason })
	require.ErrorIs(t, err, reason)
	require.EqualError(t, err, "sam: group 0: no idea")
	require.Equal(t, 1, calls)
}
