package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// TestTensorCores compares products on tensor cores with products, in float64, of the
// rounded inputs: for every layout, and for shapes that fill no tile.
func TestTensorCores(t *testing.T) {
	for _, p := range []tensor.Precision{tensor.PrecisionTF32, tensor.PrecisionBFloat16} {
		t.Run(p.String(), func(t *testing.T) {
			o := options(t)
			o.Precision = p
			b := opened(t, o)
			rng := rand.New(rand.NewPCG(1, 2))
			for _, s := range [][3]int{{64, 64, 64}, {70, 97, 257}, {9, 130, 64}, {100, 200, 1}} {
				for ops := range 4 {
					product(t, b, rng, p, tensor.Op(ops&1 != 0), tensor.Op(ops&2 != 0), s[0], s[1], s[2])
				}
			}
			product(t, b, rng, p, tensor.OpN, tensor.OpT, 1300, 1500, 33) // enough large tiles
			large, small := 0, 0
			for name, n := range b.Stats().Kernels {
				switch {
				case strings.HasPrefix(name, "product_") && strings.HasSuffix(name, "_small"):
					small += n
				case strings.HasPrefix(name, "product_"):
					large += n
				}
			}
			assert.NotZero(t, large)
			assert.NotZero(t, small)
			assert.Zero(t, b.Stats().Kernels["matmul"])
		})
	}
}

func product(t *testing.T, b tensor.Backend, rng *rand.Rand, p tensor.Precision, opA, opB tensor.Op, m, n, k int) {
	x, y, got := make([]float32, m*k), make([]float32, k*n), make([]float32, m*n)
	for _, v := range [][]float32{x, y, got} {
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
	}
	before := append([]float32(nil), got...)
	bx, by, bc := b.Alloc(len(x)), b.Alloc(len(y)), b.Alloc(len(got))
	b.Write(bx, x)
	b.Write(by, y)
	b.Write(bc, got)
	b.MatMul(opA, opB, m, n, k, 0.5, bx, by, -1, bc)
	require.NoError(t, b.Read(got, bc))
	for _, buf := range []tensor.Buffer{bx, by, bc} {
		b.Free(buf)
	}
	at := func(v []float32, op tensor.Op, i, j, rows, cols int) float64 {
		if op == tensor.OpT {
			return rounded(v[j*rows+i], p)
		}
		return rounded(v[i*cols+j], p)
	}
	worst, largest := 0.0, 0.0
	for range 500 { // elements are alike
		i, j := rng.IntN(m), rng.IntN(n)
		sum := -float64(before[i*n+j])
		for q := range k {
			sum += 0.5 * at(x, opA, i, q, m, k) * at(y, opB, q, j, k, n)
		}
		worst, largest = max(worst, math.Abs(sum-float64(got[i*n+j]))), max(largest, math.Abs(sum))
	}
	assert.LessOrEqual(t, worst/largest, 2e-6, fmt.Sprintf("%d×%d×%d, opA %v, opB %v", m, n, k, opA, opB))
}

// rounded cuts v to the precision's bits: bfloat16 to nearest, ties to even; TF32 to
// nearest, ties away from zero.
func rounded(v float32, p tensor.Precision) float64 {
	u := math.Float32bits(v)
	if p == tensor.PrecisionBFloat16 {
		u = (u + 0x7fff + u>>16&1) &^ 0xffff
	} else {
		u = (u + 0x1000) &^ 0x1fff
	}
	return float64(math.Float32frombits(u))
}
