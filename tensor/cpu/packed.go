package cpu

import (
	"github.com/stepwise-rl/stepwise/tensor"
	"github.com/stepwise-rl/stepwise/tensor/internal/shape"
)

var _ tensor.Packer = (*Backend)(nil)

// A packed matrix is what MatMul packs for every product: panels of op(b), a
// block of k after the other. A product with few rows then reads memory once
// and in order, which is all that bounds it.

// PackedLen is the number of elements of op(b) [k×n] packed: n is rounded up
// to whole panels.
func (b *Backend) PackedLen(n, k int) int { return b.kern.packedLen(k, n) }

// Pack writes op(b) [k×n] packed into p.
func (b *Backend) Pack(p tensor.Buffer, opB tensor.Op, n, k int, y tensor.Buffer) {
	shape.Pack(b.PackedLen(n, k), n, k, p, y)
	if n == 0 || k == 0 {
		return
	}
	yv := view{b.data(y), n, 1}
	if opB == tensor.T {
		yv.rs, yv.cs = 1, k
	}
	b.packBlocks(b.data(p), yv, k, n)
}

// MatMulPacked computes c = alpha·a·p + beta·c.
func (b *Backend) MatMulPacked(m, n, k int, alpha float32, x, p tensor.Buffer, beta float32, c tensor.Buffer) {
	shape.MatMulPacked(b.PackedLen(n, k), m, n, k, x, p, c)
	cd := b.data(c)
	switch {
	case m == 0 || n == 0:
	case k == 0:
		scaleOrClear(cd, beta)
	default:
		right := panels{data: b.data(p), rs: b.kern.tile, wide: roundUp(n, b.kern.tile)}
		b.multiply(m, n, k, alpha, view{b.data(x), k, 1}, right, beta, view{cd, n, 1})
	}
}
