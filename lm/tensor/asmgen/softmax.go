package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func (v *vec) max() {
	v.function("max", "func(x []float32) (top float32)")
	x, n := v.base("x"), v.count("x")
	v.VBROADCASTSS(operand.Mem{Base: x}, v.r(0))
	v.loop(n, func() {
		v.load(x, 1)
		v.fillTail(1, 0)
		v.VMAXPS(v.r(1), v.r(0), v.r(0))
	})
	v.reduce(v.VMAXPS, 0, 1)
	v.result("top", 0)
	v.end()
}

func (v *vec) expSums() {
	v.function("expSums", "func(x []float32, scale, shift float32) (sum, weighted float32)")
	x, n := v.base("x"), v.count("x")
	v.broadcast("scale", 0)
	v.broadcast("shift", 1)
	v.zero(2)
	v.zero(3)
	v.loop(n, func() {
		v.load(x, 4)
		v.VSUBPS(v.r(1), v.r(4), v.r(4))
		v.VMULPS(v.r(0), v.r(4), v.r(4))
		v.VMAXPS(v.constant(-105), v.r(4), v.r(5)) // below, the exponential is 0: so is 0 times it
		v.exp(4, 6, 7)
		v.clearTail(4)
		v.clearTail(5) // of what may be infinite
		v.VADDPS(v.r(4), v.r(2), v.r(2))
		v.VFMADD231PS(v.r(4), v.r(5), v.r(3))
	})
	v.reduce(v.VADDPS, 2, 4)
	v.reduce(v.VADDPS, 3, 4)
	v.result("sum", 2)
	v.result("weighted", 3)
	v.end()
}

// unlessZero sets register i to register from where it is not 0; zero is a temporary.
func (v *vec) unlessZero(i, from, zero int) {
	const unequal = 4 // or NaN
	v.zero(zero)
	if v.wide() {
		v.VCMPPS(operand.U8(unequal), v.r(zero), v.r(i), reg.K2)
		v.VMOVAPS_Z(v.r(from), reg.K2, v.r(i))
		return
	}
	v.VCMPPS(operand.U8(unequal), v.r(zero), v.r(i), v.r(i))
	v.VANDPS(v.r(from), v.r(i), v.r(i))
}

func (v *vec) softmaxGrad() {
	v.function("softmaxGrad", "func(x []float32, scale, shift, log, a, b float32)")
	x, n := v.base("x"), v.count("x")
	for i, p := range []string{"scale", "shift", "log", "a", "b"} {
		v.broadcast(p, i)
	}
	v.loop(n, func() {
		v.load(x, 5)
		v.VSUBPS(v.r(1), v.r(5), v.r(5))
		v.VMULPS(v.r(0), v.r(5), v.r(5))
		v.VSUBPS(v.r(2), v.r(5), v.r(5))
		v.VMOVAPS(v.r(5), v.r(6))
		v.exp(5, 7, 8)
		// −p·(a·z + b)
		v.VFNMSUB213PS(v.r(4), v.r(3), v.r(6))
		v.VMULPS(v.r(5), v.r(6), v.r(6))
		v.unlessZero(5, 6, 7)
		v.store(5, x)
	})
	v.end()
}
