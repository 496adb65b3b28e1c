package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// vec writes kernels that go over slices vector by vector, the same code for
// AVX2 and AVX-512: only the registers' width and the masks of an incomplete
// last vector differ.
type vec struct {
	*build.Context
	suffix string
	// bytes is the width of a vector.
	bytes int
	regs  []reg.VecPhysical
	// index is the offset in bytes of the vector at hand, and tail tells
	// that it is incomplete: loads give zeros beyond the end, stores leave
	// alone what is there.
	index reg.GPVirtual
	tail  bool
	// left is the number of elements from the index on.
	left reg.GPVirtual
	// padded: slices may be read and written to the end of their last vector.
	padded bool

	labels    int
	constants map[float32]operand.Mem
	ramp      operand.Mem
}

func avx2(x *build.Context) *vec {
	return &vec{Context: x, suffix: "AVX2", bytes: 32, regs: ymm, constants: map[float32]operand.Mem{}, ramp: maskRamp(x)}
}

func avx512(x *build.Context) *vec {
	return &vec{Context: x, suffix: "AVX512", bytes: 64, regs: zmm, constants: map[float32]operand.Mem{}}
}

func (v *vec) wide() bool { return v.bytes == 64 }

// maskReg holds the mask of the tail on AVX2; AVX-512 has K1.
const maskReg = 15

// x, y and r are register i as one scalar, as half a vector, and whole.
func (v *vec) x(i int) reg.VecPhysical { return v.regs[i].AsX().(reg.VecPhysical) }
func (v *vec) y(i int) reg.VecPhysical { return v.regs[i].AsY().(reg.VecPhysical) }
func (v *vec) r(i int) reg.VecPhysical { return v.regs[i] }

// function begins a function; kernel is the field of cpu.kernels.
func (v *vec) function(kernel, signature string) {
	name := kernel + v.suffix
	v.Function(name)
	v.Attributes(attr.NOSPLIT)
	v.SignatureExpr(signature)
	v.Doc(fmt.Sprintf("%s is kernels.%s.", name, kernel))
}

func (v *vec) end() {
	v.VZEROUPPER()
	v.RET()
}

func (v *vec) label(name string) string {
	v.labels++
	return fmt.Sprintf("%s%d", name, v.labels)
}

// base and count are the address and the length of a slice argument.
func (v *vec) base(param string) reg.GPVirtual {
	return v.Load(v.Param(param).Base(), v.GP64()).(reg.GPVirtual)
}

func (v *vec) count(param string) reg.GPVirtual {
	return v.Load(v.Param(param).Len(), v.GP64()).(reg.GPVirtual)
}

func (v *vec) address(param string) operand.Mem {
	c, err := v.Param(param).Resolve()
	check(err)
	return c.Addr
}

// broadcast fills register i with a float32 argument.
func (v *vec) broadcast(param string, i int) { v.VBROADCASTSS(v.address(param), v.r(i)) }

// constant is a vector of c in memory.
func (v *vec) constant(c float32) operand.Mem {
	if m, ok := v.constants[c]; ok {
		return m
	}
	m := v.StaticGlobal(fmt.Sprintf("c%d", len(v.constants)))
	v.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range v.bytes / 4 {
		v.AddDatum(4*i, operand.U32(math.Float32bits(c)))
	}
	v.constants[c] = m
	return m
}

func (v *vec) zero(i int) { v.VXORPS(v.r(i), v.r(i), v.r(i)) }

// loop writes body for whole vectors of n elements, and once more for the
// rest of them.
func (v *vec) loop(n reg.GPVirtual, body func()) {
	v.index = v.GP64()
	v.XORQ(v.index, v.index)
	left := v.GP64()
	v.left = left
	v.MOVQ(n, left)
	full, tail, done := v.label("full"), v.label("tail"), v.label("done")
	lanes := v.bytes / 4

	v.Label(full)
	v.CMPQ(left, operand.U8(lanes))
	v.JLT(operand.LabelRef(tail))
	body()
	v.ADDQ(operand.U8(v.bytes), v.index)
	v.SUBQ(operand.U8(lanes), left)
	v.JMP(operand.LabelRef(full))

	v.Label(tail)
	v.TESTQ(left, left)
	v.JZ(operand.LabelRef(done))
	v.mask(left)
	v.tail = true
	body()
	v.tail = false
	v.Label(done)
}

// rows writes body once for each of n rows, and after it moves the pointers
// on by the length of a row in bytes.
func (v *vec) rows(n, stride reg.GPVirtual, pointers []reg.GPVirtual, body func()) {
	next, done := v.label("row"), v.label("rows")
	v.Label(next)
	v.TESTQ(n, n)
	v.JZ(operand.LabelRef(done))
	body()
	for _, p := range pointers {
		v.ADDQ(stride, p)
	}
	v.DECQ(n)
	v.JMP(operand.LabelRef(next))
	v.Label(done)
}

// mask makes the mask of n lanes.
func (v *vec) mask(n reg.GPVirtual) {
	at := v.GP64()
	if v.wide() {
		v.MOVQ(operand.I32(-1), at)
		v.BZHIQ(n, at, at)
		v.KMOVW(at.As32(), reg.K1)
		return
	}
	v.LEAQ(v.ramp, at)
	bytes := v.GP64()
	v.MOVQ(n, bytes)
	v.SHLQ(operand.U8(2), bytes)
	v.SUBQ(bytes, at)
	v.VMOVUPS(operand.Mem{Base: at, Disp: 32}, v.r(maskReg))
}

func (v *vec) at(p reg.GPVirtual) operand.Mem {
	return operand.Mem{Base: p, Index: v.index, Scale: 1}
}

// load reads the vector at hand of the slice at p.
func (v *vec) load(p reg.GPVirtual, i int) {
	switch {
	case !v.tail || v.padded:
		v.VMOVUPS(v.at(p), v.r(i))
	case v.wide():
		v.VMOVUPS_Z(v.at(p), reg.K1, v.r(i))
	default:
		v.VMASKMOVPS(v.at(p), v.r(maskReg), v.r(i))
	}
}

// store writes the vector at hand of the slice at p.
func (v *vec) store(i int, p reg.GPVirtual) {
	switch {
	case !v.tail || v.padded:
		v.VMOVUPS(v.r(i), v.at(p))
	case v.wide():
		v.VMOVUPS(v.r(i), reg.K1, v.at(p))
	default:
		v.VMASKMOVPS(v.r(i), v.r(maskReg), v.at(p))
	}
}

// clearTail sets the lanes beyond the end to zero.
func (v *vec) clearTail(i int) {
	if !v.tail {
		return
	}
	if v.wide() {
		v.VMOVAPS_Z(v.r(i), reg.K1, v.r(i))
	} else {
		v.VANDPS(v.r(maskReg), v.r(i), v.r(i))
	}
}

// fillTail copies the lanes beyond the end from register from.
func (v *vec) fillTail(i, from int) {
	if !v.tail {
		return
	}
	if v.wide() {
		v.VBLENDMPS(v.r(i), v.r(from), reg.K1, v.r(i))
	} else {
		v.VBLENDVPS(v.r(maskReg), v.r(i), v.r(from), v.r(i))
	}
}

// reduce combines the lanes of register i with op, VADDPS or VMAXPS, into its
// first; tmp is another register.
func (v *vec) reduce(op func(...operand.Op), i, tmp int) {
	if v.wide() {
		v.VEXTRACTF64X4(operand.U8(1), v.r(i), v.y(tmp))
		op(v.y(tmp), v.y(i), v.y(i))
	}
	v.VEXTRACTF128(operand.U8(1), v.y(i), v.x(tmp))
	op(v.x(tmp), v.x(i), v.x(i))
	v.VPERMILPS(operand.U8(0b1110), v.x(i), v.x(tmp))
	op(v.x(tmp), v.x(i), v.x(i))
	v.VPERMILPS(operand.U8(0b0001), v.x(i), v.x(tmp))
	op(v.x(tmp), v.x(i), v.x(i))
}

// spread fills register i with its first lane.
func (v *vec) spread(i int) { v.VBROADCASTSS(v.x(i), v.r(i)) }

// exp replaces register i by its exponential; t and n are temporaries. See
// exp in package cpu for the method; here results in the subnormal range are
// rounded, not zero.
func (v *vec) exp(i, t, n int) {
	x, p, k := v.r(i), v.r(t), v.r(n)
	// The operand order keeps NaNs.
	v.VMOVUPS(v.constant(89), p)
	v.VMINPS(x, p, x)
	v.VMOVUPS(v.constant(-105), p)
	v.VMAXPS(x, p, x)
	v.VMULPS(v.constant(log2e), x, k)
	v.roundTo(k, k)
	v.VFNMADD231PS(v.constant(0.693359375), k, x)
	v.VFNMADD231PS(v.constant(-2.12194440e-4), k, x)
	v.VMOVUPS(v.constant(1.9875691500e-4), p)
	for _, c := range []float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1} {
		v.VFMADD213PS(v.constant(c), x, p)
	}
	v.scale(x, p, k)
}

// roundTo sets a register to the integers nearest to another's elements.
func (v *vec) roundTo(dst, x reg.VecPhysical) {
	if v.wide() {
		v.VRNDSCALEPS(operand.U8(0), x, dst)
	} else {
		v.VROUNDPS(operand.U8(0), x, dst)
	}
}

// scale sets register x to p·2^k for integers k within [−152, 128], and
// overwrites k.
func (v *vec) scale(x, p, k reg.VecPhysical) {
	if v.wide() {
		v.VSCALEFPS(k, p, x)
		return
	}
	// 2^k in two factors.
	v.VCVTPS2DQ(k, k)
	v.VPSRAD(operand.U8(1), k, x)
	v.VPSUBD(x, k, k)
	for _, half := range []reg.VecPhysical{x, k} {
		v.VPADDD(v.exponentBias(), half, half)
		v.VPSLLD(operand.U8(23), half, half)
	}
	v.VMULPS(p, x, x)
	v.VMULPS(k, x, x)
}

// exponentBias is a vector of the integer 127.
func (v *vec) exponentBias() operand.Mem { return v.constant(math.Float32frombits(127)) }
