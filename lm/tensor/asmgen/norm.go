package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// columns returns the length of a row in bytes, and leaves the number of its columns in
// register 5 as a scalar.
func (v *vec) columns(cols reg.GPVirtual) (stride reg.GPVirtual) {
	stride = v.GP64()
	v.MOVQ(cols, stride)
	v.SHLQ(operand.U8(2), stride)
	v.VXORPS(v.x(5), v.x(5), v.x(5))
	v.VCVTSI2SSQ(cols, v.x(5), v.x(5))
	return stride
}

// over divides a scalar by the number of columns, which is in register 5.
func (v *vec) over(i int) { v.VDIVSS(v.x(5), v.x(i), v.x(i)) }

// inverseRoot makes of register i, the sum of a row's squares, 1/√(mean + eps) in all
// lanes, and stores it in the slice at inv, which it moves on; tmp is another register.
func (v *vec) inverseRoot(i, tmp int, inv reg.GPVirtual) {
	v.over(i)
	v.VADDSS(v.address("eps"), v.x(i), v.x(i))
	v.VSQRTSS(v.x(i), v.x(i), v.x(i))
	v.VMOVSS(v.constant(1), v.x(tmp))
	v.VDIVSS(v.x(i), v.x(tmp), v.x(i))
	v.VMOVSS(v.x(i), operand.Mem{Base: inv})
	v.ADDQ(operand.U8(4), inv)
	v.spread(i)
}

func (v *vec) rmsNorm() {
	v.function("rmsNorm", "func(y, inv, x, w []float32, eps float32)")
	y, inv, n := v.base("y"), v.base("inv"), v.count("inv")
	x, w, cols := v.base("x"), v.base("w"), v.count("w")
	stride := v.columns(cols)
	v.rows(n, stride, []reg.GPVirtual{x, y}, func() {
		v.zero(0)
		v.loop(cols, func() {
			v.load(x, 1)
			v.VFMADD231PS(v.r(1), v.r(1), v.r(0))
		})
		v.reduce(v.VADDPS, 0, 1)
		v.inverseRoot(0, 1, inv)
		v.loop(cols, func() {
			v.load(x, 1)
			v.load(w, 2)
			v.VMULPS(v.r(0), v.r(1), v.r(1))
			v.VMULPS(v.r(2), v.r(1), v.r(1))
			v.store(1, y)
		})
	})
	v.end()
}

func (v *vec) rmsNormGrad() {
	v.function("rmsNormGrad", "func(dx, dw, dy, x, w, inv []float32)")
	dx, dw, dy, x := v.base("dx"), v.base("dw"), v.base("dy"), v.base("x")
	w, cols := v.base("w"), v.count("w")
	inv, n := v.base("inv"), v.count("inv")
	stride := v.columns(cols)
	v.rows(n, stride, []reg.GPVirtual{dx, dy, x}, func() {
		v.zero(0)
		v.loop(cols, func() {
			v.load(dy, 1)
			v.load(w, 2)
			v.load(x, 3)
			v.VMULPS(v.r(2), v.r(1), v.r(1))
			v.VFMADD231PS(v.r(3), v.r(1), v.r(0))
		})
		v.reduce(v.VADDPS, 0, 1)
		// register 6 is inv, register 0 the factor of x
		v.VMOVSS(operand.Mem{Base: inv}, v.x(6))
		v.ADDQ(operand.U8(4), inv)
		v.VMULSS(v.x(6), v.x(0), v.x(0))
		v.VMULSS(v.x(6), v.x(0), v.x(0))
		v.over(0)
		v.spread(0)
		v.spread(6)
		v.loop(cols, func() {
			v.load(dy, 1)
			v.load(w, 2)
			v.load(x, 3)
			v.VMULPS(v.r(1), v.r(2), v.r(2))
			v.VFNMADD231PS(v.r(0), v.r(3), v.r(2))
			v.load(dx, 4)
			v.VFMADD231PS(v.r(6), v.r(2), v.r(4))
			v.store(4, dx)
			v.VMULPS(v.r(6), v.r(3), v.r(3))
			v.load(dw, 4)
			v.VFMADD231PS(v.r(1), v.r(3), v.r(4))
			v.store(4, dw)
		})
	})
	v.end()
}

func (v *vec) layerNorm() {
	v.function("layerNorm", "func(y, mean, inv, x, w, bias []float32, eps float32)")
	y, mean, inv, n := v.base("y"), v.base("mean"), v.base("inv"), v.count("inv")
	x, w, cols, bias := v.base("x"), v.base("w"), v.count("w"), v.base("bias")
	stride := v.columns(cols)
	v.rows(n, stride, []reg.GPVirtual{x, y}, func() {
		v.zero(0)
		v.loop(cols, func() {
			v.load(x, 2)
			v.VADDPS(v.r(2), v.r(0), v.r(0))
		})
		v.reduce(v.VADDPS, 0, 2)
		v.over(0)
		v.VMOVSS(v.x(0), operand.Mem{Base: mean})
		v.spread(0)
		v.zero(1)
		v.loop(cols, func() {
			v.load(x, 2)
			v.VSUBPS(v.r(0), v.r(2), v.r(2))
			v.clearTail(2)
			v.VFMADD231PS(v.r(2), v.r(2), v.r(1))
		})
		v.reduce(v.VADDPS, 1, 2)
		v.ADDQ(operand.U8(4), mean)
		v.inverseRoot(1, 2, inv)
		v.loop(cols, func() {
			v.load(x, 2)
			v.load(w, 3)
			v.load(bias, 4)
			v.VSUBPS(v.r(0), v.r(2), v.r(2))
			v.VMULPS(v.r(1), v.r(2), v.r(2))
			v.VFMADD231PS(v.r(2), v.r(3), v.r(4))
			v.store(4, y)
		})
	})
	v.end()
}

func (v *vec) layerNormGrad() {
	v.function("layerNormGrad", "func(dx, dw, dy, x, w, mean, inv []float32)")
	dx, dw, dy, x := v.base("dx"), v.base("dw"), v.base("dy"), v.base("x")
	w, cols := v.base("w"), v.count("w")
	mean, inv, n := v.base("mean"), v.base("inv"), v.count("inv")
	stride := v.columns(cols)
	v.rows(n, stride, []reg.GPVirtual{dx, dy, x}, func() {
		v.VBROADCASTSS(operand.Mem{Base: mean}, v.r(6))
		v.VBROADCASTSS(operand.Mem{Base: inv}, v.r(7))
		v.ADDQ(operand.U8(4), mean)
		v.ADDQ(operand.U8(4), inv)
		// normalised sets register 4 to the normalised row.
		normalised := func() {
			v.load(x, 4)
			v.VSUBPS(v.r(6), v.r(4), v.r(4))
			v.VMULPS(v.r(7), v.r(4), v.r(4))
		}
		v.zero(0)
		v.zero(1)
		v.loop(cols, func() {
			v.load(dy, 2)
			v.load(w, 3)
			v.VMULPS(v.r(3), v.r(2), v.r(2))
			v.VADDPS(v.r(2), v.r(0), v.r(0))
			normalised()
			v.VFMADD231PS(v.r(4), v.r(2), v.r(1))
		})
		v.reduce(v.VADDPS, 0, 2)
		v.reduce(v.VADDPS, 1, 2)
		v.over(0)
		v.over(1)
		v.spread(0)
		v.spread(1)
		v.loop(cols, func() {
			v.load(dy, 2)
			normalised()
			v.load(dw, 3)
			v.VFMADD231PS(v.r(4), v.r(2), v.r(3))
			v.store(3, dw)
			v.load(w, 3)
			v.VFMSUB213PS(v.r(0), v.r(3), v.r(2))
			v.VFNMADD231PS(v.r(4), v.r(1), v.r(2))
			v.load(dx, 3)
			v.VFMADD231PS(v.r(7), v.r(2), v.r(3))
			v.store(3, dx)
		})
	})
	v.end()
}
