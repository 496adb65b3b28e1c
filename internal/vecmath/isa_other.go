//go:build !amd64 && !arm64

package vecmath

// Best is the best instruction set that this processor has.
func Best() ISA { return Go }

// There are no kernels for this processor.

func exps(dst, x *float64, n int) { panic("no kernel") }

func expSums(dst *float64, x *float32, n int, shift, scale float64, sums *[Width]float64) {
	panic("no kernel")
}

func sumAbs(x *float64, n int, sums *[Width]float64) { panic("no kernel") }

func countBoth(x, y *bool, n int) int { panic("no kernel") }

func maxima(x *float32, n int, tops *[Width]float32) { panic("no kernel") }
