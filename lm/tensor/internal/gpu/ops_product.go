package gpu

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// MatMul computes c = alpha·op(a)·op(b) + beta·c.
func (b *Backend) MatMul(opA, opB tensor.Op, m, n, k int, alpha float32, x, y tensor.Buffer, beta float32, c tensor.Buffer) {
	shape.MatMul(m, n, k, x, y, c)
	right := factor{buf: y}
	right.row, right.col = strides(opB, k, n)
	b.product(opA, m, n, k, alpha, x, right, beta, c)
}

// factor is the right side of a product: element (p, j) is buf[p·row + j·col].
type factor struct {
	buf      tensor.Buffer
	row, col int
	bf16     bool // packed in bfloat16: see Pack
}

// strides returns the distances in memory between neighbouring rows and
// neighbouring columns of op(x) [rows×cols].
func strides(op tensor.Op, rows, cols int) (row, col int) {
	if op == tensor.OpT {
		return 1, rows
	}
	return cols, 1
}

// fewRows is up to how many rows a product is bound by reading the right side.
const fewRows = 8

// product computes c = alpha·op(x)·y + beta·c in float32. The order of the sums
// depends on the shape alone, not on how y is stored.
func (b *Backend) product(opA tensor.Op, m, n, k int, alpha float32, x tensor.Buffer, y factor, beta float32, c tensor.Buffer) {
	a := b.call()
	a.act(c)
	a.act(x)
	if y.bf16 {
		a.packed(y.buf)
	} else {
		a.act(y.buf)
	}
	a.i32(m)
	a.i32(n)
	a.i32(k)
	few := opA == tensor.OpN && m <= fewRows
	if !few {
		row, col := strides(opA, m, k)
		a.i32(row)
		a.i32(col)
	}
	a.i32(y.row)
	a.i32(y.col)
	a.f32(alpha)
	a.f32(beta)
	switch {
	case m == 0:
	case !few:
		b.launch("matmul", blocks(n, 64), blocks(m, 64), 256)
	case m == 1:
		b.launch("matvec1", blocks(n, 8), 1, 256)
	case m == 2:
		b.launch("matvec2", blocks(n, 8), 1, 256)
	case m <= 4:
		b.launch("matvec4", blocks(n, 8), 1, 256)
	default:
		b.launch("matvec8", blocks(n, 8), 1, 256)
	}
}

// packed adds a matrix in bfloat16 that lies in a buffer of float32.
func (c *call) packed(buf tensor.Buffer) {
	x := c.b.own(buf)
	c.b.usable(x)
	c.memory(x.of.m, 2*x.from)
	c.flag(true)
}

// pitch is the length of a row of a packed matrix: k, rounded up to what a step
// of the tensor-core kernels takes.
func pitch(k int) int { return blocks(k, 64) * 64 }

// PackedLen is the number of buffer elements that op(b) [k×n] takes when it is
// packed: its transpose, rows padded with zeros.
func (b *Backend) PackedLen(f tensor.Format, n, k int) int {
	shape.Format(f)
	if f == tensor.FormatBFloat16 {
		return n * pitch(k) / 2
	}
	return n * pitch(k)
}

// Pack writes op(y) [k×n], packed, into p.
func (b *Backend) Pack(f tensor.Format, p tensor.Buffer, opB tensor.Op, n, k int, y tensor.Buffer) {
	shape.Pack(b.PackedLen(f, n, k), n, k, p, y)
	c := b.call()
	c.buf(p)
	c.act(y)
	c.i32(n)
	c.i32(k)
	c.i32(pitch(k))
	row, col := strides(opB, k, n)
	c.i32(row)
	c.i32(col)
	name := "pack_f32"
	if f == tensor.FormatBFloat16 {
		name = "pack_bf16"
	}
	b.launch(name, blocks(pitch(k), 32), blocks(n, 32), 256)
}

// MatMulPacked computes C = alpha·x·P + beta·C for every product.
func (b *Backend) MatMulPacked(f tensor.Format, m, k int, alpha float32, x tensor.Buffer, beta float32, products ...tensor.Product) {
	shape.MatMulPacked(b.PackedLen, f, m, k, x, products)
	for _, p := range products {
		y := factor{buf: p.P, row: 1, col: pitch(k), bf16: f == tensor.FormatBFloat16}
		b.product(tensor.OpN, m, p.N, k, alpha, x, y, beta, p.C)
	}
}
