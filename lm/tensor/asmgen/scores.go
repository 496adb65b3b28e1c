package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// scoresTile is the micro-kernel of attention scores. Like that of the matrix
// product it holds a tile of rows × 2 vectors in registers. But queries are so
// short that a call per tile, and the scaling of the results, would take a third
// of the time. So it goes over all panels of keys itself and only stores.
type scoresTile struct {
	*build.Context
	name string
	rows int
	// bytes is the width of a vector.
	bytes              int
	acc, right, spread []reg.VecPhysical

	ptr                     []reg.GPVirtual // of every third row of a
	rsa, b, step, n, c, ldc reg.GPVirtual
}

func scores(x *build.Context, name string, rows, bytes int, regs []reg.VecPhysical) {
	t := &scoresTile{Context: x, name: name, rows: rows, bytes: bytes}
	t.right, t.acc, t.spread = regs[:2], regs[2:2+2*rows], regs[2+2*rows:]
	t.emit()
}

func (t *scoresTile) emit() {
	t.Function(t.name)
	t.Attributes(attr.NOSPLIT)
	t.SignatureExpr("func(m, n, k int, a *float32, rsa int, b *float32, step int, c *float32, ldc int)")
	t.Doc(t.name + " is kernels.scores.")
	load := func(name string) reg.GPVirtual { return t.Load(t.Param(name), t.GP64()).(reg.GPVirtual) }
	m, a := load("m"), load("a")
	t.rsa, t.b, t.step, t.n, t.c, t.ldc = load("rsa"), load("b"), load("step"), load("n"), load("c"), load("ldc")
	for _, stride := range []reg.GPVirtual{t.rsa, t.step, t.ldc} {
		t.SHLQ(operand.U8(2), stride)
	}
	t.ptr = everyThird(t.Context, a, t.rsa, t.rows)
	for r := t.rows; r > 0; r-- {
		t.CMPQ(m, operand.U8(r))
		t.JEQ(operand.LabelRef(fmt.Sprintf("rows%d", r)))
	}
	t.RET()
	for r := t.rows; r > 0; r-- {
		t.block(r)
	}
}

// block writes the loop over the panels for a number of rows, and the half
// panel at the end.
func (t *scoresTile) block(rows int) {
	label := func(name string) string { return fmt.Sprintf("%s%d", name, rows) }
	lanes := t.bytes / 4
	t.Label(label("rows"))
	t.CMPQ(t.n, operand.U8(2*lanes))
	t.JLT(operand.LabelRef(label("half")))
	t.tile(rows, 2)
	t.ADDQ(t.step, t.b)
	t.ADDQ(operand.U8(2*t.bytes), t.c)
	t.SUBQ(operand.U8(2*lanes), t.n)
	t.JMP(operand.LabelRef(label("rows")))
	t.Label(label("half"))
	t.TESTQ(t.n, t.n)
	t.JZ(operand.LabelRef(label("done")))
	t.tile(rows, 1)
	t.Label(label("done"))
	t.VZEROUPPER()
	t.RET()
}

// tile computes and stores a tile; the pointers stay where they are.
func (t *scoresTile) tile(rows, vectors int) {
	acc := t.acc[:rows*vectors]
	for _, r := range acc {
		t.VXORPS(r, r, r)
	}
	// The rows of c are fetched meanwhile: stores wait for each other's misses.
	c := t.GP64()
	t.MOVQ(t.c, c)
	eachVector(t.Context, rows, vectors, t.bytes, c, t.ldc, func(at operand.Mem, _ int) { t.PREFETCHT0(at) })
	ptr := t.ptr[:(rows+2)/3]
	k := t.Load(t.Param("k"), t.GP64()).(reg.GPVirtual)
	b, back := t.GP64(), t.GP64()
	t.MOVQ(t.b, b)
	t.XORQ(back, back)
	loop := fmt.Sprintf("tile%dx%d", rows, vectors)
	t.Label(loop)
	for v := range vectors {
		t.VMOVUPS(operand.Mem{Base: b, Disp: v * t.bytes}, t.right[v])
	}
	t.ADDQ(operand.U8(2*t.bytes), b)
	multiplyRows(t.Context, rows, ptr, t.rsa, t.right[:vectors], t.spread, acc, fma)
	for _, p := range ptr {
		t.ADDQ(operand.U8(4), p)
	}
	t.SUBQ(operand.U8(4), back)
	t.DECQ(k)
	t.JNZ(operand.LabelRef(loop))
	for _, p := range ptr {
		t.ADDQ(back, p)
	}
	t.MOVQ(t.c, c)
	eachVector(t.Context, rows, vectors, t.bytes, c, t.ldc, func(at operand.Mem, i int) { t.VMOVUPS(acc[i], at) })
}
