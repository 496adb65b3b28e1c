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

// transpose8 writes the kernel that transposes 8 columns of a matrix, 8 of
// their elements at a time. AVX-512 machines use it as well.
func transpose8(x *build.Context) {
	x.Function("transpose8AVX2")
	x.Attributes(attr.NOSPLIT)
	x.SignatureExpr("func(k int, dst *float32, to int, src *float32, from int)")
	x.Doc("transpose8AVX2 is kernels.transpose8.")
	k := x.Load(x.Param("k"), x.GP64()).(reg.GPVirtual)
	dst := x.Load(x.Param("dst"), x.GP64()).(reg.GPVirtual)
	to := x.Load(x.Param("to"), x.GP64()).(reg.GPVirtual)
	src := x.Load(x.Param("src"), x.GP64()).(reg.GPVirtual)
	from := x.Load(x.Param("from"), x.GP64()).(reg.GPVirtual)
	x.SHLQ(operand.U8(2), to)
	x.SHLQ(operand.U8(2), from)

	// lines are the addresses of 8 rows, a stride apart, from p on.
	lines := func(p, stride reg.GPVirtual) []operand.Mem {
		three, five, six := x.GP64(), x.GP64(), x.GP64()
		x.LEAQ(operand.Mem{Base: p, Index: stride, Scale: 2}, three)
		x.ADDQ(stride, three)
		x.LEAQ(operand.Mem{Base: p, Index: stride, Scale: 4}, five)
		x.MOVQ(five, six)
		x.ADDQ(stride, five)
		x.LEAQ(operand.Mem{Base: six, Index: stride, Scale: 2}, six)
		return []operand.Mem{
			{Base: p}, {Base: p, Index: stride, Scale: 1}, {Base: p, Index: stride, Scale: 2}, {Base: three},
			{Base: p, Index: stride, Scale: 4}, {Base: five}, {Base: six}, {Base: six, Index: stride, Scale: 1},
		}
	}
	x.Label("block")
	x.CMPQ(k, operand.U8(8))
	x.JLT(operand.LabelRef("done"))
	y := ymm
	// Halves of rows i and i+4 side by side make the cross-lane step part of
	// the loads.
	in := lines(src, from)
	for i := range 4 {
		x.VMOVUPS(in[i], y[i].AsX())
		x.VINSERTF128(operand.U8(1), in[i+4], y[i], y[i])
		upper, upper4 := in[i], in[i+4]
		upper.Disp, upper4.Disp = 16, 16
		x.VMOVUPS(upper, y[i+4].AsX())
		x.VINSERTF128(operand.U8(1), upper4, y[i+4], y[i+4])
	}
	out := lines(dst, to)
	for h := 0; h < 8; h += 4 {
		// y[h..h+3] hold elements h..h+3 of rows 0..3 and 4..7.
		x.VUNPCKLPS(y[h+1], y[h], y[8])
		x.VUNPCKHPS(y[h+1], y[h], y[9])
		x.VUNPCKLPS(y[h+3], y[h+2], y[10])
		x.VUNPCKHPS(y[h+3], y[h+2], y[11])
		x.VUNPCKLPD(y[10], y[8], y[12])
		x.VUNPCKHPD(y[10], y[8], y[13])
		x.VUNPCKLPD(y[11], y[9], y[14])
		x.VUNPCKHPD(y[11], y[9], y[15])
		for i := range 4 {
			x.VMOVUPS(y[12+i], out[h+i])
		}
	}
	x.ADDQ(operand.U8(32), src)
	x.LEAQ(operand.Mem{Base: dst, Index: to, Scale: 8}, dst)
	x.SUBQ(operand.U8(8), k)
	x.JMP(operand.LabelRef("block"))
	x.Label("done")
	x.VZEROUPPER()
	x.RET()
}

// prefetch writes the kernel that has rows fetched into the second-level
// cache. It exists once, for all instruction sets.
func prefetch(x *build.Context) {
	x.Function("prefetchAVX2")
	x.Attributes(attr.NOSPLIT)
	x.SignatureExpr("func(x *float32, stride, rows, cols int)")
	x.Doc("prefetchAVX2 is kernels.prefetch.")
	load := func(name string) reg.GPVirtual { return x.Load(x.Param(name), x.GP64()).(reg.GPVirtual) }
	row, stride, rows, bytes := load("x"), load("stride"), load("rows"), load("cols")
	x.SHLQ(operand.U8(2), stride)
	x.SHLQ(operand.U8(2), bytes)
	x.Label("row")
	x.TESTQ(rows, rows)
	x.JZ(operand.LabelRef("done"))
	at := x.GP64()
	x.XORQ(at, at)
	x.Label("line")
	x.PREFETCHT1(operand.Mem{Base: row, Index: at, Scale: 1})
	x.ADDQ(operand.U8(64), at)
	x.CMPQ(at, bytes)
	x.JLT(operand.LabelRef("line"))
	x.ADDQ(stride, row)
	x.DECQ(rows)
	x.JMP(operand.LabelRef("row"))
	x.Label("done")
	x.RET()
}
