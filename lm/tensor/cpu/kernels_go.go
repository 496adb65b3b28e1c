package cpu

import (
	"math"
	"sync/atomic"
	"unsafe"

	"github.com/d4l3k/go-bfloat16"

	"github.com/stepwise-rl/stepwise/lm/internal/float16"
)

// goKernels are the kernels in plain Go.
var goKernels = kernels{
	rows: 4, tile: 4, vector: 1,
	gemm:          gemmGo,
	gemmPairs:     gemmPairsGo,
	roundPairs:    roundPairsGo,
	bf16:          &goBF16,
	copyLines:     copyLinesGo,
	peak:          peakGo,
	peakFlops:     8,
	axpy:          axpyGo,
	sumSquares:    sumSquaresGo,
	max:           maxGo,
	total:         totalGo,
	expSums:       expSumsGo,
	softmaxGrad:   softmaxGradGo,
	scores:        scoresGo,
	cacheKeys:     cacheKernel{4, 4, decodeGo},
	cacheValues:   cacheKernel{4, 4, decodeGo},
	attendSoftmax: attendSoftmaxGo,
	attendSums:    attendSumsGo,
	attendGrad:    attendGradGo,
	rowDots:       rowDotsGo,
	scaleRows:     scaleRowsGo,
	rmsNorm:       rmsNormGo,
	rmsNormGrad:   rmsNormGradGo,
	layerNorm:     layerNormGo,
	layerNormGrad: layerNormGradGo,
	rotate:        rotateGo,
	swiGLU:        swiGLUGo,
	swiGLUGrad:    swiGLUGradGo,
	gelu:          geluGo,
	geluGrad:      geluGradGo,
	adamW:         adamWGo,
}

// gemmGo is kernels.gemm for tiles of 4 columns. Products are rounded before they
// are added. Otherwise the compiler fuses the two where the processor can, not in
// the same way in loops of different widths, and the bits of a row would depend
// on n.
func gemmGo(m, n, k int, alpha float32, a *float32, rsa, csa int, b *float32, rsb int, beta float32, c *float32, ldc int) {
	x := unsafe.Slice(a, (m-1)*rsa+(k-1)*csa+1)
	y := unsafe.Slice(b, (k-1)*rsb+n)
	z := unsafe.Slice(c, (m-1)*ldc+n)
	for i := range m {
		acc := [4]float32{}
		if n == 4 {
			acc = dot4(x[i*rsa:], csa, y, rsb, k)
		} else {
			for p := range k {
				v := x[i*rsa+p*csa]
				for j, w := range y[p*rsb : p*rsb+n] {
					acc[j] += float32(v * w)
				}
			}
		}
		out := z[i*ldc : i*ldc+n]
		for j := range out {
			if beta == 0 {
				out[j] = alpha * acc[j]
			} else {
				out[j] = alpha*acc[j] + beta*out[j]
			}
		}
	}
}

// dot4 multiplies a row of x with four columns of y.
func dot4(x []float32, csa int, y []float32, rsb, k int) [4]float32 {
	var s0, s1, s2, s3 float32
	for p := range k {
		v, w := x[p*csa], y[p*rsb:p*rsb+4:p*rsb+4]
		s0 += float32(v * w[0])
		s1 += float32(v * w[1])
		s2 += float32(v * w[2])
		s3 += float32(v * w[3])
	}
	return [4]float32{s0, s1, s2, s3}
}

func copyLinesGo(lines, n int, dst *float32, to int, src *float32, from, _ int) {
	x, y := unsafe.Slice(src, (lines-1)*from+n), unsafe.Slice(dst, (lines-1)*to+n)
	for i := range lines {
		copy(y[i*to:i*to+n], x[i*from:])
	}
}

// peakSum keeps the compiler from removing peakGo's work.
var peakSum atomic.Uint32

func peakGo(n int) {
	var a, b, c, d float32
	x, y := float32(n), float32(0)
	for range n {
		a += x * y
		b += x * y
		c += x * y
		d += x * y
	}
	peakSum.Store(math.Float32bits(a + b + c + d))
}

func axpyGo(dst []float32, alpha float32, x []float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] += alpha * x[i]
	}
}

func dotGo(x, y []float32) float32 {
	var sum float32
	y = y[:len(x)]
	for i, v := range x {
		sum += v * y[i]
	}
	return sum
}

func sumSquaresGo(x []float32) float64 {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return sum
}

func totalGo(x []float32) float32 {
	var sum float32
	for _, v := range x {
		sum += v
	}
	return sum
}

func maxGo(x []float32) float32 {
	top := x[0]
	for _, v := range x[1:] {
		top = max(top, v)
	}
	return top
}

func expSumsGo(x []float32, scale, shift float32) (sum, weighted float32) {
	for _, v := range x {
		z := scale * (v - shift)
		e := exp(z)
		sum += e
		weighted += e * max(z, expLow) // of -Inf, too, 0
	}
	return sum, weighted
}

func softmaxGradGo(x []float32, scale, shift, log, a, b float32) {
	for i, v := range x {
		z := scale*(v-shift) - log
		if x[i] = exp(z); x[i] != 0 {
			x[i] = -x[i] * (a*z + b)
		}
	}
}

func scoresGo(m, n, k int, a *float32, rsa int, b *float32, step int, c *float32, ldc int) {
	y, z := unsafe.Slice(b, (n+3)/4*step), unsafe.Slice(c, (m-1)*ldc+n)
	for j := 0; j < n; j += 4 {
		gemmGo(m, min(4, n-j), k, 1, a, rsa, 1, &y[j/4*step], 4, 0, &z[j], ldc)
	}
}

func decodeGo(m, n, k int, a *float32, rsa int, b *float32, rsb, step int, c *float32, ldc, _ int) {
	for j := 0; j < n; j += 4 {
		panel, to := unsafe.Add(unsafe.Pointer(b), j/4*step*4), unsafe.Add(unsafe.Pointer(c), j*4)
		gemmGo(m, min(4, n-j), k, 1, a, rsa, 1, (*float32)(panel), rsb, 0, (*float32)(to), ldc)
	}
}

func attendSoftmaxGo(p []float32, stride, n, step, seen int, scale float32, top, sum []float32) {
	for i := range top {
		row := p[i*stride : i*stride+seen]
		live := row[:n+i*step]
		top[i] = maxGo(live)
		var total float32
		for j, x := range live {
			live[j] = exp(scale * (x - top[i]))
			total += live[j]
		}
		sum[i] = total
		clear(row[len(live):])
	}
}

func attendSumsGo(top, sum []float32, scale float32) {
	for i, s := range sum {
		top[i] = scale*top[i] + float32(math.Log(float64(s)))
		sum[i] = 1 / s
	}
}

func attendGradGo(p, dp []float32, stride, n, step, seen int, lse []float32, lseStride int, delta []float32, scale float32) {
	for i, d := range delta {
		pRow, dpRow := p[i*stride:i*stride+seen], dp[i*stride:i*stride+seen]
		live := n + i*step
		for j, x := range pRow[:live] {
			e := exp(scale*x - lse[i*lseStride])
			pRow[j] = e
			dpRow[j] = scale * e * (dpRow[j] - d)
		}
		clear(pRow[live:])
		clear(dpRow[live:])
	}
}

func rowDotsGo(dst, x, y []float32, stride, cols int) {
	for i := range dst {
		dst[i] = dotGo(x[i*stride:i*stride+cols], y[i*stride:])
	}
}

func scaleRowsGo(x []float32, stride, cols int, by []float32) {
	for i, f := range by {
		row := x[i*stride : i*stride+cols]
		for j := range row {
			row[j] *= f
		}
	}
}

func rmsNormGo(y, inv, x, w []float32, eps float32) {
	cols := len(w)
	for i := range inv {
		row, out := x[i*cols:(i+1)*cols], y[i*cols:(i+1)*cols]
		mean := dotGo(row, row) / float32(cols)
		r := float32(1 / math.Sqrt(float64(mean+eps)))
		inv[i] = r
		for j, v := range row {
			out[j] = v * r * w[j]
		}
	}
}

// rmsNormGradGo uses, with g = dy·w and n the number of columns,
// dx = inv·(g − x·inv²·Σ(g·x)/n) and dw = Σ_rows dy·x·inv.
func rmsNormGradGo(dx, dw, dy, x, w, inv []float32) {
	cols := len(w)
	for i, r := range inv {
		row, g, out := x[i*cols:(i+1)*cols], dy[i*cols:(i+1)*cols], dx[i*cols:(i+1)*cols]
		var sum float32
		for j, v := range row {
			sum += g[j] * w[j] * v
		}
		c := sum * r * r / float32(cols)
		for j, v := range row {
			out[j] += r * (g[j]*w[j] - v*c)
			dw[j] += g[j] * v * r
		}
	}
}

func layerNormGo(y, mean, inv, x, w, bias []float32, eps float32) {
	cols := len(w)
	for i := range inv {
		row, out := x[i*cols:(i+1)*cols], y[i*cols:(i+1)*cols]
		m := sumGo(row) / float32(cols)
		r := float32(1 / math.Sqrt(float64(squaresGo(row, m)/float32(cols)+eps)))
		mean[i], inv[i] = m, r
		for j, v := range row {
			out[j] = (v-m)*r*w[j] + bias[j]
		}
	}
}

// layerNormGradGo uses, with n the normalised row and g = dy·w,
// dx = inv·(g − Σg/cols − n·Σ(g·n)/cols) and dw = Σ_rows dy·n.
func layerNormGradGo(dx, dw, dy, x, w, mean, inv []float32) {
	cols := len(w)
	for i, r := range inv {
		row, g, out := x[i*cols:(i+1)*cols], dy[i*cols:(i+1)*cols], dx[i*cols:(i+1)*cols]
		m := mean[i]
		var sumG, sumGN float32
		for j, v := range row {
			sumG += g[j] * w[j]
			sumGN += g[j] * w[j] * ((v - m) * r)
		}
		meanG, meanGN := sumG/float32(cols), sumGN/float32(cols)
		for j, v := range row {
			n := (v - m) * r
			out[j] += r * (g[j]*w[j] - meanG - n*meanGN)
			dw[j] += g[j] * n
		}
	}
}

// sumGo returns Σx, in four partial sums.
func sumGo(x []float32) float32 {
	var s0, s1, s2, s3 float32
	for ; len(x) >= 4; x = x[4:] {
		s0 += x[0]
		s1 += x[1]
		s2 += x[2]
		s3 += x[3]
	}
	for _, v := range x {
		s0 += v
	}
	return (s0 + s1) + (s2 + s3)
}

// squaresGo returns Σ(x−m)², in four partial sums.
func squaresGo(x []float32, m float32) float32 {
	var s0, s1, s2, s3 float32
	for ; len(x) >= 4; x = x[4:] {
		s0 += (x[0] - m) * (x[0] - m)
		s1 += (x[1] - m) * (x[1] - m)
		s2 += (x[2] - m) * (x[2] - m)
		s3 += (x[3] - m) * (x[3] - m)
	}
	for _, v := range x {
		s0 += (v - m) * (v - m)
	}
	return (s0 + s1) + (s2 + s3)
}

func rotateGo(x, cos, sin []float32, sign float32) {
	half := len(cos)
	for ; len(x) > 0; x = x[2*half:] {
		lo, hi := x[:half], x[half:2*half]
		for i, c := range cos {
			s := sign * sin[i]
			lo[i], hi[i] = lo[i]*c-hi[i]*s, hi[i]*c+lo[i]*s
		}
	}
}

func swiGLUGo(y, gate, up []float32) {
	for i, g := range gate {
		y[i] = g / (1 + exp(-g)) * up[i]
	}
}

// swiGLUGradGo uses silu'(g) = s·(1 + g·(1−s)) with s the sigmoid of g.
func swiGLUGradGo(dgate, dup, dy, gate, up []float32) {
	for i, g := range gate {
		s := 1 / (1 + exp(-g))
		d, u := dy[i], up[i]
		dgate[i] = d * u * s * (1 + g*(1-s))
		dup[i] = d * g * s
	}
}

func adamWGo(p, g, m, v []float32, f *[adamFactors]float32) {
	for i, d := range g {
		d *= f[adamScale]
		m[i] = f[adamBeta1]*m[i] + f[adamKeep1]*d
		v[i] = f[adamBeta2]*v[i] + f[adamKeep2]*d*d
		root := float32(math.Sqrt(float64(v[i])))*f[adamRoot] + f[adamEps]
		p[i] = f[adamDecay]*p[i] - f[adamRate]*m[i]/root
	}
}

// The exponential reduces x to r = x − n·ln 2, |r| ≤ ln 2 / 2, and uses the
// polynomial of Cephes' expf (Moshier) for e^r. Its error is below 2 units in
// the last place; results below the smallest normal number are 0.
const (
	expLow  = -87.33654
	expHigh = 88.72283
	log2e   = 1.44269504
	// ln 2 in two parts: multiples of the first are exact.
	ln2High = 0.693359375
	ln2Low  = -2.12194440e-4
	expC0   = 1.9875691500e-4
	expC1   = 1.3981999507e-3
	expC2   = 8.3334519073e-3
	expC3   = 4.1665795894e-2
	expC4   = 1.6666665459e-1
	expC5   = 5.0000001201e-1
)

// exp returns e^x.
func exp(x float32) float32 {
	switch {
	case x < expLow:
		return 0
	case x > expHigh:
		return float32(math.Inf(1))
	case x != x:
		return x
	}
	n := float32(math.RoundToEven(float64(x * log2e)))
	r := x - n*ln2High - n*ln2Low
	p := ((((expC0*r+expC1)*r+expC2)*r+expC3)*r+expC4)*r + expC5
	y := p*r*r + r + 1
	// 2^n in two factors, since n may be 128.
	half := int32(n) / 2
	return y * pow2(half) * pow2(int32(n)-half)
}

// pow2 returns 2^n for n in [−126, 127].
func pow2(n int32) float32 { return math.Float32frombits(uint32(n+127) << 23) }

// gemmPairsGo is kernels.gemmPairs for tiles of 4 columns: it widens b first.
func gemmPairsGo(m, n, k int, alpha float32, a *float32, rsa, csa int, b *float32, rsb int, beta float32, c *float32, ldc int) {
	const half = 2
	var wide [2 * half * blockK]float32
	pairs := unsafe.Slice(b, (k-1)*rsb+half)
	for p := range k {
		for j, pair := range pairs[p*rsb : p*rsb+half] {
			word := math.Float32bits(pair)
			wide[2*half*p+j] = bfloat16.ToFloat32(bfloat16.BF16(word))
			wide[2*half*p+half+j] = bfloat16.ToFloat32(bfloat16.BF16(word >> 16))
		}
	}
	gemmGo(m, n, k, alpha, a, rsa, csa, &wide[0], 2*half, beta, c, ldc)
}

func roundPairsGo(rows, half int, dst, src *float32) {
	pairs, x := unsafe.Slice(dst, rows*half), unsafe.Slice(src, 2*rows*half)
	for i := range pairs {
		at := i/half*2*half + i%half
		pairs[i] = math.Float32frombits(uint32(float16.ToBF16(x[at])) | uint32(float16.ToBF16(x[at+half]))<<16)
	}
}
