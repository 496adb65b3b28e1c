package vecmath

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
