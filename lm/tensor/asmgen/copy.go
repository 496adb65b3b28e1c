package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// copyLines writes the kernel that copies short lines. Processors do not
// prefetch from one line to the next, so the kernel does. AVX-512 machines use
// it as well.
func copyLines(x *build.Context) {
	x.Function("copyLinesAVX2")
	x.Attributes(attr.NOSPLIT)
	x.SignatureExpr("func(lines, n int, dst *float32, to int, src *float32, from, ahead int)")
	x.Doc("copyLinesAVX2 is kernels.copyLines.")
	load := func(name string) reg.GPVirtual { return x.Load(x.Param(name), x.GP64()).(reg.GPVirtual) }
	lines, length, dst, to, src, from, ahead := load("lines"), load("n"), load("dst"), load("to"), load("src"), load("from"), load("ahead")
	x.SHLQ(operand.U8(2), to)
	x.SHLQ(operand.U8(2), from)
	x.IMULQ(from, ahead)
	x.Label("line")
	n, r, w, fetch := x.GP64(), x.GP64(), x.GP64(), x.GP64()
	x.MOVQ(length, n)
	x.MOVQ(src, r)
	x.MOVQ(dst, w)
	x.LEAQ(operand.Mem{Base: src, Index: ahead, Scale: 1}, fetch)
	// part copies as long as there are vectors × 8 elements.
	part := func(name string, vectors int) {
		x.Label(name)
		x.SUBQ(operand.U8(8*vectors), n)
		x.JL(operand.LabelRef(name + "End"))
		for line := 0; line < 32*vectors; line += 64 {
			x.PREFETCHT0(operand.Mem{Base: fetch, Disp: line})
		}
		for v := range vectors {
			x.VMOVUPS(operand.Mem{Base: r, Disp: 32 * v}, ymm[v])
		}
		for v := range vectors {
			x.VMOVUPS(ymm[v], operand.Mem{Base: w, Disp: 32 * v})
		}
		for _, p := range []reg.GPVirtual{r, w, fetch} {
			x.SUBQ(operand.I8(-32*vectors), p)
		}
		x.JMP(operand.LabelRef(name))
		x.Label(name + "End")
		x.ADDQ(operand.U8(8*vectors), n)
	}
	part("four", 4)
	part("one", 1)
	x.JZ(operand.LabelRef("next"))
	x.Label("element")
	x.VMOVSS(operand.Mem{Base: r}, reg.X0)
	x.VMOVSS(reg.X0, operand.Mem{Base: w})
	x.ADDQ(operand.U8(4), r)
	x.ADDQ(operand.U8(4), w)
	x.DECQ(n)
	x.JNZ(operand.LabelRef("element"))
	x.Label("next")
	x.ADDQ(from, src)
	x.ADDQ(to, dst)
	x.DECQ(lines)
	x.JNZ(operand.LabelRef("line"))
	x.VZEROUPPER()
	x.RET()
}
