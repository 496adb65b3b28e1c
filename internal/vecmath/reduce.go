package vecmath

import (
	"math"
)

// SumAbs returns the sum of the absolute values of x: that of eight sums, number
// i being part of sum i%8.
func SumAbs(x []float64) float64 {
	var sums [Width]float64
	if whole := isa.Whole(len(x)); whole > 0 {
		sumAbs(&x[0], whole, &sums)
		x = x[whole:]
	}
	for i, x := range x {
		sums[i%Width] += math.Abs(x)
	}
	return Total(&sums)
}

// Count returns how many of x are true.
func Count(x []bool) int { return CountBoth(x, x) }

// CountBoth returns at how many places both x and y, of the same length, are
// true.
func CountBoth(x, y []bool) (n int) {
	y = y[:len(x)]
	if whole := isa.Whole(len(x)); whole > 0 {
		n = countBoth(&x[0], &y[0], whole)
		x, y = x[whole:], y[whole:]
	}
	for i := range x {
		if x[i] && y[i] {
			n++
		}
	}
	return n
}

// Fill sets every element of s to x.
func Fill[T any](s []T, x T) {
	if len(s) == 0 {
		return
	}
	s[0] = x
	for n := 1; n < len(s); n *= 2 {
		copy(s[n:], s[:n]) // memory is copied faster than it is set one by one
	}
}

// Max returns the largest of x, which has at least one element. If one is NaN,
// the result is unspecified.
func Max(x []float32) float32 {
	top := x[0]
	if whole := isa.Whole(len(x)); whole > 0 {
		tops := [Width]float32{top, top, top, top, top, top, top, top}
		maxima(&x[0], whole, &tops)
		for _, t := range tops {
			if t > top {
				top = t
			}
		}
		x = x[whole:]
	}
	for _, v := range x {
		if v > top {
			top = v
		}
	}
	return top
}
