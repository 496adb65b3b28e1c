package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// integer is an argument of type int; bytesOf is one that counts float32s, as
// a number of bytes.
func (v *vec) integer(param string) reg.GPVirtual {
	return v.Load(v.Param(param), v.GP64()).(reg.GPVirtual)
}

func (v *vec) bytesOf(param string) reg.GPVirtual {
	n := v.integer(param)
	v.SHLQ(operand.U8(2), n)
	return n
}

// clearFrom writes zeros to the slices at p from the vector after the loop's
// last on, up to the one that holds element end-1.
func (v *vec) clearFrom(end reg.GPVirtual, zero int, p ...reg.GPVirtual) {
	// The index stops at the incomplete vector, if there is one.
	clear, done, whole := v.label("clear"), v.label("cleared"), v.label("whole")
	v.TESTQ(v.left, v.left)
	v.JZ(operand.LabelRef(whole))
	v.ADDQ(operand.U8(v.bytes), v.index)
	v.Label(whole)
	v.zero(zero)
	v.Label(clear)
	v.CMPQ(v.index, end)
	v.JGE(operand.LabelRef(done))
	for _, at := range p {
		v.store(zero, at)
	}
	v.ADDQ(operand.U8(v.bytes), v.index)
	v.JMP(operand.LabelRef(clear))
	v.Label(done)
}

// exp2 replaces register i, which is at most about 0, by 2 to its power; t and
// n are temporaries. With k the nearest integer, it is 2^k times a polynomial of
// x − k that is 1 at 0 and elsewhere within 9.2e-8 of the truth, relatively.
func (v *vec) exp2(i, t, n int) {
	x, p, k := v.r(i), v.r(t), v.r(n)
	v.VMOVUPS(v.constant(-150), p)
	v.VMAXPS(x, p, x) // the operand order keeps NaNs
	v.roundTo(k, x)
	v.VSUBPS(k, x, x)
	v.VMOVUPS(v.constant(1.326472731307149e-3), p)
	for _, c := range []float32{9.671512991189957e-3, 5.550733581185341e-2, 2.4022242426872253e-1, 6.931470036506653e-1, 1} {
		v.VFMADD213PS(v.constant(c), x, p)
	}
	v.scale(x, p, k)
}

const log2e = 1.44269504

func (v *vec) attendSoftmax() {
	v.function("attendSoftmax", "func(p []float32, stride, n, step, seen int, scale float32, top, sum []float32)")
	p, stride := v.base("p"), v.bytesOf("stride")
	n, step, seen := v.integer("n"), v.integer("step"), v.bytesOf("seen")
	top, sum, rows := v.base("top"), v.base("sum"), v.count("top")
	v.broadcast("scale", 5)
	v.VMULPS(v.constant(log2e), v.r(5), v.r(5))
	v.padded = true
	v.rows(rows, stride, []reg.GPVirtual{p}, func() {
		v.VBROADCASTSS(operand.Mem{Base: p}, v.r(0))
		v.loop(n, func() {
			v.load(p, 1)
			v.fillTail(1, 0)
			v.VMAXPS(v.r(1), v.r(0), v.r(0))
		})
		v.reduce(v.VMAXPS, 0, 1)
		v.VMOVSS(v.x(0), operand.Mem{Base: top})
		v.spread(0)
		v.zero(1)
		v.loop(n, func() {
			v.load(p, 2)
			v.VSUBPS(v.r(0), v.r(2), v.r(2))
			v.VMULPS(v.r(5), v.r(2), v.r(2))
			v.exp2(2, 3, 4)
			v.clearTail(2)
			v.VADDPS(v.r(2), v.r(1), v.r(1))
			v.store(2, p)
		})
		v.clearFrom(seen, 2, p)
		v.reduce(v.VADDPS, 1, 2)
		v.VMOVSS(v.x(1), operand.Mem{Base: sum})
		v.ADDQ(operand.U8(4), top)
		v.ADDQ(operand.U8(4), sum)
		v.ADDQ(step, n)
	})
	v.padded = false
	v.end()
}

func (v *vec) attendSums() {
	v.function("attendSums", "func(top, sum []float32, scale float32)")
	top, sum, rows := v.base("top"), v.base("sum"), v.count("top")
	v.broadcast("scale", 5)
	v.VMOVUPS(v.constant(1), v.r(6))
	v.loop(rows, func() {
		v.load(sum, 0)
		v.VDIVPS(v.r(0), v.r(6), v.r(1))
		v.store(1, sum)
		v.log(0, 1, 2, 3)
		v.load(top, 1)
		v.VFMADD231PS(v.r(5), v.r(1), v.r(0))
		v.store(0, top)
	})
	v.end()
}

// log replaces register i, positive and normal, by its natural logarithm; t, n
// and z are temporaries. With 2^k·(1 + x), |x| < 0.42, it is k·ln 2 plus the
// polynomial of Cephes' logf (Moshier).
func (v *vec) log(i, t, n, z int) {
	x, p, k, square := v.r(i), v.r(t), v.r(n), v.r(z)
	v.VPSUBD(v.constant(0.70710678), x, k)
	v.VPSRAD(operand.U8(23), k, k)
	v.VPSLLD(operand.U8(23), k, p)
	v.VPSUBD(p, x, x)
	v.VCVTDQ2PS(k, k)
	v.VSUBPS(v.constant(1), x, x)
	v.VMULPS(x, x, square)
	v.VMOVUPS(v.constant(7.0376836292e-2), p)
	for _, c := range []float32{-1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1} {
		v.VFMADD213PS(v.constant(c), x, p)
	}
	v.VMULPS(x, p, p)
	v.VFMADD231PS(v.constant(-2.12194440e-4), k, x)
	v.VSUBPS(v.constant(0.5), p, p)
	v.VFMADD231PS(square, p, x)
	v.VFMADD231PS(v.constant(0.693359375), k, x)
}

func (v *vec) attendGrad() {
	v.function("attendGrad", "func(p, dp []float32, stride, n, step, seen int, lse []float32, lseStride int, delta []float32, scale float32)")
	p, dp, stride := v.base("p"), v.base("dp"), v.bytesOf("stride")
	n, seen := v.integer("n"), v.bytesOf("seen")
	lse, lseStride := v.base("lse"), v.bytesOf("lseStride")
	delta, rows := v.base("delta"), v.count("delta")
	v.broadcast("scale", 2)
	v.VMULPS(v.constant(log2e), v.r(2), v.r(6))
	v.padded = true
	v.rows(rows, stride, []reg.GPVirtual{p, dp}, func() {
		v.VBROADCASTSS(operand.Mem{Base: lse}, v.r(0))
		v.VMULPS(v.constant(log2e), v.r(0), v.r(0))
		v.VBROADCASTSS(operand.Mem{Base: delta}, v.r(1))
		v.loop(n, func() {
			v.load(p, 3)
			v.VFMSUB213PS(v.r(0), v.r(6), v.r(3))
			v.exp2(3, 4, 5)
			v.clearTail(3)
			v.store(3, p)
			v.load(dp, 4)
			v.VSUBPS(v.r(1), v.r(4), v.r(4))
			v.VMULPS(v.r(2), v.r(3), v.r(3))
			v.VMULPS(v.r(3), v.r(4), v.r(4))
			v.clearTail(4)
			v.store(4, dp)
		})
		v.clearFrom(seen, 3, p, dp)
		v.ADDQ(lseStride, lse)
		v.ADDQ(operand.U8(4), delta)
		v.ADDQ(v.address("step"), n)
	})
	v.padded = false
	v.end()
}

func (v *vec) rowDots() {
	v.function("rowDots", "func(dst, x, y []float32, stride, cols int)")
	dst, rows := v.base("dst"), v.count("dst")
	x, y := v.base("x"), v.base("y")
	stride, cols := v.bytesOf("stride"), v.integer("cols")
	v.rows(rows, stride, []reg.GPVirtual{x, y}, func() {
		v.zero(0)
		v.loop(cols, func() {
			v.load(x, 1)
			v.load(y, 2)
			v.VFMADD231PS(v.r(1), v.r(2), v.r(0))
		})
		v.reduce(v.VADDPS, 0, 1)
		v.VMOVSS(v.x(0), operand.Mem{Base: dst})
		v.ADDQ(operand.U8(4), dst)
	})
	v.end()
}

func (v *vec) scaleRows() {
	v.function("scaleRows", "func(x []float32, stride, cols int, by []float32)")
	x, stride, cols := v.base("x"), v.bytesOf("stride"), v.integer("cols")
	by, rows := v.base("by"), v.count("by")
	v.rows(rows, stride, []reg.GPVirtual{x}, func() {
		v.VBROADCASTSS(operand.Mem{Base: by}, v.r(0))
		v.ADDQ(operand.U8(4), by)
		v.loop(cols, func() {
			v.load(x, 1)
			v.VMULPS(v.r(0), v.r(1), v.r(1))
			v.store(1, x)
		})
	})
	v.end()
}
