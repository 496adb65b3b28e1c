//go:build unix

package cpu

import (
	"os"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// guard gives out slices between pages that may not be touched.
type guard struct {
	t *testing.T
	// atEnd puts a slice right before the forbidden page, otherwise it begins right
	// after one.
	atEnd bool
	held  [][]byte
}

// release takes all memory back.
func (g *guard) release() {
	for _, mem := range g.held {
		require.NoError(g.t, unix.Munmap(mem))
	}
	g.held = g.held[:0]
}

// floats returns n numbers, all 0.5, with room for extra bytes of padding behind them.
func (g *guard) floats(n, padding int) []float32 {
	page := os.Getpagesize()
	bytes := 4 * (n + padding)
	inside := (bytes + page - 1) / page * page
	mem, err := unix.Mmap(-1, 0, inside+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(g.t, err)
	g.held = append(g.held, mem)
	require.NoError(g.t, unix.Mprotect(mem[:page], unix.PROT_NONE))
	require.NoError(g.t, unix.Mprotect(mem[page+inside:], unix.PROT_NONE))
	from := page
	if g.atEnd {
		from += inside - bytes
	}
	all := unsafe.Slice((*float32)(unsafe.Pointer(&mem[from])), n+padding)
	for i := range all {
		all[i] = .5
	}
	return all[:n]
}

// No kernel touches memory outside its slices, of any length: a page on either side of
// each is forbidden.
func TestKernelsStayInside(t *testing.T) {
	eachKernels(t, func(t *testing.T, kern *kernels) {
		for _, atEnd := range []bool{false, true} {
			g := &guard{t: t, atEnd: atEnd}
			f := func(n int) []float32 { return g.floats(n, 0) }
			for n := 1; n <= 37; n++ {
				x, y, z := f(n), f(n), f(n)
				kern.axpy(x, 2, y)
				kern.sumSquares(x)
				kern.max(x)
				kern.total(x)
				kern.expSums(x, 1, 0)
				kern.softmaxGrad(x, 1, 0, 0, 1, 1)
				kern.attendSums(y, z, 1)
				kern.swiGLU(x, y, z)
				kern.swiGLUGrad(x, y, z, f(n), f(n))
				kern.gelu(x, y)
				kern.geluGrad(x, y, z)
				kern.adamW(x, y, z, f(n), &[adamFactors]float32{})
				kern.rotate(f(4*n), x, y, 1)

				const rows, apart = 3, 5
				wide := rows*n + (rows-1)*apart
				kern.rowDots(f(rows), f(wide), f(wide), n+apart, n)
				kern.scaleRows(f(wide), n+apart, n, f(rows))
				kern.rmsNorm(f(rows*n), f(rows), f(rows*n), x, 1e-6)
				kern.rmsNormGrad(f(rows*n), f(n), f(rows*n), f(rows*n), x, f(rows))
				kern.layerNorm(f(rows*n), f(rows), f(rows), f(rows*n), x, y, 1e-6)
				kern.layerNormGrad(f(rows*n), f(n), f(rows*n), f(rows*n), x, f(rows), f(rows))
				kern.copyLines(rows, n, &f(wide)[0], n+apart, &f(wide)[0], n+apart, 2)

				// These two may use the whole of a row's last vector.
				seen := n + rows
				stride := roundUp(seen, kern.vector)
				kern.attendSoftmax(f(rows*stride), stride, n, 1, seen, 1, f(rows), f(rows))
				kern.attendGrad(f(rows*stride), f(rows*stride), stride, n, 1, seen, f(rows), 1, f(rows), 1)
				g.release()
			}
			for m := 1; m <= kern.rows+2; m++ {
				for n := 1; n <= kern.tile; n++ {
					for _, k := range []int{1, 7} {
						g.products(kern, m, n, k)
						g.rounded(kern, m, n, k)
						g.release()
					}
				}
			}
			const whole = 16
			if kern.transpose8 != nil {
				kern.transpose8(whole, &f(8 * whole)[0], 8, &f(8 * whole)[0], whole)
			}
			for k := 1; k <= 70; k++ {
				g.rounded(kern, 5, 3, k) // rows of several vectors
				g.rounded(kern, k, 1, 3) // and columns
				g.release()
			}
			half := kern.tile / 2
			kern.roundPairs(3, half, &f(3 * half)[0], &f(6 * half)[0])
			g.release()
		}
	})
}

// rounded calls the products of bfloat16s with operands that are just long enough, in
// both orders.
func (g *guard) rounded(kern *kernels, m, n, k int) {
	r := kern.bf16
	if r == nil {
		return
	}
	f := func(n int) []float32 { return g.floats(n, 0) }
	const apart = 3
	ldc, lines, s := n+apart, r.lines(k), &scratch{}
	for _, turned := range []bool{false, true} {
		x, y := view{f(m * k), k, 1}, view{f(k * n), n, 1}
		if turned {
			x.rs, x.cs, y.rs, y.cs = 1, m, 1, k
		}
		left := r.left(s.reset(), x, m, k)
		used := (m-1)*left.rs + (lines-1)*left.cs + 1
		if r.unit > 1 { // pairs of rows in quads
			used = ((m+1)/2-1)*left.rs + (lines/r.unit-1)*left.cs + 2*r.unit
		}
		a := f(used)
		copy(a, left.data[:used])
		b := f(lines * kern.tile)
		r.panel(kern, s.reset(), b, y, k, n)
		for _, beta := range []float32{0, 1} {
			c := f((m-1)*ldc + n)
			r.gemm(m, n, lines, 1, &a[0], left.rs, left.cs, &b[0], kern.tile, beta, &c[0], ldc)
			for i := range m {
				for j := range n {
					require.Equal(g.t, float32(k)/4+beta/2, c[i*ldc+j], "%d×%d×%d: row %d, column %d", m, n, k, i, j)
				}
			}
			if r.stream != nil && m <= kern.streamRows && n == kern.tile {
				wide := streamPanels * kern.tile
				c := f((m-1)*(wide+apart) + wide)
				r.stream(m, lines, 1, &a[0], left.rs, left.cs, &f(lines * wide)[0], lines*kern.tile, beta, &c[0], wide+apart)
			}
		}
	}
}

// products calls the products with operands that are just long enough.
func (g *guard) products(kern *kernels, m, n, k int) {
	f := func(n int) []float32 { return g.floats(n, 0) }
	const apart = 3
	ldc := n + apart
	c := func(m int) *float32 { return &f((m-1)*ldc + n)[0] }
	b := &f((k-1)*kern.tile + roundUp(n, kern.vector))[0]
	for _, beta := range []float32{0, 1} {
		kern.gemm(m, n, k, 1, &f(m * k)[0], k, 1, b, kern.tile, beta, c(m), ldc)
		kern.gemm(m, n, k, 1, &f(m * k)[0], 1, m, b, kern.tile, beta, c(m), ldc)
		kern.gemmPairs(m, n, k, 1, &f(m * k)[0], k, 1, &f(k * kern.tile / 2)[0], kern.tile/2, beta, c(m), ldc)
		if kern.stream != nil && m <= kern.streamRows && n == kern.tile {
			wide := streamPanels * kern.tile
			out := &f((m-1)*(wide+apart) + wide)[0]
			kern.stream(m, k, 1, &f(m * k)[0], k, 1, &f(k * wide)[0], k*kern.tile, beta, out, wide+apart)
			kern.streamPairs(m, k, 1, &f(m * k)[0], k, 1, &f(k * wide / 2)[0], k*kern.tile/2, beta, out, wide+apart)
		}
	}
	if n = roundUp(n, kern.vector); m <= kern.rows {
		ldc = n + apart
		kern.scores(m, n, k, &f(m * k)[0], k, &f(k * kern.tile)[0], k*kern.tile, c(m), ldc)
	}
	for _, cache := range []*cacheKernel{&kern.cacheKeys, &kern.cacheValues} {
		if m <= cache.rows && n <= cache.tile {
			cache.mul(m, n, k, &f(m * k)[0], k, &f((k-1)*cache.tile + n)[0], cache.tile, k*cache.tile, c(m), ldc, 0)
		}
	}
}
