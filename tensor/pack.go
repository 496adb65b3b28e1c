package tensor

// Format is how a packed matrix stores its elements.
type Format int

const (
	// Float32: as they are.
	Float32 Format = iota
	// BFloat16: rounded to the nearest bfloat16, ties to even, which has the
	// range of a float32 and 8 bits of precision. It takes half of the memory,
	// and reading it half of the time, which bounds products with few rows.
	BFloat16
)

// Packer is implemented by backends that multiply faster by matrices that
// were laid out for it before. That pays where weights are used many times
// unchanged by few rows, as in decoding; it takes as much memory again, or half
// of it.
type Packer interface {
	// PackedLen is the number of a buffer's elements that op(b) [k×n] takes
	// packed.
	PackedLen(f Format, n, k int) int
	// Pack writes op(b) [k×n], packed, into p [PackedLen(f, n, k)]. Packed
	// matrices are for MatMulPacked, with the same format, only.
	Pack(f Format, p Buffer, opB Op, n, k int, b Buffer)
	// MatMulPacked is Backend.MatMul(N, opB, m, n, k, alpha, a, b, beta, c),
	// to the last bit, for p = op(b) [k×n] packed: of b rounded to the format.
	// a is not rounded, and sums are in float32, whatever the format.
	MatMulPacked(f Format, m, n, k int, alpha float32, a, p Buffer, beta float32, c Buffer)
}
