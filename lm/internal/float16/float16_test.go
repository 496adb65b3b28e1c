package float16_test

import (
	"math"
	"testing"

	"github.com/d4l3k/go-bfloat16"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/internal/float16"
)

// kind is a 16-bit type as functions on its bits.
type kind struct {
	to       func(float32) uint16
	from     func(uint16) float32
	inf, one uint16 // the bits of +∞ and of 1
}

var kinds = map[string]kind{
	"bfloat16": {
		to:   func(v float32) uint16 { return uint16(float16.ToBF16(v)) },
		from: func(bits uint16) float32 { return bfloat16.ToFloat32(bfloat16.BF16(bits)) },
		inf:  0x7f80, one: 0x3f80,
	},
	"binary16": {float16.ToF16, float16.FromF16, 0x7c00, 0x3c00},
}

// A bfloat16 is the upper half of a float32, the payloads of NaNs included.
func TestBF16IsTheUpperHalf(t *testing.T) {
	for i := range 1 << 16 {
		bits := uint16(i)
		b := bfloat16.FromBytes([]byte{byte(bits), byte(bits >> 8)}) // little-endian, as in files
		require.Equal(t, bfloat16.BF16(bits), b)
		require.Equal(t, uint32(bits)<<16, math.Float32bits(bfloat16.ToFloat32(b)))
	}
}

// A NaN keeps its sign and the upper bits of its payload, and is quiet.
func TestBF16OfNaN(t *testing.T) {
	for _, sign := range []uint32{0, 1 << 31} {
		for payload := uint32(1); payload < 1<<23; payload = payload*2 + 1 {
			bits := sign | 0x7f800000 | payload
			require.Equal(t, bfloat16.BF16(bits>>16|0x40), float16.ToBF16(math.Float32frombits(bits)))
		}
	}
	require.Equal(t, bfloat16.BF16(0x7fc0), float16.ToBF16(math.Float32frombits(0x7f800001)), "not an infinity")
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

// Around the middle of every two neighbours, of either sign.
func TestRoundsToTheNearestAndToEven(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			for bits := uint16(0); bits < k.inf-1; bits++ {
				low, high := float64(k.from(bits)), float64(k.from(bits+1))
				middle := float32((low + high) / 2) // exact
				for v, want := range map[float32]uint16{
					middle:                      bits + bits&1, // a tie goes to the even one
					math.Nextafter32(middle, 0): bits,
					math.Nextafter32(middle, math.MaxFloat32): bits + 1,
				} {
					if k.to(v) != want || k.to(-v) != want|0x8000 {
						t.Fatalf("%v becomes %#04x, and %v %#04x; want %#04x and its opposite", v, k.to(v), -v, k.to(-v), want)
					}
				}
			}
		})
	}
}

func TestLargestBinary16(t *testing.T) {
	require.Equal(t, float32(65504), float16.FromF16(float16.ToF16(65519.996)))
	require.True(t, math.IsInf(float64(float16.FromF16(float16.ToF16(65520))), 1))
	require.True(t, math.IsInf(float64(float16.FromF16(float16.ToF16(-1e9))), -1))
}

func TestLargestBF16(t *testing.T) {
	largest := math.Float32frombits(0x7f7f0000)
	require.Equal(t, bfloat16.BF16(0x7f7f), float16.ToBF16(math.Float32frombits(0x7f7f7fff)))
	require.Equal(t, bfloat16.BF16(0x7f80), float16.ToBF16(math.Float32frombits(0x7f7f8000)), "halfway to 2^128")
	require.Equal(t, largest, bfloat16.ToFloat32(float16.ToBF16(largest)))
}
