package tensor

// Packer is implemented by backends that multiply faster by matrices that
// were laid out for it before. That pays where weights are used many times
// unchanged by few rows, as in decoding; it takes as much memory again.
type Packer interface {
	// PackedLen is the number of elements that op(b) [k×n] takes packed.
	PackedLen(n, k int) int
	// Pack writes op(b) [k×n], packed, into p [PackedLen(n, k)]. Packed
	// matrices are for MatMulPacked only.
	Pack(p Buffer, opB Op, n, k int, b Buffer)
	// MatMulPacked is Backend.MatMul(N, opB, m, n, k, alpha, a, b, beta, c),
	// to the last bit, for p = op(b) [k×n] packed.
	MatMulPacked(m, n, k int, alpha float32, a, p Buffer, beta float32, c Buffer)
}
