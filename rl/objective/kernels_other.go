//go:build !amd64

package objective

// There are no kernels for this processor: isa is vecmath.Go.

func keepWeightsKernel(w, weight *float64, keep *bool, n int) (live int) { panic("no kernel") }

func pickKernel(dst, src, w *float64, n int) { panic("no kernel") }

func differenceKernel(d, x, a, b, w *float64, n int, limit float64) { panic("no kernel") }

func clipKernel(loss, byRatio, r, adv *float64, n int, low, high, dual float64, hits *[3]int) {
	panic("no kernel")
}

func takeKernel(grad, w, adv, lr, x, r, loss, byRatio, byLogP *float64, n int, sums *float64) {
	panic("no kernel")
}

func k3Kernel(v, dv, x, r *float64, n int) { panic("no kernel") }

func regularizeKernel(grad, w, lr, value, v, dv *float64, n int, beta float64, sums *float64) {
	panic("no kernel")
}

func ratiosKernel(d, x, r, a, b, w *float64, n int, limit float64) { panic("no kernel") }
