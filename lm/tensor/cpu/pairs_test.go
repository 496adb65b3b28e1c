package cpu

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/stepwise-rl/stepwise/lm/internal/float16"
)

// Rounding to pairs is float16's, for numbers of all magnitudes, ties,
// infinities and NaNs.
func TestRoundPairs(t *testing.T) {
	eachKernels(t, func(t *testing.T, kern *kernels) {
		half := kern.tile / 2
		var x []float32
		for _, upper := range []uint32{0x0000, 0x0001, 0x007f, 0x0080, 0x3f80, 0x3f81, 0x7f7f, 0x7f80, 0x7fa0, 0x7fc1, 0x7fff} {
			for _, lower := range []uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0xffff} {
				for _, sign := range []uint32{0, 1 << 31} {
					x = append(x, math.Float32frombits(sign|upper<<16|lower))
				}
			}
		}
		rows := len(x) / kern.tile
		dst := make([]float32, rows*half)
		kern.roundPairs(rows, half, &dst[0], &x[0])
		for i, pair := range dst {
			low := i/half*kern.tile + i%half
			want := uint32(float16.ToBF16(x[low])) | uint32(float16.ToBF16(x[low+half]))<<16
			assert.Equal(t, want, math.Float32bits(pair), "%v and %v", x[low], x[low+half])
		}
	})
}
