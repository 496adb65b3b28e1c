package main

import (
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// exp64 writes the exponential of package objective: float64, four at a time.
// With k = round(x/ln 2) it is 2^k, put into the exponent bits, times exp of a
// remainder below ln(2)/2 in size, for which 13 terms of the series are exact.
func exp64(x *build.Context) {
	constant := func(name string, bits uint64) operand.Mem {
		m := x.StaticGlobal(name)
		x.DataAttributes(attr.RODATA | attr.NOPTR)
		for i := range 4 {
			x.AddDatum(8*i, operand.U64(bits))
		}
		return m
	}
	float := func(name string, v float64) operand.Mem { return constant(name, math.Float64bits(v)) }
	abs := constant("abs", 1<<63-1)
	limit := float("limit", 700)
	log2e := float("log2e", math.Log2E)
	round := float("round", 3<<51) // in this binade float64 holds integers only
	ln2Hi, ln2Lo := float("ln2hi", 0x1.62e42fefa3800p-1), float("ln2lo", 0x1.ef35793c76730p-45)
	var terms []operand.Mem // 1/13!, …, 1/1!, 1/0!
	factorial := 1.0
	for i := range 14 {
		factorial *= max(1, float64(i))
		terms = append([]operand.Mem{float("term"+string(rune('a'+i)), 1/factorial)}, terms...)
	}

	x.Function("expAVX2")
	x.Attributes(attr.NOSPLIT)
	x.Pragma("noescape")
	x.SignatureExpr("func(dst, x *float64, n int) bool")
	x.Doc("expAVX2 writes exp of the n numbers from x on to dst; n is a multiple of 4",
		"above 0. It reports whether all of them are less than 700 in size: nothing is",
		"to be expected for those that are not.")
	dst, src, n := x.Load(x.Param("dst"), x.GP64()), x.Load(x.Param("x"), x.GP64()), x.Load(x.Param("n"), x.GP64()).(reg.GPVirtual)
	in, k, t, p, ok := reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4
	x.VPCMPEQQ(ok, ok, ok)
	i := x.GP64()
	x.XORQ(i, i)
	x.Label("loop")
	x.VMOVUPD(operand.Mem{Base: src.(reg.Register), Index: i, Scale: 8}, in)
	x.VANDPD(abs, in, t)
	x.VCMPPD(operand.U8(1), limit, t, t) // less than, and so no NaN
	x.VANDPD(t, ok, ok)
	x.VMOVUPD(log2e, k)
	x.VFMADD213PD(round, in, k)
	x.VSUBPD(round, k, t)
	x.VFNMADD231PD(ln2Hi, t, in)
	x.VFNMADD231PD(ln2Lo, t, in)
	x.VMOVUPD(terms[0], p)
	for _, term := range terms[1:] {
		x.VFMADD213PD(term, in, p)
	}
	x.VPSLLQ(operand.U8(52), k, k)
	x.VPADDQ(k, p, p)
	x.VMOVUPD(p, operand.Mem{Base: dst.(reg.Register), Index: i, Scale: 8})
	x.ADDQ(operand.U8(4), i)
	x.CMPQ(i, n)
	x.JLT(operand.LabelRef("loop"))
	all := x.GP32()
	x.VMOVMSKPD(ok, all)
	x.CMPL(all, operand.U8(15))
	res := x.GP8()
	x.SETEQ(res)
	x.VZEROUPPER()
	x.Store(res, x.ReturnIndex(0))
	x.RET()
}
