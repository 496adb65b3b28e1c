//go:build !amd64

package vecmath

func best() set { return plain }

func exps(dst, x *float64, n int) { panic("vecmath: no kernels") }

func expSums(dst *float64, x *float32, n int, shift, scale float64, sums *[width]float64) {
	panic("vecmath: no kernels")
}
