package cpu

import (
	"math"
	"unsafe"

	"github.com/d4l3k/go-bfloat16"

	"github.com/stepwise-rl/stepwise/lm/internal/float16"
)

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
