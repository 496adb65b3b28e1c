package vecmath

import "golang.org/x/sys/cpu"

// Best is the best instruction set that this processor has.
func Best() ISA {
	switch {
	case cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL && cpu.X86.HasFMA:
		return AVX512
	case cpu.X86.HasAVX2 && cpu.X86.HasFMA:
		return AVX2
	}
	return Go
}

func exps(dst, x *float64, n int) {
	if isa == AVX512 {
		expAVX512(dst, x, n)
	} else {
		expAVX2(dst, x, n)
	}
}

func expSums(dst *float64, x *float32, n int, shift, scale float64, sums *[Width]float64) {
	if isa == AVX512 {
		expSumAVX512(dst, x, n, shift, scale, sums)
	} else {
		expSumAVX2(dst, x, n, shift, scale, sums)
	}
}

func sumAbs(x *float64, n int, sums *[Width]float64) {
	if isa == AVX512 {
		sumAbsAVX512(x, n, sums)
	} else {
		sumAbsAVX2(x, n, sums)
	}
}

func countBoth(x, y *bool, n int) int {
	if isa == AVX512 {
		return countBothAVX512(x, y, n)
	}
	return countBothAVX2(x, y, n)
}

func maxima(x *float32, n int, tops *[Width]float32) {
	if isa == AVX512 {
		maximaAVX512(x, n, tops)
	} else {
		maximaAVX2(x, n, tops)
	}
}
