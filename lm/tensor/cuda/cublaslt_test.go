package cuda

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/d4l3k/go-bfloat16"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/internal/float16"
	"github.com/stepwise-rl/stepwise/lm/internal/gputest"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/dynlib"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/gpu"
)

// withCublasLt opens the fake device with the fake cuBLASLt.
func withCublasLt(t testing.TB, p tensor.Precision) tensor.Options {
	_, o := withFake(t)
	o.Precision = p
	o.Settings["cublaslt"] = gputest.FakeCublasLt(t)
	return o
}

// TestCublasLt multiplies packed matrices of ragged shapes, and at alignments of
// 4 bytes, in both kinds of element, with results in both.
func TestCublasLt(t *testing.T) {
	d, err := openDriver(withCublasLt(t, tensor.PrecisionBFloat16))
	require.NoError(t, err)
	defer d.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(rows, row, k int) []float32 { // small integers: every sum is exact
		v := make([]float32, rows*row)
		for i := range v {
			if i%row < k {
				v[i] = float32(rng.IntN(9) - 4)
			}
		}
		return v
	}
	put := func(v []float32, half bool, at int) gpu.Operand {
		m, err := d.Alloc(4*len(v) + 64)
		require.NoError(t, err)
		if half {
			b := make([]bfloat16.BF16, len(v))
			for i := range v {
				b[i] = float16.ToBF16(v[i])
			}
			require.NoError(t, d.Write(m, at, unsafe.Pointer(&b[0]), 2*len(b)))
		} else {
			require.NoError(t, d.Write(m, at, unsafe.Pointer(&v[0]), 4*len(v)))
		}
		return gpu.Operand{Memory: m, At: at}
	}
	for _, s := range [][3]int{{1, 1, 1}, {3, 5, 7}, {64, 33, 65}, {10, 130, 20}} {
		m, n, k := s[0], s[1], s[2]
		const row = 128
		for _, half := range []bool{false, true} {
			for _, halfC := range []bool{false, true} {
				for _, at := range []int{0, 4} {
					a, b, c := random(m, row, k), random(n, row, k), random(m, n, n)
					p := &gpu.Product{M: m, N: n, K: k, Row: row, A: put(a, half, 0), B: put(b, half, 16), C: put(c, halfC, at), Half: half, HalfC: halfC, Alpha: 0.5, Beta: 2}
					for range 2 { // the second by a plan that is there
						require.NoError(t, d.Multiplier().Multiply(p))
						require.NoError(t, d.Sync())
						for i := range m {
							for j := range n {
								sum := float32(0)
								for e := range k {
									sum += a[i*row+e] * b[j*row+e]
								}
								c[i*n+j] = 0.5*sum + 2*c[i*n+j]
								if halfC {
									c[i*n+j] = bfloat16.ToFloat32(float16.ToBF16(c[i*n+j]))
								}
							}
						}
					}
					got := make([]float32, m*n)
					if halfC {
						b := make([]bfloat16.BF16, m*n)
						require.NoError(t, d.Read(unsafe.Pointer(&b[0]), p.C.Memory, at, 2*m*n))
						for i := range b {
							got[i] = bfloat16.ToFloat32(b[i])
						}
					} else {
						require.NoError(t, d.Read(unsafe.Pointer(&got[0]), p.C.Memory, at, 4*m*n))
					}
					require.Equal(t, c, got, "%v half %v, C half %v at %d", s, half, halfC, at)
				}
			}
		}
	}
	assert.Len(t, d.cublas.plans, 4*8)
}

// TestCublasLtIsRefused: where it is looked for is said if it is not there, and
// float32 does without.
func TestCublasLtIsRefused(t *testing.T) {
	f, o := withFake(t)
	before := dynlib.Call(f.allocations)
	o.Precision = tensor.PrecisionTF32
	missing := filepath.Join(t.TempDir(), "libcublasLt.so.13")
	o.Settings["cublaslt"] = missing
	_, err := open(o)
	require.ErrorContains(t, err, "cuda:0: no cuBLASLt: ")
	assert.ErrorContains(t, err, missing)

	t.Setenv("CUBLASLT", missing)
	assert.Equal(t, missing, libraries("auto")[0])
	assert.Contains(t, libraries("auto"), "libcublasLt.so.13")
	assert.Equal(t, []string{"other"}, libraries("other"))

	o.Settings["cublaslt"] = gputest.FakeCublasLt(t)
	dynlib.Call(f.setMemory, 1<<20)
	_, err = open(o)
	require.ErrorIs(t, err, tensor.ErrOutOfMemory)
	assert.ErrorContains(t, err, "cuBLASLt's workspace of 33554432 bytes")
	assert.Equal(t, before, dynlib.Call(f.allocations))

	o.Precision = tensor.PrecisionFloat32
	_, err = open(o)
	assert.EqualError(t, err, "cuda: cublaslt is for products in tf32 or bf16, and Precision is float32")
}
