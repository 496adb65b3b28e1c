package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

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
