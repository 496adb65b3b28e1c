package main

import (
	"encoding/binary"
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Products of bfloat16s, with AVX512_BF16. Go's assembler and avo do not know its
// instructions, so they are written by their encodings, with the mnemonic in a comment,
// which a test disassembles.

// evex writes an instruction of three 512-bit registers of
// opcode map 0F38 with W = 0, as in Intel's manual: d first. name is its mnemonic,
// prefix 2 for F3 and 3 for F2.
func evex(x *build.Context, name string, prefix, opcode byte, d, a, b reg.VecPhysical, operands string) {
	bit := func(r reg.VecPhysical, i int) byte { return ^byte(r.PhysicalIndex()>>i) & 1 }
	code := []byte{
		0x62,
		bit(d, 3)<<7 | bit(b, 4)<<6 | bit(b, 3)<<5 | bit(d, 4)<<4 | 2,
		^byte(a.PhysicalIndex())&15<<3 | 1<<2 | prefix,
		2<<5 | bit(a, 4)<<3,
		opcode,
		3<<6 | byte(d.PhysicalIndex()&7)<<3 | byte(b.PhysicalIndex()&7),
	}
	x.Comment(name + " " + operands)
	x.Instruction(&ir.Instruction{Opcode: "LONG", Operands: []operand.Op{operand.U32(binary.LittleEndian.Uint32(code))}})
	x.Instruction(&ir.Instruction{Opcode: "WORD", Operands: []operand.Op{operand.U16(binary.LittleEndian.Uint16(code[4:]))}})
}

// names are the registers as Intel writes them.
func names(prefix string, rs ...reg.VecPhysical) (list string) {
	for i, r := range rs {
		if i > 0 {
			list += ", "
		}
		list += fmt.Sprintf("%s%d", prefix, r.PhysicalIndex())
	}
	return list
}

// dot adds to each word of d the products of the two bfloat16s in a and in b.
func dot(x *build.Context, d, a, b reg.VecPhysical) {
	evex(x, "vdpbf16ps", 2, 0x52, d, a, b, names("zmm", d, a, b))
}

// round sets d to the 16 numbers of low and then the 16 of high, rounded to bfloat16.
func round(x *build.Context, d, high, low reg.VecPhysical) {
	evex(x, "vcvtne2ps2bf16", 3, 0x72, d, high, low, names("zmm", d, high, low))
}

// dotsAVX512 writes the products, and what rounds their operands.
func dotsAVX512(x *build.Context) {
	x.ConstraintExpr("amd64")
	peak(x, "peakDotsAVX512", zmm, dot)
	stream(x, "streamDotsAVX512", 3, zmm, 64, nil, dot)
	tilesAVX512(x, "gemmDots%dAVX512", "bf16Kernels.gemm", nil, dot)
	roundRows(x)
	roundColumns(x)
}

// firstLanes sets masks of the first lanes of vectors, of which there are count in all.
func firstLanes(x *build.Context, count reg.GPVirtual, masks ...reg.OpmaskPhysical) {
	ones := x.GP64()
	x.MOVQ(operand.I32(-1), ones)
	x.BZHIQ(count, ones, ones)
	for i, k := range masks {
		if i > 0 {
			x.SHRQ(operand.U8(16), ones)
		}
		x.KMOVW(ones.As32(), k)
	}
}

// roundRows writes rounding.rows: 32 numbers of a line become 16 words.
func roundRows(x *build.Context) {
	x.Function("roundRowsAVX512")
	x.Attributes(attr.NOSPLIT)
	x.SignatureExpr("func(lines, k int, dst *float32, to int, src *float32, from int)")
	x.Doc("roundRowsAVX512 is rounding.rows.")
	load := func(name string) reg.GPVirtual { return x.Load(x.Param(name), x.GP64()).(reg.GPVirtual) }
	lines, k, dst, to, src, from := load("lines"), load("k"), load("dst"), load("to"), load("src"), load("from")
	x.SHLQ(operand.U8(2), to)
	x.SHLQ(operand.U8(2), from)
	whole, rest, words := x.GP64(), x.GP64(), x.GP64()
	x.MOVQ(k, whole)
	x.SHRQ(operand.U8(5), whole)
	x.MOVQ(k, rest)
	x.ANDQ(operand.U8(31), rest)
	firstLanes(x, rest, reg.K1, reg.K2)
	// The last word may have one number only.
	x.LEAQ(operand.Mem{Base: rest, Disp: 1}, words)
	x.SHRQ(operand.U8(1), words)
	firstLanes(x, words, reg.K3)
	low, high := zmm[0], zmm[1]

	x.Label("line")
	n, r, w := x.GP64(), x.GP64(), x.GP64()
	x.MOVQ(whole, n)
	x.MOVQ(src, r)
	x.MOVQ(dst, w)
	x.Label("vector")
	x.SUBQ(operand.U8(1), n)
	x.JL(operand.LabelRef("rest"))
	x.VMOVUPS(operand.Mem{Base: r}, low)
	x.VMOVUPS(operand.Mem{Base: r, Disp: 64}, high)
	round(x, low, high, low)
	x.VMOVUPS(low, operand.Mem{Base: w})
	x.ADDQ(operand.U8(64), w)
	x.SUBQ(operand.I8(-128), r)
	x.JMP(operand.LabelRef("vector"))
	x.Label("rest")
	x.TESTQ(rest, rest)
	x.JZ(operand.LabelRef("next"))
	x.VMOVUPS_Z(operand.Mem{Base: r}, reg.K1, low)
	x.VMOVUPS_Z(operand.Mem{Base: r, Disp: 64}, reg.K2, high)
	round(x, low, high, low)
	x.VMOVUPS(low, reg.K3, operand.Mem{Base: w})
	x.Label("next")
	x.ADDQ(from, src)
	x.ADDQ(to, dst)
	x.DECQ(lines)
	x.JNZ(operand.LabelRef("line"))
	x.VZEROUPPER()
	x.RET()
}

// roundColumns writes rounding.columns: 16 numbers of each of two rows become
// 16 words.
func roundColumns(x *build.Context) {
	// 16-bit lanes i and 16 + i side by side.
	order := x.StaticGlobal("zip")
	x.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 16 {
		x.AddDatum(4*i, operand.U32(i|(16+i)<<16))
	}
	x.Function("roundColumnsAVX512")
	x.Attributes(attr.NOSPLIT)
	x.SignatureExpr("func(k, n int, dst *float32, to int, src *float32, from int)")
	x.Doc("roundColumnsAVX512 is rounding.columns.")
	load := func(name string) reg.GPVirtual { return x.Load(x.Param(name), x.GP64()).(reg.GPVirtual) }
	k, columns, dst, to, src, from := load("k"), load("n"), load("dst"), load("to"), load("src"), load("from")
	x.SHLQ(operand.U8(2), to)
	x.SHLQ(operand.U8(2), from)
	rest := x.GP64()
	x.MOVQ(columns, rest)
	x.ANDQ(operand.U8(15), rest)
	firstLanes(x, rest, reg.K1)
	low, high, zip := zmm[0], zmm[1], zmm[2]
	x.VMOVUPS(order, zip)

	x.Label("pair")
	n, r, w, second := x.GP64(), x.GP64(), x.GP64(), x.GP64()
	x.MOVQ(columns, n)
	x.MOVQ(dst, w)
	x.MOVQ(src, r)
	x.LEAQ(operand.Mem{Base: src, Index: from, Scale: 1}, second)
	x.CMPQ(k, operand.U8(2))
	x.JLT(operand.LabelRef("last"))
	// With half of a pair left, the other half is 0.
	for _, two := range []bool{true, false} {
		name := map[bool]string{true: "vector", false: "last"}[two]
		x.Label(name)
		x.SUBQ(operand.U8(16), n)
		x.JL(operand.LabelRef(name + "Rest"))
		x.VMOVUPS(operand.Mem{Base: r}, low)
		if two {
			x.VMOVUPS(operand.Mem{Base: second}, high)
		} else {
			x.VXORPS(high, high, high)
		}
		round(x, low, high, low)
		x.VPERMW(low, zip, low)
		x.VMOVUPS(low, operand.Mem{Base: w})
		x.ADDQ(operand.U8(64), r)
		x.ADDQ(operand.U8(64), second)
		x.ADDQ(operand.U8(64), w)
		x.JMP(operand.LabelRef(name))
		x.Label(name + "Rest")
		x.CMPQ(n, operand.I8(-16))
		x.JEQ(operand.LabelRef(name + "Next"))
		x.VMOVUPS_Z(operand.Mem{Base: r}, reg.K1, low)
		if two {
			x.VMOVUPS_Z(operand.Mem{Base: second}, reg.K1, high)
		} else {
			x.VXORPS(high, high, high)
		}
		round(x, low, high, low)
		x.VPERMW(low, zip, low)
		x.VMOVUPS(low, reg.K1, operand.Mem{Base: w})
		x.Label(name + "Next")
		if two {
			x.LEAQ(operand.Mem{Base: src, Index: from, Scale: 2}, src)
			x.ADDQ(to, dst)
			x.SUBQ(operand.U8(2), k)
			x.JNZ(operand.LabelRef("pair"))
			x.JMP(operand.LabelRef("done"))
		}
	}
	x.Label("done")
	x.VZEROUPPER()
	x.RET()
}
