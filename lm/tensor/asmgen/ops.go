package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func opsAVX2(x *build.Context) {
	x.ConstraintExpr("amd64")
	v := avx2(x)
	v.ops()
	v.rotate()
	transpose8(x)
	prefetch(x)
	scores(x, "scoresAVX2", 6, 32, ymm)
	decode(x, "decodeAVX2", 6, 32, ymm, 2, 1)
}

func opsAVX512(x *build.Context) {
	x.ConstraintExpr("amd64")
	avx512(x).ops()
	scores(x, "scoresAVX512", 12, 64, zmm)
	decode(x, "decodeKeysAVX512", 12, 64, zmm, 2, 1)
	decode(x, "decodeValuesAVX512", 6, 64, zmm, 4, 2, 1)
}

// ops writes all kernels but the matrix product. Their contracts are at the
// fields of cpu.kernels.
func (v *vec) ops() {
	v.axpy()
	v.sumSquares()
	v.max()
	v.expSums()
	v.softmaxGrad()
	v.attendSoftmax()
	v.attendSums()
	v.attendGrad()
	v.rowDots()
	v.scaleRows()
	v.rmsNorm()
	v.rmsNormGrad()
	v.layerNorm()
	v.layerNormGrad()
	v.swiGLU()
	v.swiGLUGrad()
	v.gelu()
	v.geluGrad()
	v.adamW()
	v.total()
}

func (v *vec) axpy() {
	v.function("axpy", "func(dst []float32, alpha float32, x []float32)")
	dst, x, n := v.base("dst"), v.base("x"), v.count("dst")
	v.broadcast("alpha", 0)
	v.loop(n, func() {
		v.load(dst, 1)
		v.load(x, 2)
		v.VFMADD231PS(v.r(0), v.r(2), v.r(1))
		v.store(1, dst)
	})
	v.end()
}

// result stores the first lane of register i as the function's result.
func (v *vec) result(name string, i int) { v.Store(v.x(i), v.Return(name)) }

// sumSquares widens each half vector to float64.
func (v *vec) sumSquares() {
	v.function("sumSquares", "func(x []float32) (sum float64)")
	x, n := v.base("x"), v.count("x")
	v.zero(0)
	v.zero(1)
	v.loop(n, func() {
		v.load(x, 2)
		if v.wide() {
			v.VEXTRACTF64X4(operand.U8(1), v.r(2), v.y(3))
			v.VCVTPS2PD(v.y(2), v.r(2))
			v.VCVTPS2PD(v.y(3), v.r(3))
		} else {
			v.VEXTRACTF128(operand.U8(1), v.r(2), v.x(3))
			v.VCVTPS2PD(v.x(2), v.r(2))
			v.VCVTPS2PD(v.x(3), v.r(3))
		}
		v.VFMADD231PD(v.r(2), v.r(2), v.r(0))
		v.VFMADD231PD(v.r(3), v.r(3), v.r(1))
	})
	v.VADDPD(v.r(1), v.r(0), v.r(0))
	if v.wide() {
		v.VEXTRACTF64X4(operand.U8(1), v.r(0), v.y(1))
		v.VADDPD(v.y(1), v.y(0), v.y(0))
	}
	v.VEXTRACTF128(operand.U8(1), v.y(0), v.x(1))
	v.VADDPD(v.x(1), v.x(0), v.x(0))
	v.VPERMILPD(operand.U8(1), v.x(0), v.x(1))
	v.VADDSD(v.x(1), v.x(0), v.x(0))
	v.result("sum", 0)
	v.end()
}

// rotate exists for AVX2 only: half a head is often 8 elements, for which
// AVX-512 would need masks.
func (v *vec) rotate() {
	v.function("rotate", "func(x, cos, sin []float32, sign float32)")
	lo, n := v.base("x"), v.count("x")
	cos, half, sin := v.base("cos"), v.count("cos"), v.base("sin")
	v.broadcast("sign", 0)
	hi := v.GP64()
	head, done := v.label("head"), v.label("heads")
	v.Label(head)
	v.TESTQ(n, n)
	v.JZ(operand.LabelRef(done))
	v.LEAQ(operand.Mem{Base: lo, Index: half, Scale: 4}, hi)
	v.loop(half, func() {
		v.load(cos, 1)
		v.load(sin, 2)
		v.VMULPS(v.r(0), v.r(2), v.r(2))
		v.load(lo, 3)
		v.load(hi, 4)
		v.VMULPS(v.r(1), v.r(3), v.r(5))
		v.VFNMADD231PS(v.r(2), v.r(4), v.r(5))
		v.VMULPS(v.r(1), v.r(4), v.r(4))
		v.VFMADD231PS(v.r(2), v.r(3), v.r(4))
		v.store(5, lo)
		v.store(4, hi)
	})
	v.LEAQ(operand.Mem{Base: hi, Index: half, Scale: 4}, lo)
	v.SUBQ(half, n)
	v.SUBQ(half, n)
	v.JMP(operand.LabelRef(head))
	v.Label(done)
	v.end()
}

// sigmoid sets register s to 1/(1 + exp(−g)); register one is 1.
func (v *vec) sigmoid(s, g, one, t, n int) {
	v.zero(s)
	v.VSUBPS(v.r(g), v.r(s), v.r(s))
	v.exp(s, t, n)
	v.VADDPS(v.r(one), v.r(s), v.r(s))
	v.VDIVPS(v.r(s), v.r(one), v.r(s))
}

func (v *vec) swiGLU() {
	v.function("swiGLU", "func(y, gate, up []float32)")
	y, gate, up, n := v.base("y"), v.base("gate"), v.base("up"), v.count("y")
	v.VMOVUPS(v.constant(1), v.r(0))
	v.loop(n, func() {
		v.load(gate, 1)
		v.sigmoid(2, 1, 0, 3, 4)
		v.load(up, 3)
		v.VMULPS(v.r(1), v.r(2), v.r(2))
		v.VMULPS(v.r(3), v.r(2), v.r(2))
		v.store(2, y)
	})
	v.end()
}

func (v *vec) swiGLUGrad() {
	v.function("swiGLUGrad", "func(dgate, dup, dy, gate, up []float32)")
	dgate, dup, dy := v.base("dgate"), v.base("dup"), v.base("dy")
	gate, up, n := v.base("gate"), v.base("up"), v.count("dy")
	v.VMOVUPS(v.constant(1), v.r(0))
	v.loop(n, func() {
		v.load(gate, 1)
		v.sigmoid(2, 1, 0, 3, 4)
		v.load(up, 3)
		v.load(dy, 4)
		// dup = dy·g·s
		v.VMULPS(v.r(2), v.r(4), v.r(4))
		v.VMULPS(v.r(1), v.r(4), v.r(5))
		v.store(5, dup)
		// dgate = dy·u·s·(1 + g·(1−s))
		v.VMULPS(v.r(3), v.r(4), v.r(4))
		v.VSUBPS(v.r(2), v.r(0), v.r(2))
		v.VFMADD213PS(v.r(0), v.r(1), v.r(2))
		v.VMULPS(v.r(2), v.r(4), v.r(4))
		v.store(4, dgate)
	})
	v.end()
}

// adamW reads the factors in the order of cpu.adamW's indices.
func (v *vec) adamW() {
	v.function("adamW", "func(p, g, m, v []float32, f *[9]float32)")
	p, g, m, second, n := v.base("p"), v.base("g"), v.base("m"), v.base("v"), v.count("p")
	f := v.Load(v.Param("f"), v.GP64()).(reg.GPVirtual)
	const scale, beta1, keep1, beta2, keep2, decay, rate, root, eps = 0, 1, 2, 3, 4, 5, 6, 7, 8
	for i := range eps + 1 {
		v.VBROADCASTSS(operand.Mem{Base: f, Disp: 4 * i}, v.r(i))
	}
	v.loop(n, func() {
		v.load(g, 9)
		v.VMULPS(v.r(scale), v.r(9), v.r(9))
		v.load(m, 10)
		v.VMULPS(v.r(beta1), v.r(10), v.r(10))
		v.VFMADD231PS(v.r(keep1), v.r(9), v.r(10))
		v.store(10, m)
		v.VMULPS(v.r(9), v.r(9), v.r(9))
		v.load(second, 11)
		v.VMULPS(v.r(beta2), v.r(11), v.r(11))
		v.VFMADD231PS(v.r(keep2), v.r(9), v.r(11))
		v.store(11, second)
		v.VSQRTPS(v.r(11), v.r(11))
		v.VFMADD213PS(v.r(eps), v.r(root), v.r(11))
		v.VMULPS(v.r(rate), v.r(10), v.r(10))
		v.VDIVPS(v.r(11), v.r(10), v.r(10))
		v.load(p, 12)
		v.VFMSUB213PS(v.r(10), v.r(decay), v.r(12))
		v.store(12, p)
	})
	v.end()
}

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
