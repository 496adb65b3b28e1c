package vecmath

import "math"

// Exp writes exp of each number of x to dst, which may be x itself and has the
// same length. The error is below one unit in the last place, below one and a
// half where the result is subnormal. exp(0) is exactly 1; infinities and NaN
// have the results of math.Exp.
func Exp(dst, x []float64) {
	dst = dst[:len(x)]
	if whole := isa.Whole(len(x)); whole > 0 {
		exps(&dst[0], &x[0], whole)
		dst, x = dst[whole:], x[whole:]
	}
	for i, x := range x {
		dst[i] = exp(x)
	}
}

// ExpSum writes exp((x-shift)·scale) of each number of x to dst, of the same
// length, and returns their sum: the weights of a softmax, if shift is the
// largest of x and scale an inverse temperature. The difference and the product
// are taken in float64, the exponentials are those of Exp, and the sum is that
// of eight sums, number i being part of sum i%8.
func ExpSum(dst []float64, x []float32, shift, scale float64) float64 {
	var sums [Width]float64
	dst = dst[:len(x)]
	if whole := isa.Whole(len(x)); whole > 0 {
		expSums(&dst[0], &x[0], whole, shift, scale, &sums)
		dst, x = dst[whole:], x[whole:]
	}
	for i, x := range x {
		dst[i] = exp((float64(x) - shift) * scale)
		sums[i%Width] += dst[i]
	}
	return Total(&sums)
}

// exp is the exponential in Go. With k = round(x/ln 2) it is 2^k times exp of
// a remainder below ln(2)/2 in size, for which 13 terms of the series are
// exact.
func exp(x float64) float64 {
	const (
		round = 3 << 51 // in this binade float64 holds integers only
		ln2Hi = 0x1.62e42fefa3800p-1
		ln2Lo = 0x1.ef35793c76730p-45
	)
	switch { // beyond, results are 0 and infinite anyway
	case x < -746:
		x = -746
	case x > 710:
		x = 710
	}
	shifted := math.FMA(x, math.Log2E, round)
	n := shifted - round
	x = math.FMA(-n, ln2Hi, x)
	x = math.FMA(-n, ln2Lo, x)
	p := 1. / 6227020800
	p = math.FMA(p, x, 1./479001600)
	p = math.FMA(p, x, 1./39916800)
	p = math.FMA(p, x, 1./3628800)
	p = math.FMA(p, x, 1./362880)
	p = math.FMA(p, x, 1./40320)
	p = math.FMA(p, x, 1./5040)
	p = math.FMA(p, x, 1./720)
	p = math.FMA(p, x, 1./120)
	p = math.FMA(p, x, 1./24)
	p = math.FMA(p, x, 1./6)
	p = math.FMA(p, x, 1./2)
	p = math.FMA(p, x, 1)
	p = math.FMA(p, x, 1)
	// 2^k in two factors: by itself it may be too large or too small for
	// float64 where the result is not.
	k := int32(math.Float64bits(shifted))
	half := k >> 1
	return p * power(half) * power(k-half)
}

// power is 2^k, for k that are exponents of normal numbers.
func power(k int32) float64 { return math.Float64frombits(uint64(1023+int64(k)) << 52) }
