package reward_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/reward"
)

// lengthOf parses a completion of n tokens.
func lengthOf(n int) *prompt.Trace { return parse(strings.Repeat(".", n)) }

func TestSoftOverlong(t *testing.T) {
	capped := reward.Overlong{Max: 100, Buffer: 20}
	uncapped := reward.Overlong{Max: 100, Buffer: 20, Factor: .5, Uncapped: true}
	for n, want := range map[int][2]float64{
		// TRL's get_soft_overlong_punishment(100, 20); verl's
		// min(-exceed/20*0.5, 0)
		0: {0, 0}, 80: {0, 0}, 81: {-.05, -.025}, 90: {-.5, -.25}, 100: {-1, -.5}, 101: {-1, -.525}, 140: {-1, -1.5},
	} {
		for i, o := range []reward.Overlong{capped, uncapped} {
			s, err := reward.SoftOverlong[example](o).Score(context.Background(), example{}, lengthOf(n), reward.Answer)
			require.NoError(t, err)
			assert.InDelta(t, want[i], s.Value, 1e-15, "%d tokens, %+v", n, o)
		}
	}
	step := reward.SoftOverlong[example](reward.Overlong{Max: 5, Factor: 2})
	for n, want := range map[int]float64{5: 0, 6: -2} {
		s, err := step.Score(context.Background(), example{}, lengthOf(n), reward.Answer)
		require.NoError(t, err)
		assert.Equal(t, want, s.Value, "without a buffer")
	}
}

func TestSoftOverlongOfAStep(t *testing.T) {
	rule := reward.SoftOverlong[example](reward.Overlong{Max: 10, Buffer: 2})
	assert.Equal(t, value(-.5), score(t, rule, example{}, `\boxed{a}\boxed{2}`, 1)) // 9 tokens
	assert.Equal(t, reward.Unscorable("broken step: missing"), score(t, rule, example{}, `\boxed{a}`, 1))
	trace := parser.Parse("text", nil)
	s, err := rule.Score(context.Background(), example{}, &trace, reward.Answer)
	require.NoError(t, err)
	assert.Equal(t, reward.Unscorable("no token offsets"), s)
}

func TestSoftOverlongPanics(t *testing.T) {
	for _, o := range []reward.Overlong{
		{}, {Max: 5, Buffer: 6}, {Max: 5, Buffer: -1}, {Max: 5, Factor: -1}, {Max: 5, Factor: math.NaN()}, {Max: 5, Factor: math.Inf(1)}, {Max: 5, Uncapped: true},
	} {
		assert.Panics(t, func() { reward.SoftOverlong[example](o) }, "%+v", o)
	}
}
