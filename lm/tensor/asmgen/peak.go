package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// peak writes a loop of multiply-adds in registers: as many independent ones
// as registers allow, so that only the units' throughput counts.
func peak(x *build.Context, name string, regs []reg.VecPhysical, add multiplyAdd) {
	x.Function(name)
	x.Attributes(attr.NOSPLIT)
	x.SignatureExpr("func(n int)")
	x.Doc(fmt.Sprintf("%s is kernels.peak: %d multiply-adds of vectors, n times.", name, len(regs)-2))
	n := x.Load(x.Param("n"), x.GP64())
	for _, r := range regs {
		x.VXORPS(r, r, r)
	}
	x.Label("loop")
	for _, r := range regs[2:] {
		add(x, r, regs[1], regs[0])
	}
	x.DECQ(n)
	x.JNZ(operand.LabelRef("loop"))
	x.VZEROUPPER()
	x.RET()
}

// totalStreams is how many places total reads from at once: the prefetchers
// of a core follow several streams faster than one.
const totalStreams = 4

// total reads memory as fast as the machine can: two vectors of each of
// several equal parts at a time, then the rest.
func (v *vec) total() {
	v.function("total", "func(x []float32) (sum float32)")
	x, n := v.base("x"), v.count("x")
	const sums = 2 * totalStreams
	for i := range sums {
		v.zero(i)
	}
	lanes := v.bytes / 4
	// Each part is a whole number of steps of two vectors.
	steps, part := v.GP64(), v.GP64()
	shift := uint8(0)
	for 1<<shift < sums*lanes {
		shift++
	}
	v.MOVQ(n, steps)
	v.SHRQ(operand.U8(shift), steps)
	v.MOVQ(steps, part)
	v.IMUL3Q(operand.U32(2*v.bytes), part, part)
	streams := []reg.GPVirtual{x}
	for i := 1; i < totalStreams; i++ {
		p := v.GP64()
		v.LEAQ(operand.Mem{Base: streams[i-1], Index: part, Scale: 1}, p)
		streams = append(streams, p)
	}
	step, rest := v.label("step"), v.label("rest")
	v.Label(step)
	v.TESTQ(steps, steps)
	v.JZ(operand.LabelRef(rest))
	for i, p := range streams {
		for j := range 2 {
			r := v.r(2*i + j)
			v.VADDPS(operand.Mem{Base: p, Disp: j * v.bytes}, r, r)
		}
		v.ADDQ(operand.U32(2*v.bytes), p)
	}
	v.SUBQ(operand.U32(sums*lanes), n)
	v.DECQ(steps)
	v.JMP(operand.LabelRef(step))
	v.Label(rest)
	last := streams[totalStreams-1]
	v.loop(n, func() {
		v.load(last, sums)
		v.clearTail(sums)
		v.VADDPS(v.r(sums), v.r(0), v.r(0))
	})
	for half := sums / 2; half > 0; half /= 2 {
		for i := range half {
			v.VADDPS(v.r(i+half), v.r(i), v.r(i))
		}
	}
	v.reduce(v.VADDPS, 0, 1)
	v.result("sum", 0)
	v.end()
}
