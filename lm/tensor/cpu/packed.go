package cpu

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

var _ tensor.Packer = (*Backend)(nil)

// A packed matrix is what MatMul packs for every product: panels of op(b), a
// block of k after the other. A product with few rows then reads memory once
// and in order, which is all that bounds it.

// PackedLen is the number of elements of op(b) [k×n] packed: n is rounded up
// to whole panels.
func (b *Backend) PackedLen(f tensor.Format, n, k int) int {
	shape.Format(f)
	size := b.kern.packedLen(k, n)
	if f == tensor.FormatBFloat16 {
		size /= 2
	}
	return size
}

// Pack writes op(b) [k×n] packed into p.
func (b *Backend) Pack(f tensor.Format, p tensor.Buffer, opB tensor.Op, n, k int, y tensor.Buffer) {
	shape.Pack(b.PackedLen(f, n, k), n, k, p, y)
	if n == 0 || k == 0 {
		return
	}
	yv := view{b.data(y), n, 1}
	if opB == tensor.OpT {
		yv.rs, yv.cs = 1, k
	}
	b.packBlocks(b.packed(f, n, p), yv, k, n)
}

// MatMulPacked computes C = alpha·a·P + beta·C for every product.
func (b *Backend) MatMulPacked(f tensor.Format, m, k int, alpha float32, x tensor.Buffer, beta float32, products ...tensor.Product) {
	shape.MatMulPacked(b.PackedLen, f, m, k, x, products)
	b.products = b.products[:0]
	for _, p := range products {
		c := b.data(p.C)
		if k == 0 {
			scaleOrClear(c, beta)
		} else if m > 0 && p.N > 0 {
			b.products = append(b.products, product{p.N, b.packed(f, p.N, p.P), view{c, p.N, 1}})
		}
	}
	b.multiplyAll(m, k, alpha, view{b.data(x), k, 1}, beta)
}

// packed is a packed matrix of n columns.
func (b *Backend) packed(f tensor.Format, n int, p tensor.Buffer) panels {
	return panels{data: b.data(p), rs: b.kern.tile, wide: roundUp(n, b.kern.tile), pairs: f == tensor.FormatBFloat16}
}
