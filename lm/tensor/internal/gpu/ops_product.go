package gpu

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// factor is a side of a product: element (i, p) of the left one, or (p, j) of the
// right one, with p along the sum, is at i·row + p·col, or p·row + j·col.
type factor struct {
	element
	row, col int
	weight   *weight // if its products are kept
}

func (b *Backend) factor(buf tensor.Buffer, op tensor.Op, rows, cols int) factor {
	x := b.own(buf)
	b.usable(x)
	f := factor{element: x.element(), row: cols, col: 1, weight: x.of.weight}
	if op == tensor.OpT {
		f.row, f.col = 1, rows
	}
	return f
}

// MatMul computes c = alpha·op(a)·op(b) + beta·c.
func (b *Backend) MatMul(opA, opB tensor.Op, m, n, k int, alpha float32, x, y tensor.Buffer, beta float32, c tensor.Buffer) {
	shape.MatMul(m, n, k, x, y, c)
	b.product(m, n, k, alpha, b.factor(x, opA, m, k), b.factor(y, opB, k, n), addends{add: c, beta: beta}, c)
}

// Linear computes y = x·wᵀ + bias + add.
func (b *Backend) Linear(y, x, w, bias, add tensor.Buffer, rows, out, in int) {
	shape.Linear(y, x, w, bias, add, rows, out, in)
	plus := addends{add: y, bias: bias}
	if add != nil {
		plus.add, plus.beta = add, 1
	}
	b.product(rows, out, in, 1, b.factor(x, tensor.OpN, rows, in), b.factor(w, tensor.OpT, in, out), plus, y)
}

// addends are what a product's kernel adds to it before it writes: beta·add, which is
// of the result's shape and may be the result, and bias, a row; nil = none.
type addends struct {
	add, bias tensor.Buffer
	beta      float32
}

func (c *call) addends(p addends) {
	c.src(p.add)
	if p.bias != nil {
		c.buf(p.bias)
	} else {
		c.memory(c.b.own(p.add).of.m, 0) // which the kernel does not touch
	}
	c.f32(p.beta)
	c.flag(p.bias != nil)
}

// fewRows is up to how many rows a product is bound by reading the right side.
const fewRows = 8

// leastWork is up to how many terms a product is not worth rounding its sides for.
const leastWork = 1 << 14

// product computes c = alpha·x·y and the addends. How it does that depends on the
// shape and on the left side, not on how the right side is stored.
func (b *Backend) product(m, n, k int, alpha float32, x, y factor, plus addends, c tensor.Buffer) {
	if m == 0 || n == 0 {
		return
	}
	few := m <= fewRows && x.col == 1
	if b.prec != tensor.PrecisionFloat32 && !few && m*n*k >= leastWork {
		b.tensorCores(m, n, k, alpha, x, y, plus, c)
		return
	}
	a := b.call()
	a.act(c)
	a.element(x.element)
	a.element(y.element)
	a.i32(m)
	a.i32(n)
	a.i32(k)
	if !few {
		a.i32(x.row)
		a.i32(x.col)
	}
	a.i32(y.row)
	a.i32(y.col)
	a.f32(alpha)
	a.addends(plus)
	switch {
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

// tensorCores is product with both sides rounded to the backend's precision.
func (b *Backend) tensorCores(m, n, k int, alpha float32, x, y factor, plus addends, c tensor.Buffer) {
	left, freeLeft := b.rounded(factor{element: x.element, row: x.col, col: x.row}, m, k)
	defer b.release(freeLeft)
	right, freeRight := b.rounded(y, n, k)
	defer b.release(freeRight)
	if to := b.own(c); b.lib != nil {
		if plus.add != c {
			b.Copy(c, plus.add)
		}
		to.of.written()
		b.usable(to)
		b.multiply(&Product{
			M: m, N: n, K: k, Row: pitch(k), A: left, B: right, C: Operand{to.of.m, to.of.bytes(to.from)},
			Half: b.prec == tensor.PrecisionBFloat16, HalfC: to.of.half, Alpha: alpha, Beta: plus.beta,
		})
		if plus.bias != nil {
			b.AddBias(c, plus.bias, m, n)
		}
		return
	}
	kernel, tile, stages := "product_bf16", 128, 64<<10
	if b.prec == tensor.PrecisionTF32 {
		kernel = "product_tf32"
	}
	if blocks(m, 128)*blocks(n, 128) < 128 { // too few for a large device
		kernel, tile, stages = kernel+"_small", 64, 32<<10
	}
	a := b.call()
	a.act(c)
	a.memory(left.Memory, left.At/4)
	a.memory(right.Memory, right.At/4)
	a.i32(m)
	a.i32(n)
	a.i32(b.rowBytes(k) / 16)
	a.f32(alpha)
	a.addends(plus)
	b.launchGrid(kernel, [3]int{blocks(m, tile) * blocks(n, tile), 1, 1}, 128, stages)
}

// rowBytes is the size of a row of k elements in the backend's precision.
func (b *Backend) rowBytes(k int) int {
	if b.prec == tensor.PrecisionTF32 {
		return 4 * pitch(k)
	}
	return 2 * pitch(k)
}

// rounded returns f [k×n] in the backend's precision, packed, and what of it is to
// be released after use. What lies like that already, as packed weights do and
// activations of 16 bits whose rows need no padding, is taken as it is, if its
// pieces of 16 bytes are aligned. What is a weight's stays with it until the weight
// is written.
func (b *Backend) rounded(f factor, n, k int) (m Operand, scratch Memory) {
	if b.prec == tensor.PrecisionBFloat16 && f.half && f.row == 1 && f.col == pitch(k) && f.at%8 == 0 {
		return Operand{f.m, 2 * f.at}, 0
	}
	key := shadow{f.at, f.row, f.col, n, k}
	if f.weight != nil {
		if m, ok := f.weight.shadows[key]; ok {
			return Operand{m, 0}, 0
		}
	}
	packed := b.scratch(n * b.rowBytes(k) / 4)
	format := tensor.FormatBFloat16
	if b.prec == tensor.PrecisionTF32 {
		format = tensor.FormatFloat32
	}
	b.pack(format, b.prec == tensor.PrecisionTF32, packed, 0, f, n, k)
	if f.weight != nil && b.err == nil {
		f.weight.shadows[key] = packed
		return Operand{packed, 0}, 0
	}
	return Operand{packed, 0}, packed
}

// pitch is the length of a row of a packed matrix: k, rounded up to what a step
// of the tensor-core kernels takes.
func pitch(k int) int { return blocks(k, 64) * 64 }

// pack writes y [k×n], packed, at element at of p.
func (b *Backend) pack(f tensor.Format, tf32 bool, p Memory, at int, y factor, n, k int) {
	c := b.call()
	c.memory(p, at)
	c.element(y.element)
	c.i32(n)
	c.i32(k)
	c.i32(pitch(k))
	c.i32(y.row)
	c.i32(y.col)
	if f == tensor.FormatBFloat16 {
		b.launch("pack_bf16", blocks(pitch(k), 32), blocks(n, 32), 256)
		return
	}
	c.flag(tf32)
	b.launch("pack_f32", blocks(pitch(k), 32), blocks(n, 32), 256)
}

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
	to := b.own(p)
	to.of.written()
	b.usable(to)
	b.pack(f, false, to.of.m, to.from, b.factor(y, opB, k, n), n, k)
}

// MatMulPacked computes C = alpha·x·P + beta·C for every product.
func (b *Backend) MatMulPacked(f tensor.Format, m, k int, alpha float32, x tensor.Buffer, beta float32, products ...tensor.Product) {
	shape.MatMulPacked(b.PackedLen, f, m, k, x, products)
	for _, p := range products {
		y := b.factor(p.P, tensor.OpT, pitch(k), p.N)
		y.row, y.col = 1, pitch(k)
		if f == tensor.FormatBFloat16 {
			y.half, y.at = true, 2*y.at // it lies in a buffer of float32
		}
		b.product(m, p.N, k, alpha, b.factor(x, tensor.OpN, m, k), y, addends{add: p.C, beta: beta}, p.C)
	}
}

// weight is what is kept of a buffer that KeepWeight was called with: its contents
// as products read them.
type weight struct{ shadows map[shadow]Memory }

// shadow is a part of a weight, as which factor of which shape.
type shadow struct{ at, row, col, n, k int }

// KeepWeight says that many products will read buf between two operations that
// write it. In float32 there is nothing to keep.
func (b *Backend) KeepWeight(buf tensor.Buffer) {
	x := b.own(buf)
	if b.prec != tensor.PrecisionFloat32 && x.of.weight == nil {
		x.of.weight = &weight{shadows: map[shadow]Memory{}}
	}
}

// written drops what is kept of a weight, since an operation writes it.
func (a *allocation) written() {
	if a.weight != nil {
		a.owner.dropShadows(a.weight)
	}
}

// forget gives up all that is kept of a buffer that is freed.
func (b *Backend) forget(a *allocation) {
	a.written()
	a.weight = nil
}

func (b *Backend) dropShadows(w *weight) {
	for _, m := range w.shadows {
		b.pool.put(m)
	}
	clear(w.shadows)
}
