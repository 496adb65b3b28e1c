package vecmath

// Best is NEON, which every arm64 processor has.
func Best() ISA { return NEON }

func exps(dst, x *float64, n int) { expNEON(dst, x, n) }

func expSums(dst *float64, x *float32, n int, shift, scale float64, sums *[Width]float64) {
	expSumNEON(dst, x, n, shift, scale, sums)
}

func sumAbs(x *float64, n int, sums *[Width]float64) { sumAbsNEON(x, n, sums) }

func countBoth(x, y *bool, n int) int { return countBothNEON(x, y, n) }

func maxima(x *float32, n int, tops *[Width]float32) { maximaNEON(x, n, tops) }
