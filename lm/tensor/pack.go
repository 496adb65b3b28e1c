package tensor

// Format is how a packed matrix stores its elements.
type Format int

const (
	// FormatFloat32: as they are.
	FormatFloat32 Format = iota
	// FormatBFloat16: rounded to the nearest bfloat16, ties to even, which has the
	// range of a float32 and 8 bits of precision. It takes half of the memory,
	// and reading it half of the time, which bounds products with few rows.
	FormatBFloat16
)

// Packer is implemented by backends that multiply faster by matrices that
// were laid out for it before. That pays where weights are used many times
// unchanged by few rows, as in decoding; it takes as much memory again, or half
// of it. A Backend that wraps another one has to forward its methods, or does
// without them.
type Packer interface {
	// PackedLen is the number of a buffer's elements that op(b) [k×n] takes
	// packed.
	PackedLen(f Format, n, k int) int
	// Pack writes op(b) [k×n], packed, into p [PackedLen(f, n, k)]. Packed
	// matrices are for MatMulPacked, with the same format, only.
	Pack(f Format, p Buffer, opB Op, n, k int, b Buffer)
	// MatMulPacked is, for every product, Backend.MatMul(N, opB, m, N, k,
	// alpha, a, b, beta, C), to the last bit, for P = op(b) [k×N] packed: of b
	// rounded to the format. a is not rounded, and sums are in float32, whatever
	// the format. Several products of one a take less time than one by one.
	MatMulPacked(f Format, m, k int, alpha float32, a Buffer, beta float32, products ...Product)
}

// Product is the right side and the result of a product by a packed matrix.
type Product struct {
	N    int
	P, C Buffer
}
