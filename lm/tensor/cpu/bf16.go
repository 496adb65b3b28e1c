package cpu

import (
	"math"
	"unsafe"

	"github.com/d4l3k/go-bfloat16"

	"github.com/stepwise-rl/stepwise/lm/internal/float16"
)

// In tensor.PrecisionBFloat16 both operands of a matrix product are rounded while they
// are packed, and stay pairs: a word of 32 bits holds elements 2p and 2p + 1 of k of a
// row of a, or of a column of b. The processor's instruction adds the two products of
// such words to a float32. So a product is cut as one of float32s with half of k, which
// is counted in words; where k is odd, the last word is half empty.

// bf16Kernels are the inner loops of products of bfloat16s.
type bf16Kernels struct {
	// unit is how many words of k the kernels take at a time: blocks of k are cut at its
	// multiples.
	unit int
	// gemm and stream are those of kernels, with k, strides and panels in words.
	gemm   func(m, n, k int, alpha float32, a *float32, rsa, csa int, b *float32, rsb int, beta float32, c *float32, ldc int)
	stream func(m, k int, alpha float32, a *float32, rsa, csa int, b *float32, step int, beta float32, c *float32, ldc int)
	// left rounds x [m×k] into scratch memory, as gemm's a.
	left func(s *scratch, x view, m, k int) view
	// panel rounds y [k×w] into a panel of b as wide as the tile of kern, zeros up to it.
	panel func(kern *kernels, s *scratch, dst []float32, y view, k, w int)
	// peak is that of kernels, with peakFlops operations.
	peak      func(n int)
	peakFlops int
}

// lines is how many words k elements take, in whole units.
func (r *bf16Kernels) lines(k int) int { return roundUp((k+1)/2, r.unit) }

// rounding are the kernels that round to words.
type rounding struct {
	// rows rounds lines of k elements, from apart, to words that are to apart.
	rows func(lines, k int, dst *float32, to int, src *float32, from int)
	// columns rounds n columns of k elements; rows of src are from apart. Word p of a
	// column is dst[p·to].
	columns func(k, n int, dst *float32, to int, src *float32, from int)
}

// left keeps the order of x, with lines at a distance as in copyBlock.
func (r *rounding) left(s *scratch, x view, m, k int) view {
	words := (k + 1) / 2
	if x.cs == 1 {
		to := roundUp(words, lineFloats) + lineFloats
		mem := s.take(m * to)
		r.rows(m, k, &mem[0], to, &x.data[0], x.rs)
		return view{mem, to, 1}
	}
	to := roundUp(m, lineFloats) + lineFloats
	mem := s.take(words * to)
	r.columns(k, m, &mem[0], to, &x.data[0], x.cs)
	return view{mem, 1, to}
}

func (r *rounding) panel(kern *kernels, s *scratch, dst []float32, y view, k, w int) {
	words, tile := (k+1)/2, kern.tile
	if y.cs != 1 {
		mem := s.take(w * words)
		r.rows(w, k, &mem[0], words, &y.data[0], y.cs)
		kern.pack(dst, view{mem, 1, words}, words, w)
		return
	}
	if w < tile {
		clear(dst[:words*tile])
	}
	r.columns(k, w, &dst[0], tile, &y.data[0], y.rs)
}

// goBF16 are the kernels in plain Go. They define the result.
var goBF16 = bf16Kernels{
	unit:      1,
	gemm:      gemmDotsGo,
	left:      goRounding.left,
	panel:     goRounding.panel,
	peak:      peakGo,
	peakFlops: 8,
}

var goRounding = rounding{roundRowsGo, roundColumnsGo}

func roundRowsGo(lines, k int, dst *float32, to int, src *float32, from int) {
	x, y := unsafe.Slice(src, (lines-1)*from+k), unsafe.Slice(dst, (lines-1)*to+(k+1)/2)
	for i := range lines {
		for p := 0; p < k; p += 2 {
			high := float32(0)
			if p+1 < k {
				high = x[i*from+p+1]
			}
			y[i*to+p/2] = word(x[i*from+p], high)
		}
	}
}

func roundColumnsGo(k, n int, dst *float32, to int, src *float32, from int) {
	x, y := unsafe.Slice(src, (k-1)*from+n), unsafe.Slice(dst, ((k+1)/2-1)*to+n)
	for p := 0; p < k; p += 2 {
		for i := range n {
			high := float32(0)
			if p+1 < k {
				high = x[(p+1)*from+i]
			}
			y[p/2*to+i] = word(x[p*from+i], high)
		}
	}
}

// word rounds two numbers.
func word(low, high float32) float32 {
	return math.Float32frombits(uint32(float16.ToBF16(low)) | uint32(float16.ToBF16(high))<<16)
}

// gemmDotsGo is bf16Kernels.gemm for tiles of 4 columns.
func gemmDotsGo(m, n, k int, alpha float32, a *float32, rsa, csa int, b *float32, rsb int, beta float32, c *float32, ldc int) {
	x := unsafe.Slice(a, (m-1)*rsa+(k-1)*csa+1)
	y := unsafe.Slice(b, (k-1)*rsb+n)
	z := unsafe.Slice(c, (m-1)*ldc+n)
	widen := func(word float32) (low, high float32) {
		bits := math.Float32bits(word)
		return bfloat16.ToFloat32(bfloat16.BF16(bits)), bfloat16.ToFloat32(bfloat16.BF16(bits >> 16))
	}
	for i := range m {
		for j := range n {
			sum := float32(0)
			for p := range k {
				x0, x1 := widen(x[i*rsa+p*csa])
				y0, y1 := widen(y[p*rsb+j])
				sum += float32(x0 * y0) // rounded before it is added, on every processor
				sum += float32(x1 * y1)
			}
			out := alpha * sum
			if beta != 0 {
				out += beta * z[i*ldc+j]
			}
			z[i*ldc+j] = out
		}
	}
}
