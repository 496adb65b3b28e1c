package vecmath

// width is how many numbers a kernel takes at a time, on every instruction set:
// one register of AVX-512, two of AVX2.
const width = 8

// set is an instruction set.
type set int

const (
	plain set = iota
	avx2
	avx512
)

// isa is the best that this processor has; tests go through the others.
var isa = best()

// total adds up eight sums, always in the same order.
func total(s *[width]float64) float64 {
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}
