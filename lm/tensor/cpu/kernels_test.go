package cpu

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/stepwise-rl/stepwise/lm/internal/float16"
)

func eachKernels(t *testing.T, f func(t *testing.T, kern *kernels)) {
	for _, isa := range Available() {
		t.Run(isa.String(), func(t *testing.T) { f(t, kernelsFor(isa)) })
	}
}

// expOf computes one exponential with the kernels' vector code.
func expOf(kern *kernels, x float32) float32 {
	sum, _ := kern.expSums([]float32{x}, 1, 0)
	return sum
}

// The exponential is within 2 units in the last place of float64's wherever
// the result is a normal number.
func TestExpError(t *testing.T) {
	eachKernels(t, func(t *testing.T, kern *kernels) {
		worst, at := 0.0, float32(0)
		for i := -87 * 1024; i <= 88*1024; i++ {
			x := float32(i)/1024 + float32(i%7)*1e-5
			want := math.Exp(float64(x))
			ulp := float64(math.Nextafter32(float32(want), math.MaxFloat32)) - float64(float32(want))
			if e := math.Abs(float64(expOf(kern, x))-want) / ulp; e > worst {
				worst, at = e, x
			}
		}
		t.Logf("largest error %.2f ulp at %v", worst, at)
		assert.Less(t, worst, 2.0)
	})
}

// Small integers add up exactly, in any order and for any length.
func TestTotal(t *testing.T) {
	eachKernels(t, func(t *testing.T, kern *kernels) {
		var x []float32
		want := float32(0)
		for i := range 300 {
			assert.Equal(t, want, kern.total(x), "%d elements", i)
			x = append(x, float32(i%7-2))
			want += x[i]
		}
	})
}

func TestExpLimits(t *testing.T) {
	inf := float32(math.Inf(1))
	eachKernels(t, func(t *testing.T, kern *kernels) {
		assert.Equal(t, float32(1), expOf(kern, 0))
		assert.Equal(t, inf, expOf(kern, 88.8))
		assert.Equal(t, inf, expOf(kern, 1e30))
		assert.Equal(t, inf, expOf(kern, inf))
		assert.Zero(t, expOf(kern, -105))
		assert.Zero(t, expOf(kern, -inf))
		assert.InDelta(t, math.Exp(-95), expOf(kern, -95), 1.2e-38)
		assert.True(t, math.IsNaN(float64(expOf(kern, float32(math.NaN())))))
	})
}

// Masked columns get no weight, whatever the memory behind them holds.
func TestAttendSoftmaxMask(t *testing.T) {
	nan := float32(math.NaN())
	eachKernels(t, func(t *testing.T, kern *kernels) {
		const rows, stride, seen = 3, 48, 21
		for n := 1; n <= seen-rows+1; n++ {
			p := make([]float32, rows*stride)
			for i := range p {
				p[i] = nan
			}
			for r := range rows {
				for j := range n + r {
					p[r*stride+j] = float32(j % 3)
				}
			}
			top, sum := make([]float32, rows), make([]float32, rows)
			kern.attendSoftmax(p, stride, n, 1, seen, 0.5, top, sum)
			for r := range rows {
				var want float64
				for j := range n + r {
					want += math.Exp(0.5 * float64(j%3-min(n+r-1, 2)))
				}
				assert.InEpsilon(t, want, sum[r], 1e-6)
				assert.Equal(t, float32(min(n+r-1, 2)), top[r])
				for j := n + r; j < seen; j++ {
					assert.Zero(t, p[r*stride+j], "row %d column %d of %d", r, j, n+r)
				}
			}
		}
	})
}

// The logarithm is within 1e-7 of float64's, relatively or absolutely, for sums
// of any size.
func TestAttendSums(t *testing.T) {
	eachKernels(t, func(t *testing.T, kern *kernels) {
		var top, sum []float32
		for s := float32(1e-30); s < 1e30; s *= 1.01 {
			top, sum = append(top, 3), append(sum, s)
		}
		want := slices.Clone(sum)
		kern.attendSums(top, sum, 0)
		for i, s := range want {
			log := math.Log(float64(s))
			assert.InDelta(t, log, top[i], 1e-7*max(1, math.Abs(log)), "%g", s)
			assert.InEpsilon(t, 1/float64(s), sum[i], 1e-6)
		}
	})
}

func TestHeapReusesAndForgets(t *testing.T) {
	var h heap
	a := h.get(1000)
	a[999] = 1
	h.put(a)
	b := h.get(998)
	assert.Same(t, &a[0], &b[0], "a block of the same class is reused")
	assert.Zero(t, b[997])
	h.put(b)
	c := h.get(5000)
	h.put(c)
	assert.LessOrEqual(t, h.kept, h.peak, "no more is kept than was ever in use")
	for n := 1; n < 1<<20; n = n*9/8 + 1 {
		size := sizeClass(n)
		assert.GreaterOrEqual(t, size, n)
		assert.LessOrEqual(t, size, max(16, n+n/4+16))
		assert.Equal(t, size, sizeClass(size), "a block returns to its own class")
	}
}

// Products of caches are those of the definition for any number of rows, and
// leave alone what is beyond the last whole vector of c.
func TestCacheKernels(t *testing.T) {
	eachKernels(t, func(t *testing.T, kern *kernels) {
		for _, c := range []*cacheKernel{&kern.cacheKeys, &kern.cacheValues} {
			for m := 1; m <= 2*c.rows+1; m++ {
				for _, n := range []int{1, 5, 16, 31, 40, 64, 100} {
					n, k := roundUp(n, kern.vector), 1+(m+n)%21
					rsa, rsb, ldc := k+3, c.tile+2, n+kern.vector
					step := k * rsb
					a, b := make([]float32, m*rsa), make([]float32, (n+c.tile-1)/c.tile*step)
					out := make([]float32, m*ldc)
					for i := range a {
						a[i] = float32(i%7 - 3)
					}
					for i := range b {
						b[i] = float32(i%11 - 5)
					}
					c.multiply(m, n, k, a, rsa, b, rsb, step, out, ldc, 4096)
					for i := range m {
						for j := range ldc {
							var want float32
							for p := range k {
								if j < n {
									want += a[i*rsa+p] * b[j/c.tile*step+p*rsb+j%c.tile]
								}
							}
							assert.Equal(t, want, out[i*ldc+j], "%d×%d×%d: row %d, column %d", m, n, k, i, j)
						}
					}
				}
			}
		}
	})
}

// x·Φ(x) agrees with math.Erfc, in its lower tail relatively, and its gradient
// with the formula in float64.
func TestGELU(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachKernels(t, func(t *testing.T, kern *kernels) {
		var x []float32
		for v := float32(-9); v <= 9; v += 1.0 / 512 {
			x = append(x, v)
		}
		y, dx, dy := make([]float32, len(x)), make([]float32, len(x)), make([]float32, len(x))
		for i := range dy {
			dy[i] = -2
		}
		kern.gelu(y, x)
		kern.geluGrad(dx, dy, x)
		for i, v := range x {
			z := float64(v)
			cdf := math.Erfc(-z/math.Sqrt2) / 2
			assert.InDelta(t, z*cdf, y[i], 2e-7*max(1, z), "gelu(%v)", v)
			if z < 0 {
				assert.InEpsilon(t, z*cdf, y[i], 2e-5, "gelu(%v)", v)
			}
			grad := cdf + z*math.Exp(-z*z/2)/math.Sqrt(2*math.Pi)
			assert.InDelta(t, -2*grad, dx[i], 1e-6, "gelu'(%v)", v)
		}
		edge := []float32{0, inf, nan}
		kern.gelu(edge, edge)
		assert.Equal(t, []float32{0, inf}, edge[:2])
		assert.True(t, math.IsNaN(float64(edge[2])))
	})
}

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
