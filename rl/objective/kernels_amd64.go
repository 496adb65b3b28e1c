package objective

import "github.com/stepwise-rl/stepwise/internal/vecmath"

func keepWeightsKernel(w, weight *float64, keep *bool, n int) (live int) {
	if isa == vecmath.AVX512 {
		return keepWeightsAVX512(w, weight, keep, n)
	}
	return keepWeightsAVX2(w, weight, keep, n)
}

func pickKernel(dst, src, w *float64, n int) {
	if isa == vecmath.AVX512 {
		pickAVX512(dst, src, w, n)
	} else {
		pickAVX2(dst, src, w, n)
	}
}

func differenceKernel(d, x, a, b, w *float64, n int, limit float64) {
	if isa == vecmath.AVX512 {
		differenceAVX512(d, x, a, b, w, n, limit)
	} else {
		differenceAVX2(d, x, a, b, w, n, limit)
	}
}

func clipKernel(loss, byRatio, r, adv *float64, n int, low, high, dual float64, hits *[3]int) {
	if isa == vecmath.AVX512 {
		clipAVX512(loss, byRatio, r, adv, n, low, high, dual, hits)
	} else {
		clipAVX2(loss, byRatio, r, adv, n, low, high, dual, hits)
	}
}

func takeKernel(grad, w, adv, lr, x, r, loss, byRatio, byLogP *float64, n int, sums *float64) {
	if isa == vecmath.AVX512 {
		takeAVX512(grad, w, adv, lr, x, r, loss, byRatio, byLogP, n, sums)
	} else {
		takeAVX2(grad, w, adv, lr, x, r, loss, byRatio, byLogP, n, sums)
	}
}

func k3Kernel(v, dv, x, r *float64, n int) {
	if isa == vecmath.AVX512 {
		k3AVX512(v, dv, x, r, n)
	} else {
		k3AVX2(v, dv, x, r, n)
	}
}

func regularizeKernel(grad, w, lr, value, v, dv *float64, n int, beta float64, sums *float64) {
	if isa == vecmath.AVX512 {
		regularizeAVX512(grad, w, lr, value, v, dv, n, beta, sums)
	} else {
		regularizeAVX2(grad, w, lr, value, v, dv, n, beta, sums)
	}
}

func ratiosKernel(d, x, r, a, b, w *float64, n int, limit float64) {
	if isa == vecmath.AVX512 {
		ratiosAVX512(d, x, r, a, b, w, n, limit)
	} else {
		ratiosAVX2(d, x, r, a, b, w, n, limit)
	}
}
