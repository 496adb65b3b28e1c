package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const gemmSignature = "func(m, n, k int, alpha float32, a *float32, rsa, csa int, b *float32, rsb int, beta float32, c *float32, ldc int)"

// prefetchAhead is how many iterations over k before its use a tile of c is
// fetched: some hundred cycles. If it came earlier, the panel of b would drive it
// out of the first-level cache.
const prefetchAhead = 24

// streamAhead is how many bytes before its use b is fetched into the second-level
// cache, in case it comes from memory. Tiles of few rows wait for memory in any
// case, and do better with the processor's own prefetching.
const streamAhead = 8192

// gemmTile describes a micro-kernel: a tile of rows × vectors accumulators in
// registers, multiplied by a vector of b each and a broadcast element of a at a
// time.
type gemmTile struct {
	name          string
	doc           string
	rows, vectors int
	// bytes is the width of a vector.
	bytes int
	// embed lets the multiply-add broadcast the element of a, which it alone
	// uses.
	embed bool
	// pairs, if not nil, loads a b of bfloat16s.
	pairs *pairs
	// add is the multiply-add.
	add multiplyAdd
	// acc, right and bcast are its registers.
	acc, right []reg.VecPhysical
	bcast      []reg.VecPhysical
	// zero clears a register.
	zero func(reg.VecPhysical)
	// mask prepares the masks for the columns of the last vector.
	mask func(last reg.GPVirtual)
	// load and store move the last vector of a row of c under the mask.
	load  func(m operand.Mem, to reg.VecPhysical)
	store func(from reg.VecPhysical, m operand.Mem)
}

// multiplyAdd adds to d the product of a, which is broadcast, and b.
type multiplyAdd func(x *build.Context, d, a, b reg.VecPhysical)

func fma(x *build.Context, d, a, b reg.VecPhysical) { x.VFMADD231PS(b, a, d) }

// emit writes the function: a loop over whole tiles, then a smaller tile for the
// remaining rows.
func (t *gemmTile) emit(x *build.Context) {
	x.Function(t.name)
	x.Attributes(attr.NOSPLIT)
	x.SignatureExpr(gemmSignature)
	x.Doc(t.doc)

	m := x.Load(x.Param("m"), x.GP64()).(reg.GPVirtual)
	a := x.Load(x.Param("a"), x.GP64()).(reg.GPVirtual)
	c := x.Load(x.Param("c"), x.GP64()).(reg.GPVirtual)
	rsa := x.Load(x.Param("rsa"), x.GP64()).(reg.GPVirtual)
	csa := x.Load(x.Param("csa"), x.GP64()).(reg.GPVirtual)
	rsb := x.Load(x.Param("rsb"), x.GP64()).(reg.GPVirtual)
	for _, stride := range []reg.GPVirtual{rsa, csa, rsb} {
		x.SHLQ(operand.U8(2), stride)
	}
	last := x.Load(x.Param("n"), x.GP64()).(reg.GPVirtual)
	x.SUBQ(operand.U8((t.vectors-1)*t.bytes/4), last)
	t.mask(last)

	x.Label("full")
	x.CMPQ(m, operand.U8(t.rows))
	x.JLT(operand.LabelRef("rest"))
	t.tile(x, t.rows, a, c, rsa, csa, rsb)
	x.SUBQ(operand.U8(t.rows), m)
	x.JMP(operand.LabelRef("full"))

	x.Label("rest")
	for r := t.rows - 1; r > 0; r-- {
		x.CMPQ(m, operand.U8(r))
		x.JEQ(operand.LabelRef(fmt.Sprintf("rows%d", r)))
	}
	x.JMP(operand.LabelRef("done"))
	for r := t.rows - 1; r > 0; r-- {
		x.Label(fmt.Sprintf("rows%d", r))
		t.tile(x, r, a, c, rsa, csa, rsb)
		if r > 1 {
			x.JMP(operand.LabelRef("done"))
		}
	}
	x.Label("done")
	x.VZEROUPPER()
	x.RET()
}

// tile multiplies rows rows, and moves a and c past them.
func (t *gemmTile) tile(x *build.Context, rows int, a, c, rsa, csa, rsb reg.GPVirtual) {
	acc := func(i, v int) reg.VecPhysical { return t.acc[i*t.vectors+v] }
	for i := range rows {
		for v := range t.vectors {
			t.zero(acc(i, v))
		}
	}
	// A pointer for every third row: the two between are reached by index.
	var ptr []reg.GPVirtual
	step := x.GP64()
	for i := 0; i < rows; i += 3 {
		p := x.GP64()
		if i == 0 {
			x.MOVQ(a, p)
			x.LEAQ(operand.Mem{Base: rsa, Index: rsa, Scale: 2}, step)
		} else {
			x.MOVQ(ptr[len(ptr)-1], p)
			x.ADDQ(step, p)
		}
		ptr = append(ptr, p)
	}
	b := x.Load(x.Param("b"), x.GP64()).(reg.GPVirtual)
	k := x.Load(x.Param("k"), x.GP64()).(reg.GPVirtual)
	// The tile of c is fetched before the last few iterations.
	label := func(name string) string { return fmt.Sprintf("%s%d", name, rows) }
	loop, fetch, tail := label("loop"), label("fetch"), x.GP64()
	x.MOVQ(operand.I32(prefetchAhead), tail)
	x.CMPQ(k, tail)
	x.CMOVQLT(k, tail)
	x.SUBQ(tail, k)
	x.JZ(operand.LabelRef(fetch))
	x.Label(loop)
	width := t.vectors * t.bytes
	if t.pairs != nil {
		width = t.bytes
		t.pairs.load(x, operand.Mem{Base: b}, t.right[:t.vectors]...)
	} else {
		for v := range t.vectors {
			x.VMOVUPS(operand.Mem{Base: b, Disp: v * t.bytes}, t.right[v])
		}
	}
	if rows >= t.rows/2 {
		for line := 0; line < width; line += 64 {
			x.PREFETCHT1(operand.Mem{Base: b, Disp: line + streamAhead})
		}
	}
	x.ADDQ(rsb, b)
	if t.embed {
		for i := range rows {
			x.VFMADD231PS_BCST(element(ptr, rsa, i), t.right[0], acc(i, 0))
		}
	} else {
		multiplyRows(x, rows, ptr, rsa, t.right[:t.vectors], t.bcast, t.acc, t.add)
	}
	for _, p := range ptr {
		x.ADDQ(csa, p)
	}
	x.DECQ(k)
	x.JNZ(operand.LabelRef(loop))
	x.TESTQ(tail, tail)
	x.JZ(operand.LabelRef(label("update")))
	x.Label(fetch)
	t.prefetch(x, rows, c)
	x.XCHGQ(tail, k) // k is 0
	x.JMP(operand.LabelRef(loop))

	x.Label(label("update"))
	t.update(x, rows, c)
	// a += rows·rsa
	next := x.GP64()
	x.IMUL3Q(operand.U8(rows), rsa, next)
	x.ADDQ(next, a)
}

// element is the address of the current element of row i of a: ptr points to
// every third row, and the two rows after it are rsa bytes apart.
func element(ptr []reg.GPVirtual, rsa reg.GPVirtual, i int) operand.Mem {
	at := operand.Mem{Base: ptr[i/3]}
	if i%3 > 0 {
		at.Index, at.Scale = rsa, uint8(i%3)
	}
	return at
}

// multiplyRows adds to the accumulators [rows × len(right)] the current element
// of each row of a times a row of b, which is in right. bcast are registers to
// broadcast elements to, in turn.
func multiplyRows(x *build.Context, rows int, ptr []reg.GPVirtual, rsa reg.GPVirtual, right, bcast, acc []reg.VecPhysical, add multiplyAdd) {
	for i := range rows {
		e := bcast[i%len(bcast)]
		x.VBROADCASTSS(element(ptr, rsa, i), e)
		for v, r := range right {
			add(x, acc[i*len(right)+v], e, r)
		}
	}
}

// everyThird returns pointers to every third of some rows of a, the first of
// which is a itself.
func everyThird(x *build.Context, a, rsa reg.GPVirtual, rows int) []reg.GPVirtual {
	ptr := []reg.GPVirtual{a}
	for i := 3; i < rows; i += 3 {
		p := x.GP64()
		x.LEAQ(operand.Mem{Base: rsa, Index: rsa, Scale: 2}, p)
		x.ADDQ(ptr[len(ptr)-1], p)
		ptr = append(ptr, p)
	}
	return ptr
}

// eachVector calls f for the vectors of a tile of c, and moves c to its last
// row.
func eachVector(x *build.Context, rows, vectors, bytes int, c, ldc reg.GPVirtual, f func(at operand.Mem, i int)) {
	for i := range rows {
		for v := range vectors {
			f(operand.Mem{Base: c, Disp: v * bytes}, i*vectors+v)
		}
		if i < rows-1 {
			x.ADDQ(ldc, c)
		}
	}
}

// prefetch fetches the tile of c, which is used when the loop has ended.
func (t *gemmTile) prefetch(x *build.Context, rows int, c reg.GPVirtual) {
	ldc := x.Load(x.Param("ldc"), x.GP64()).(reg.GPVirtual)
	at := x.GP64()
	x.MOVQ(c, at)
	for i := range rows {
		for line := 0; line < t.vectors*t.bytes; line += 64 {
			x.PREFETCHT0(operand.Mem{Base: at, Disp: line})
		}
		if i+1 < rows {
			x.LEAQ(operand.Mem{Base: at, Index: ldc, Scale: 4}, at)
		}
	}
}

// update computes c = alpha·acc + beta·c and moves c past the rows. Masked stores
// are slow, so only tiles that need them use them.
func (t *gemmTile) update(x *build.Context, rows int, c reg.GPVirtual) {
	param := func(name string) operand.Mem {
		at, err := x.Param(name).Resolve()
		check(err)
		return at.Addr
	}
	factor := t.right[0]
	x.VBROADCASTSS(param("alpha"), factor)
	for _, r := range t.acc[:rows*t.vectors] {
		x.VMULPS(factor, r, r)
	}
	ldc := x.Load(x.Param("ldc"), x.GP64()).(reg.GPVirtual)
	x.SHLQ(operand.U8(2), ldc)
	bits := x.GP32()
	x.MOVL(param("beta"), bits)
	x.SHLL(operand.U8(1), bits) // drops the sign of a zero
	label := func(name string) string { return fmt.Sprintf("%s%d", name, rows) }
	x.JZ(operand.LabelRef(label("store")))
	x.VBROADCASTSS(param("beta"), factor)
	for _, add := range []bool{true, false} {
		if !add {
			x.Label(label("store"))
		}
		name := map[bool]string{true: "addEdge", false: "storeEdge"}[add]
		x.CMPQ(param("n"), operand.U8(t.vectors*t.bytes/4))
		x.JLT(operand.LabelRef(label(name)))
		t.write(x, rows, c, ldc, factor, add, false)
		x.JMP(operand.LabelRef(label("next")))
		x.Label(label(name))
		t.write(x, rows, c, ldc, factor, add, true)
		if add {
			x.JMP(operand.LabelRef(label("next")))
		}
	}
	x.Label(label("next"))
}

// write stores the accumulators in c; if add, it first adds factor·c to them. edge
// says that the last vector is incomplete.
func (t *gemmTile) write(x *build.Context, rows int, c, ldc reg.GPVirtual, factor reg.VecPhysical, add, edge bool) {
	old := t.bcast[len(t.bcast)-1]
	for i := range rows {
		for v := range t.vectors {
			at, r := operand.Mem{Base: c, Disp: v * t.bytes}, t.acc[i*t.vectors+v]
			masked := edge && v == t.vectors-1
			switch {
			case add && masked:
				t.load(at, old)
				x.VFMADD231PS(old, factor, r)
			case add:
				x.VFMADD231PS(at, factor, r)
			}
			if masked {
				t.store(r, at)
			} else {
				x.VMOVUPS(r, at)
			}
		}
		x.ADDQ(ldc, c)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// gemmAVX512 writes tiles of 12 rows and 32 or 16 columns. They have 24
// accumulators; two FMA units with a latency of 4 cycles need at least 8.
func gemmAVX512(x *build.Context) {
	x.ConstraintExpr("amd64")
	peak(x, "peakAVX512", zmm, fma)
	stream(x, "streamAVX512", 3, zmm, 64, nil, fma)
	tilesAVX512(x, "gemm%dAVX512", "kernels.gemm", nil, nil)
}

// tilesAVX512 writes tiles that multiply by add; nil is a multiply-add of float32s.
func tilesAVX512(x *build.Context, name, doc string, of *pairs, add multiplyAdd) {
	single := add == nil
	if single {
		add = fma
	}
	z := zmm
	for vectors := 1; vectors <= 2; vectors++ {
		function := fmt.Sprintf(name, 16*vectors)
		t := &gemmTile{
			name:    function,
			doc:     fmt.Sprintf("%s is %s for n in (%d, %d].", function, doc, 16*(vectors-1), 16*vectors),
			rows:    12,
			vectors: vectors,
			bytes:   64,
			embed:   vectors == 1 && single,
			pairs:   of,
			add:     add,
			acc:     z[8:], right: z[0:2], bcast: z[2:8],
			zero: func(r reg.VecPhysical) { x.VXORPS(r, r, r) },
			mask: func(last reg.GPVirtual) {
				ones := x.GP64()
				x.MOVQ(operand.I32(-1), ones)
				x.BZHIQ(last, ones, ones)
				x.KMOVW(ones.As32(), reg.K1)
			},
			load:  func(m operand.Mem, to reg.VecPhysical) { x.VMOVUPS_Z(m, reg.K1, to) },
			store: func(from reg.VecPhysical, m operand.Mem) { x.VMOVUPS(from, reg.K1, m) },
		}
		t.emit(x)
	}
}

// gemmAVX2 writes tiles of 6 rows and 16 or 8 columns.
func gemmAVX2(x *build.Context) {
	x.ConstraintExpr("amd64")
	peak(x, "peakAVX2", ymm, fma)
	stream(x, "streamAVX2", 1, ymm, 32, nil, fma)
	copyLines(x)
	tilesAVX2(x, "gemm%dAVX2", "kernels.gemm", nil)
}

func tilesAVX2(x *build.Context, name, doc string, of *pairs) {
	y := ymm
	ramp := maskRamp(x)
	for vectors := 1; vectors <= 2; vectors++ {
		var maskAt reg.GPVirtual
		function := fmt.Sprintf(name, 8*vectors)
		t := &gemmTile{
			name:    function,
			doc:     fmt.Sprintf("%s is %s for n in (%d, %d].", function, doc, 8*(vectors-1), 8*vectors),
			rows:    6,
			vectors: vectors,
			bytes:   32,
			pairs:   of,
			add:     fma,
			acc:     y[4:], right: y[0:2], bcast: y[2:4],
			zero: func(r reg.VecPhysical) { x.VXORPS(r, r, r) },
		}
		// The registers are all in use, so the mask is loaded when needed.
		t.mask = func(last reg.GPVirtual) {
			maskAt = x.GP64()
			x.LEAQ(ramp, maskAt)
			x.SHLQ(operand.U8(2), last)
			x.SUBQ(last, maskAt)
		}
		t.load = func(m operand.Mem, to reg.VecPhysical) {
			x.VMOVUPS(operand.Mem{Base: maskAt, Disp: 32}, y[1])
			x.VMASKMOVPS(m, y[1], to)
		}
		t.store = func(from reg.VecPhysical, m operand.Mem) {
			x.VMOVUPS(operand.Mem{Base: maskAt, Disp: 32}, y[1])
			x.VMASKMOVPS(from, y[1], m)
		}
		t.emit(x)
	}
}

// maskRamp declares eight words of ones and eight of zeros: the eight from
// word 8-n on are the mask of n lanes.
func maskRamp(x *build.Context) operand.Mem {
	at := x.StaticGlobal("lanes")
	x.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 16 {
		word := operand.U32(0)
		if i < 8 {
			word = 0xffffffff
		}
		x.AddDatum(4*i, word)
	}
	return at
}
