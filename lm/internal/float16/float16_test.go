package float16_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/lm/internal/float16"
)

var kinds = map[string]struct {
	to   func(float32) uint16
	from func(uint16) float32
	inf  uint16
	one  uint16 // the bits of 1
}{
	"bfloat16": {float16.ToBF16, float16.FromBF16, 0x7f80, 0x3f80},
	"binary16": {float16.ToF16, float16.FromF16, 0x7c00, 0x3c00},
}

func TestEveryValueSurvives(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, float32(1), k.from(k.one))
			require.Equal(t, float32(-2), k.from(k.to(-2)))
			for i := range 1 << 16 {
				bits := uint16(i)
				v := k.from(bits)
				if bits&0x7fff > k.inf {
					require.True(t, v != v, "%#04x is a NaN", bits)
					require.True(t, k.from(k.to(v)) != k.from(k.to(v)))
					continue
				}
				require.Equal(t, bits, k.to(v), "%v", v)
			}
			// Neighbours differ by one in their bits.
			for bits := uint16(0); bits < k.inf; bits++ {
				require.Less(t, k.from(bits), k.from(bits+1))
			}
			require.True(t, math.IsInf(float64(k.from(k.inf)), 1))
		})
	}
}

func TestRoundsToTheNearestAndToEven(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				bits := rapid.Uint16Range(0, k.inf-2).Draw(t, "bits")
				low, high := float64(k.from(bits)), float64(k.from(bits+1))
				middle := float32((low + high) / 2) // exact
				require.Equal(t, bits+bits&1, k.to(middle), "a tie goes to the even one")
				require.Equal(t, bits, k.to(math.Nextafter32(middle, 0)))
				require.Equal(t, bits+1, k.to(math.Nextafter32(middle, math.MaxFloat32)))
				require.Equal(t, k.to(middle)|0x8000, k.to(-middle))
			})
		})
	}
}

func TestLargestBinary16(t *testing.T) {
	require.Equal(t, float32(65504), float16.FromF16(float16.ToF16(65519.996)))
	require.True(t, math.IsInf(float64(float16.FromF16(float16.ToF16(65520))), 1))
	require.True(t, math.IsInf(float64(float16.FromF16(float16.ToF16(-1e9))), -1))
}
