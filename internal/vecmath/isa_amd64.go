package vecmath

import "golang.org/x/sys/cpu"

func best() set {
	switch {
	case cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL && cpu.X86.HasFMA:
		return avx512
	case cpu.X86.HasAVX2 && cpu.X86.HasFMA:
		return avx2
	}
	return plain
}

func exps(dst, x *float64, n int) {
	if isa == avx512 {
		expAVX512(dst, x, n)
	} else {
		expAVX2(dst, x, n)
	}
}

func expSums(dst *float64, x *float32, n int, shift, scale float64, sums *[width]float64) {
	if isa == avx512 {
		expSumAVX512(dst, x, n, shift, scale, sums)
	} else {
		expSumAVX2(dst, x, n, shift, scale, sums)
	}
}
