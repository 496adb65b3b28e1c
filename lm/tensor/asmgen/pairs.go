package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// pairs loads rows of b that are bfloat16s, the upper halves of float32s. A word of
// 32 bits holds an element of the first vector in its lower half, and that of the
// second in its upper half. A shift and a mask widen them.
type pairs struct {
	// keep computes to &= 0xffff0000.
	keep func(to reg.VecPhysical)
}

// load loads the first vector, or both.
func (p *pairs) load(x *build.Context, at operand.Mem, to ...reg.VecPhysical) {
	last := to[len(to)-1]
	x.VMOVUPS(at, last)
	x.VPSLLD(operand.U8(16), last, to[0])
	if len(to) == 2 {
		p.keep(last)
	}
}

// words declares a constant of n equal words.
func words(x *build.Context, name string, n int, word uint32) operand.Mem {
	at := x.StaticGlobal(name)
	x.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range n {
		x.AddDatum(4*i, operand.U32(word))
	}
	return at
}

const upperHalf = 0xffff0000

// pairsAVX512 writes the products whose right operand is of pairs.
func pairsAVX512(x *build.Context) {
	x.ConstraintExpr("amd64")
	upper := words(x, "upper", 1, upperHalf)
	of := &pairs{keep: func(to reg.VecPhysical) { x.VPANDD_BCST(upper, to, to) }}
	stream(x, "streamPairsAVX512", 3, zmm, 64, of, fma)
	tilesAVX512(x, "gemmPairs%dAVX512", "kernels.gemmPairs", of, nil)
}

// pairsAVX2 writes the products whose right operand is of pairs, and what makes
// them.
func pairsAVX2(x *build.Context) {
	x.ConstraintExpr("amd64")
	upper := words(x, "upper", 8, upperHalf)
	of := &pairs{keep: func(to reg.VecPhysical) { x.VPAND(upper, to, to) }}
	stream(x, "streamPairsAVX2", 1, ymm, 32, of, fma)
	tilesAVX2(x, "gemmPairs%dAVX2", "kernels.gemmPairs", of)
	roundPairs(x, upper)
}

// roundPairs writes the kernel that rounds rows of float32s to pairs. AVX-512
// machines use it as well.
func roundPairs(x *build.Context, upper operand.Mem) {
	one, almost, quiet := words(x, "one", 8, 1), words(x, "almostHalf", 8, 0x7fff), words(x, "quiet", 8, 0x400000)
	x.Function("roundPairsAVX2")
	x.Attributes(attr.NOSPLIT)
	x.SignatureExpr("func(rows, half int, dst, src *float32)")
	x.Doc("roundPairsAVX2 is kernels.roundPairs.")
	load := func(name string) reg.GPVirtual { return x.Load(x.Param(name), x.GP64()).(reg.GPVirtual) }
	rows, half, dst, src, n, high := load("rows"), load("half"), load("dst"), load("src"), x.GP64(), x.GP64()
	y := ymm
	// round leaves in v the nearest bfloat16, ties to even, in the upper half;
	// a NaN keeps its upper half and is made quiet, so that it does not become an
	// infinity.
	round := func(v reg.VecPhysical) {
		x.VPSRLD(operand.U8(16), v, y[2])
		x.VPAND(one, y[2], y[2])
		x.VPADDD(almost, y[2], y[2])
		x.VPADDD(v, y[2], y[2])
		x.VCMPPS(operand.U8(3), v, v, y[3]) // unordered: NaN
		x.VPOR(quiet, v, v)
		x.VBLENDVPS(y[3], v, y[2], v)
	}
	x.Label("row")
	x.MOVQ(half, n)
	x.LEAQ(operand.Mem{Base: src, Index: half, Scale: 4}, high)
	x.Label("vector")
	x.VMOVUPS(operand.Mem{Base: src}, y[0])
	x.VMOVUPS(operand.Mem{Base: high}, y[1])
	round(y[0])
	round(y[1])
	x.VPSRLD(operand.U8(16), y[0], y[0])
	x.VPAND(upper, y[1], y[1])
	x.VPOR(y[0], y[1], y[0])
	x.VMOVUPS(y[0], operand.Mem{Base: dst})
	for _, p := range []reg.GPVirtual{src, high, dst} {
		x.ADDQ(operand.U8(32), p)
	}
	x.SUBQ(operand.U8(8), n)
	x.JNZ(operand.LabelRef("vector"))
	x.MOVQ(high, src)
	x.DECQ(rows)
	x.JNZ(operand.LabelRef("row"))
	x.VZEROUPPER()
	x.RET()
}
