package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func vecmathAVX2(x *build.Context)   { vecmath(lanesAVX2(x)) }
func vecmathAVX512(x *build.Context) { vecmath(lanesAVX512(x)) }

// vecmath writes the kernels of package vecmath.
func vecmath(l *lanes) {
	l.exp()
	l.expSum()
	l.sumAbs()
	l.countBoth()
	l.maxima()
}

func (l *lanes) sumAbs() {
	l.function("sumAbs", "func(x *float64, n int, sums *[8]float64)",
		"adds the absolute value of number i from x on to sums[i%8]; n is a multiple",
		"of 8.")
	x, n, sums := l.pointer("x"), l.pointer("n"), l.pointer("sums")
	v, total, abs := l.vector(), l.vector(), l.heldBits("abs", 1<<63-1)
	l.move(l.memory(operand.Mem{Base: sums}), total)
	l.loop("loop", n, func() {
		l.move(l.at(x), v)
		l.do(l.VANDPD, abs, v, v)
		l.do(l.VADDPD, v, total, total)
	})
	l.move(total, l.memory(operand.Mem{Base: sums}))
	l.end()
}

func (l *lanes) countBoth() {
	l.function("countBoth", "func(x, y *bool, n int) int",
		"returns at how many places both x and y are true; n is a multiple of 8.")
	x, y, n := l.pointer("x"), l.pointer("y"), l.pointer("n")
	v, zero, total := reg.X0, reg.X1, reg.X2
	l.VPXOR(zero, zero, zero)
	l.VPXOR(total, total, total)
	l.loop("loop", n, func() {
		l.VMOVQ(operand.Mem{Base: x, Index: l.index, Scale: 1}, v)
		other := reg.X3
		l.VMOVQ(operand.Mem{Base: y, Index: l.index, Scale: 1}, other)
		l.VPAND(other, v, v)
		l.VPSADBW(zero, v, v) // the sum of eight bytes
		l.VPADDQ(v, total, total)
	})
	count := l.GP64()
	l.VMOVQ(total, count)
	l.Store(count, l.ReturnIndex(0))
	l.end()
}

func (l *lanes) maxima() {
	l.function("maxima", "func(x *float32, n int, tops *[8]float32)",
		"sets tops[i%8] to number i from x on, if that is larger; n is a multiple of 8.")
	x, n, tops := l.pointer("x"), l.pointer("n"), l.pointer("tops")
	top := reg.Y0
	l.VMOVUPS(operand.Mem{Base: tops}, top)
	l.loop("loop", n, func() {
		l.VMAXPS(operand.Mem{Base: x, Index: l.index, Scale: 4}, top, top)
	})
	l.VMOVUPS(top, operand.Mem{Base: tops})
	l.end()
}
