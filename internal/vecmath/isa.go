package vecmath

// Width is how many numbers a kernel takes at a time, on every instruction set:
// one register of AVX-512, two of AVX2,
// four of NEON.
const Width = 8

// ISA is an instruction set.
type ISA int

const (
	Go ISA = iota // none: plain Go
	AVX2
	AVX512
	NEON
)

// String returns "go", "avx2", "avx512" or "neon".
func (i ISA) String() string { return [...]string{"go", "avx2", "avx512", "neon"}[i] }

// isa is the best that this processor has; tests go through the others.
var isa = Best()

// Whole is how many of n numbers kernels can take; the rest is left to Go.
func (i ISA) Whole(n int) int {
	if i == Go {
		return 0
	}
	return n &^ (Width - 1)
}

// Total adds up a sum of eight parts, always in the same order.
func Total(s *[Width]float64) float64 {
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}
