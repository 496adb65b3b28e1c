package eval_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval"
)

func TestECE(t *testing.T) {
	// Two of .9 of which one is right, and two of .3, both wrong: (|1.8-1| + |.6-0|)/4.
	got := eval.ECE([]float64{.9, .9, .3, .3}, []bool{true, false, false, false}, 10)
	require.InDelta(t, .35, got, 1e-12)
	require.Zero(t, eval.ECE([]float64{1, 1}, []bool{true, true}, 5))
	require.True(t, math.IsNaN(eval.ECE(nil, nil, 5)))
	require.Panics(t, func() { eval.ECE(nil, nil, 0) })
}
