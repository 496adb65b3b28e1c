package policytest_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/policytest"
)

// A table goes through JSON bit for bit, with its version.
func TestTableAsJSON(t *testing.T) {
	p := policytest.NewTablePolicy(3, nil, -1)
	p.Randomize(1, 1e-3)
	copy(p.Logits(2), []float64{math.SmallestNonzeroFloat64, math.MaxFloat64, math.Copysign(0, -1)})
	_, err := p.OptimStep(t.Context(), rl.OptimOptions{})
	require.NoError(t, err)
	text, err := json.Marshal(p)
	require.NoError(t, err)

	q := policytest.NewTablePolicy(3, nil, -1)
	require.NoError(t, json.Unmarshal(text, q))
	for id := range int32(3) {
		for i, x := range p.Logits(id) {
			require.Equal(t, math.Float64bits(x), math.Float64bits(q.Logits(id)[i]))
		}
	}
	info, err := q.OptimStep(t.Context(), rl.OptimOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 2, info.Version)

	other := policytest.NewTablePolicy(2, nil, -1)
	require.EqualError(t, json.Unmarshal(text, other), "policytest: a state of 9 logits, want 4: those of 2 tokens after each of them")
	require.Equal(t, []float64{0, 0}, other.Logits(0))
}
