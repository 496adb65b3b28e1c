package cpu

// kernels are the inner loops of an instruction set. The slices of a call have the
// same length unless said otherwise, and pointers are to a first element. Every
// kernel computes an element or a sum in an order that depends on the lengths
// alone.
type kernels struct {
	// rows and tile are the shape of the micro-kernel's tile, vector the
	// width in which it reads b.
	rows, tile, vector int
	// gemm computes c = alpha·a·b + beta·c for a [m×k], b [k×n] and c [m×n], n at
	// most tile. Element (i, p) of a is a[i·rsa + p·csa]; rows of b and c are rsb
	// and ldc apart. It reads b in whole vectors but writes only the n columns of
	// c, and reads c only if beta is not 0.
	gemm func(m, n, k int, alpha float32, a *float32, rsa, csa int, b *float32, rsb int, beta float32, c *float32, ldc int)

	// stream is gemm for m from 1 to streamRows and streamPanels whole panels of
	// b, which it reads side by side. Rows of a panel are tile apart, panels
	// step. nil means that there is no such kernel.
	stream     func(m, k int, alpha float32, a *float32, rsa, csa int, b *float32, step int, beta float32, c *float32, ldc int)
	streamRows int

	// gemmPairs and streamPairs are gemm and stream for a right operand of
	// bfloat16s in pairs: a word of 32 bits holds column j in its lower half and
	// column j + tile/2 in its upper half. rsb and step count words. k is at most
	// blockK.
	gemmPairs   func(m, n, k int, alpha float32, a *float32, rsa, csa int, b *float32, rsb int, beta float32, c *float32, ldc int)
	streamPairs func(m, k int, alpha float32, a *float32, rsa, csa int, b *float32, step int, beta float32, c *float32, ldc int)
	// roundPairs rounds rows of float32s to such rows, each half words long.
	roundPairs func(rows, half int, dst, src *float32)

	// bf16 are the products of tensor.PrecisionBFloat16. nil means that there are none.
	bf16 *bf16Kernels

	// transpose8 computes dst[p·to + j] = src[j·from + p] for 8 columns j and
	// all p below k, a multiple of 8. nil means that there is no such kernel.
	transpose8 func(k int, dst *float32, to int, src *float32, from int)
	// copyLines copies lines of n elements, at least one of each, that are to
	// apart in dst and from apart in src. It prefetches what is ahead lines
	// further on.
	copyLines func(lines, n int, dst *float32, to int, src *float32, from, ahead int)
	// prefetch prefetches cols elements of each of some rows, stride apart, into
	// the second-level cache. nil means that there is no such kernel.
	prefetch func(x *float32, stride, rows, cols int)
	// peak does peakFlops floating-point operations in registers, n times.
	peak      func(n int)
	peakFlops int

	// axpy computes dst += alpha·x.
	axpy func(dst []float32, alpha float32, x []float32)
	// sumSquares returns Σx², added in float64.
	sumSquares func(x []float32) float64
	// max returns the largest element of x, which has at least one.
	max func(x []float32) float32
	// total returns Σx as fast as memory allows, to measure its bandwidth.
	total func(x []float32) float32

	// expSums returns Σe and Σe·z for z = scale·(x − shift), e = exp(z). Where e is 0, so
	// is e·z.
	expSums func(x []float32, scale, shift float32) (sum, weighted float32)
	// softmaxGrad computes x = −p·(a·z + b) for z = scale·(x − shift) − log,
	// p = exp(z), and 0 where p is 0.
	softmaxGrad func(x []float32, scale, shift, log, a, b float32)
	// scores computes c = a·b for a [m×k], m at most rows, b [k×n] in panels that
	// are step apart, and c [m×n], n a multiple of vector. Rows of a and c are
	// rsa and ldc apart.
	scores func(m, n, k int, a *float32, rsa int, b *float32, step int, c *float32, ldc int)
	// cacheKeys and cacheValues multiply by a decoder's cache.
	cacheKeys, cacheValues cacheKernel
	// attendSoftmax goes over len(top) rows of scores, stride apart. The first
	// n + i·step elements x of row i become exp(scale·(x − top[i])), where top[i]
	// is their maximum; sum[i] becomes the sum of the results. The elements from
	// there to seen become 0. It may write up to the end of a vector beyond seen.
	// scale is not negative.
	attendSoftmax func(p []float32, stride, n, step, seen int, scale float32, top, sum []float32)
	// attendSums turns top into the logarithms of sums of exponentials,
	// scale·top + log sum, and sum into 1/sum.
	attendSums func(top, sum []float32, scale float32)
	// attendGrad goes over len(delta) rows of scores p and of gradients dp. The
	// first n + i·step elements of row i become p = exp(scale·p − lse[i·lseStride])
	// and dp = scale·p·(dp − delta[i]); the rest is as in attendSoftmax.
	attendGrad func(p, dp []float32, stride, n, step, seen int, lse []float32, lseStride int, delta []float32, scale float32)
	// rowDots computes dst[i] = Σ_j x[i·stride+j]·y[i·stride+j], j < cols.
	rowDots func(dst, x, y []float32, stride, cols int)
	// scaleRows multiplies the first cols elements of row i by by[i].
	scaleRows func(x []float32, stride, cols int, by []float32)

	// rmsNorm is Backend.RMSNorm for len(inv) rows of len(w) elements.
	rmsNorm func(y, inv, x, w []float32, eps float32)
	// rmsNormGrad is Backend.RMSNormGrad for len(inv) rows.
	rmsNormGrad func(dx, dw, dy, x, w, inv []float32)
	// layerNorm is Backend.LayerNorm for len(inv) rows of len(w) elements.
	layerNorm func(y, mean, inv, x, w, bias []float32, eps float32)
	// layerNormGrad is Backend.LayerNormGrad for len(inv) rows, without dbias.
	layerNormGrad func(dx, dw, dy, x, w, mean, inv []float32)
	// rotate is Backend.RoPE for one row of heads of 2·len(cos) elements;
	// sign −1 rotates back.
	rotate func(x, cos, sin []float32, sign float32)
	// swiGLU is Backend.SwiGLU.
	swiGLU func(y, gate, up []float32)
	// swiGLUGrad is Backend.SwiGLUGrad.
	swiGLUGrad func(dgate, dup, dy, gate, up []float32)
	// gelu is Backend.GELU.
	gelu func(y, x []float32)
	// geluGrad is Backend.GELUGrad.
	geluGrad func(dx, dy, x []float32)
	// adamW applies an update with the factors f.
	adamW func(p, g, m, v []float32, f *[adamFactors]float32)
}

// cacheKernel multiplies few rows by a cache that comes from memory.
type cacheKernel struct {
	// rows is the most rows of a and c, tile the number of columns of a panel.
	rows, tile int
	// mul computes c = a·b for a [m×k], b [k×n] and c [m×n], n a multiple of
	// kernels.vector. Rows of a, b and c are rsa, rsb and ldc apart, panels of b
	// step. It prefetches what lies far bytes behind all that it reads of b.
	mul func(m, n, k int, a *float32, rsa int, b *float32, rsb, step int, c *float32, ldc, far int)
}
