//go:build !amd64

package vecmath

// Best is the best instruction set that this processor has.
func Best() ISA { return Go }

func exps(dst, x *float64, n int) { panic("vecmath: no kernels") }

func expSums(dst *float64, x *float32, n int, shift, scale float64, sums *[Width]float64) {
	panic("vecmath: no kernels")
}
