package cpu

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNormalCDFAgreesWithErfc(t *testing.T) {
	require.Equal(t, float32(0.5), normalCDF(0))
	for x := float32(-9); x <= 9; x += 1.0 / 512 {
		want := math.Erfc(-float64(x)/math.Sqrt2) / 2
		require.InDelta(t, want, normalCDF(x), 2e-7, "Φ(%v)", x)
		if x < 0 { // the lower tail keeps its relative precision
			require.InEpsilon(t, want, normalCDF(x), 2e-5, "Φ(%v)", x)
		}
	}
	require.Zero(t, normalCDF(float32(math.Inf(-1))))
	require.Equal(t, float32(1), normalCDF(float32(math.Inf(1))))
	require.True(t, math.IsNaN(float64(normalCDF(float32(math.NaN())))))
}
