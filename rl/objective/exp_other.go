//go:build !amd64

package objective

// exps writes exp of the first n numbers of x to dst.
func exps(dst, x *[blockSize]float64, n int) { expsGo(dst, x, n) }
