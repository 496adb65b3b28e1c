package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// decodeTile is the micro-kernel of decoding: few rows times a cache that comes
// from memory. While it reads b, it prefetches, at a given distance, what the next
// product reads.
type decodeTile struct {
	*build.Context
	// widths are the numbers of vectors of a tile: the first of them for whole
	// panels, the others for the rest of the columns.
	widths []int
	bytes  int // of a vector
	// acc, right and spread are the registers for a tile, b and a.
	acc, right, spread []reg.VecPhysical

	ptr                               []reg.GPVirtual // of every third row of a
	rsa, b, rsb, step, n, c, ldc, far reg.GPVirtual
}

// decode writes a micro-kernel for at most rows rows.
func decode(x *build.Context, name string, rows, bytes int, regs []reg.VecPhysical, widths ...int) {
	sums := rows * widths[0]
	t := &decodeTile{
		Context: x, widths: widths, bytes: bytes,
		acc: regs[:sums], right: regs[sums : sums+widths[0]], spread: regs[sums+widths[0]:],
	}
	t.Function(name)
	t.Attributes(attr.NOSPLIT)
	t.SignatureExpr("func(m, n, k int, a *float32, rsa int, b *float32, rsb, step int, c *float32, ldc, far int)")
	t.Doc(name + " is cacheKernel.mul.")
	load := func(name string) reg.GPVirtual { return t.Load(t.Param(name), t.GP64()).(reg.GPVirtual) }
	m, a := load("m"), load("a")
	t.rsa, t.b, t.rsb, t.step, t.n = load("rsa"), load("b"), load("rsb"), load("step"), load("n")
	t.c, t.ldc, t.far = load("c"), load("ldc"), load("far")
	for _, stride := range []reg.GPVirtual{t.rsa, t.rsb, t.step, t.ldc} {
		t.SHLQ(operand.U8(2), stride)
	}
	t.ptr = everyThird(x, a, t.rsa, rows)
	for r := rows; r > 1; r-- {
		t.CMPQ(m, operand.U8(r))
		t.JEQ(operand.LabelRef(fmt.Sprintf("rows%d", r)))
	}
	for r := 1; r <= rows; r++ {
		t.block(r)
	}
}

// block writes the tiles of a number of rows.
func (t *decodeTile) block(rows int) {
	t.Label(fmt.Sprintf("rows%d", rows))
	for i, w := range t.widths {
		label := func(name string) operand.LabelRef { return operand.LabelRef(fmt.Sprintf("%s%dx%d", name, rows, w)) }
		t.Label(string(label("panel")))
		t.CMPQ(t.n, operand.U8(w*t.bytes/4))
		t.JLT(label("after"))
		t.tile(rows, w)
		t.SUBQ(operand.U8(w*t.bytes/4), t.n)
		t.ADDQ(operand.U32(w*t.bytes), t.c)
		if i == 0 {
			t.ADDQ(t.step, t.b)
			t.JMP(label("panel"))
		} else {
			t.ADDQ(operand.U32(w*t.bytes), t.b)
		}
		t.Label(string(label("after")))
	}
	t.VZEROUPPER()
	t.RET()
}

// tile computes and stores a tile; the pointers stay where they are.
func (t *decodeTile) tile(rows, width int) {
	acc := t.acc[:rows*width]
	for _, r := range acc {
		t.VXORPS(r, r, r)
	}
	ptr := t.ptr[:(rows+2)/3]
	k := t.Load(t.Param("k"), t.GP64()).(reg.GPVirtual)
	b := t.GP64()
	t.MOVQ(t.b, b)
	loop := fmt.Sprintf("loop%dx%d", rows, width)
	t.Label(loop)
	for v := range width {
		t.VMOVUPS(operand.Mem{Base: b, Disp: v * t.bytes}, t.right[v])
	}
	for at := 0; at < width*t.bytes; at += 64 {
		t.PREFETCHT0(operand.Mem{Base: b, Index: t.far, Scale: 1, Disp: at})
	}
	t.ADDQ(t.rsb, b)
	multiplyRows(t.Context, rows, ptr, t.rsa, t.right[:width], t.spread, acc, fma)
	for _, p := range ptr {
		t.ADDQ(operand.U8(4), p)
	}
	t.DECQ(k)
	t.JNZ(operand.LabelRef(loop))
	back := t.Load(t.Param("k"), t.GP64()).(reg.GPVirtual)
	t.SHLQ(operand.U8(2), back)
	for _, p := range ptr {
		t.SUBQ(back, p)
	}
	c := t.GP64()
	t.MOVQ(t.c, c)
	eachVector(t.Context, rows, width, t.bytes, c, t.ldc, func(at operand.Mem, i int) { t.VMOVUPS(acc[i], at) })
}
