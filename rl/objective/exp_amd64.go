package objective

import (
	"math"

	"golang.org/x/sys/cpu"
)

//go:generate go -C ../../internal/asmgen run . ../../rl/objective

var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// exps writes exp of the first n numbers of x to dst. What follows in both, up
// to a multiple of 4, may be overwritten. A result does not depend on the other
// numbers.
func exps(dst, x *[blockSize]float64, n int) {
	if !hasAVX2 {
		expsGo(dst, x, n)
		return
	}
	whole := (n + 3) &^ 3
	clear(x[n:whole])
	if expAVX2(&dst[0], &x[0], whole) {
		return
	}
	for i, x := range x[:n] {
		if !(math.Abs(x) < 700) { // and NaN
			dst[i] = exp(x)
		}
	}
}
