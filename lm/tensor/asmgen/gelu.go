package main

import (
	"github.com/mmcloughlin/avo/reg"
)

// tail are the coefficients of cpu.normalCDF, the highest power first.
var tail = []float32{
	-0.059149038046598434, 0.2849665582180023, -0.4880127012729645, 0.2789994478225708, -0.027269717305898666,
	0.20296019315719604, 0.2430344671010971, 0.28238487243652344, 0.2820858657360077,
}

// normalCDF sets register c to the distribution function of the standard normal
// distribution at register x, and e to exp(−x²/2); register one is 1. See
// cpu.normalCDF for the method.
func (v *vec) normalCDF(c, e, x, one, t, n int) {
	v.VMULPS(v.r(x), v.r(x), v.r(e))
	v.VMULPS(v.constant(-0.5), v.r(e), v.r(e))
	v.exp(e, t, n)
	v.zero(n)
	v.VSUBPS(v.r(x), v.r(n), v.r(n))
	v.VMAXPS(v.r(x), v.r(n), v.r(n))
	v.VMOVUPS(v.constant(0.35355339), v.r(t))
	v.VFMADD213PS(v.r(one), v.r(t), v.r(n))
	v.VDIVPS(v.r(n), v.r(one), v.r(t))
	v.VMOVUPS(v.constant(tail[0]), v.r(c))
	for _, a := range tail[1:] {
		v.VFMADD213PS(v.constant(a), v.r(t), v.r(c))
	}
	v.VMULPS(v.constant(0.5), v.r(t), v.r(t))
	v.VMULPS(v.r(t), v.r(c), v.r(c))
	v.VMULPS(v.r(e), v.r(c), v.r(c))
	v.VSUBPS(v.r(c), v.r(one), v.r(t))
	// The sign of x tells which of the two it is.
	if v.wide() {
		v.VPMOVD2M(v.r(x), reg.K2)
		v.VBLENDMPS(v.r(c), v.r(t), reg.K2, v.r(c))
	} else {
		v.VBLENDVPS(v.r(x), v.r(c), v.r(t), v.r(c))
	}
}

func (v *vec) gelu() {
	v.function("gelu", "func(y, x []float32)")
	y, x, n := v.base("y"), v.base("x"), v.count("y")
	v.VMOVUPS(v.constant(1), v.r(0))
	v.loop(n, func() {
		v.load(x, 1)
		v.normalCDF(2, 3, 1, 0, 4, 5)
		v.VMULPS(v.r(1), v.r(2), v.r(2))
		v.store(2, y)
	})
	v.end()
}

func (v *vec) geluGrad() {
	v.function("geluGrad", "func(dx, dy, x []float32)")
	dx, dy, x, n := v.base("dx"), v.base("dy"), v.base("x"), v.count("dx")
	v.VMOVUPS(v.constant(1), v.r(0))
	v.loop(n, func() {
		v.load(x, 1)
		v.normalCDF(2, 3, 1, 0, 4, 5)
		v.VMULPS(v.constant(0.3989422804), v.r(3), v.r(3))
		v.VFMADD231PS(v.r(1), v.r(3), v.r(2))
		v.load(dy, 3)
		v.VMULPS(v.r(3), v.r(2), v.r(2))
		v.store(2, dx)
	})
	v.end()
}
