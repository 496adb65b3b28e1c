package main

import "github.com/mmcloughlin/avo/operand"

// totalParts is how many vectors a step of total reads, each into an
// accumulator of its own; totalAhead is how many bytes before their use they
// are asked for.
const (
	totalParts = 8
	totalAhead = 1024
)

// total reads memory as fast as the machine can: whole steps with a prefetch,
// then vectors.
func (v *vec) total() {
	v.function("total", "func(x []float32) (sum float32)")
	x, n := v.base("x"), v.count("x")
	for i := range totalParts {
		v.zero(i)
	}
	step, rest := v.label("step"), v.label("rest")
	v.Label(step)
	v.CMPQ(n, operand.U32(totalParts*v.bytes/4))
	v.JLT(operand.LabelRef(rest))
	for i := range totalParts {
		if i*v.bytes%64 == 0 {
			v.PREFETCHT0(operand.Mem{Base: x, Disp: totalAhead + i*v.bytes})
		}
		v.VADDPS(operand.Mem{Base: x, Disp: i * v.bytes}, v.r(i), v.r(i))
	}
	v.ADDQ(operand.U32(totalParts*v.bytes), x)
	v.SUBQ(operand.U32(totalParts*v.bytes/4), n)
	v.JMP(operand.LabelRef(step))
	v.Label(rest)
	v.loop(n, func() {
		v.load(x, totalParts)
		v.clearTail(totalParts)
		v.VADDPS(v.r(totalParts), v.r(0), v.r(0))
	})
	for half := totalParts / 2; half > 0; half /= 2 {
		for i := range half {
			v.VADDPS(v.r(i+half), v.r(i), v.r(i))
		}
	}
	v.reduce(v.VADDPS, 0, 1)
	v.result("sum", 0)
	v.end()
}
