package main

// transpose8 transposes blocks of 4 × 4.
func (n *neon) transpose8() {
	n.kernel("transpose8", "k int, dst *float32, to int, src *float32, from int", "")
	k, dst, to, src, from := n.integer("k"), n.integer("dst"), n.bytes("to"), n.integer("src"), n.bytes("from")
	in, out := n.gp(), n.gp()
	block, done := n.label("block"), n.label("transposed")
	n.mark(block)
	n.op("CBZ %v, %s", k, done)
	n.op("MOVD %v, %v", src, in)
	for half := range 2 { // columns 4·half to 4·half+3
		for i := range vr(4) {
			n.ldrq(i, in, 0)
			n.op("ADD %v, %v", from, in)
		}
		n.transpose4()
		n.op("MOVD %v, %v", dst, out)
		for i := range vr(4) {
			n.strq(16+i, out, 16*half)
			n.op("ADD %v, %v", to, out)
		}
	}
	n.op("MOVD %v, %v", out, dst)
	n.op("ADD $16, %v", src)
	n.op("SUB $4, %v", k)
	n.op("B %s", block)
	n.mark(done)
	n.end()
}

// transpose4 sets V16 to V19 to the columns of V0 to V3, by way of V4 to V7.
func (n *neon) transpose4() {
	n.zip1(4, 0, 2)
	n.zip2(5, 0, 2)
	n.zip1(6, 1, 3)
	n.zip2(7, 1, 3)
	n.zip1(16, 4, 6)
	n.zip2(17, 4, 6)
	n.zip1(18, 5, 7)
	n.zip2(19, 5, 7)
}

// roundPairs rounds to the nearest bfloat16, ties to even; a NaN keeps its upper half and
// is made quiet, so that it does not become an infinity.
func (n *neon) roundPairs() {
	n.kernel("roundPairs", "rows, half int, dst, src *float32", "")
	rows, half, dst, src := n.integer("rows"), n.integer("half"), n.integer("dst"), n.integer("src")
	n.constants()
	left, high := n.gp(), n.gp()
	const one, almost, quiet, upper = 16, 17, 18, 19
	for _, c := range []struct {
		r vr
		w uint32
	}{{one, 1}, {almost, 0x7fff}, {quiet, 0x400000}, {upper, upperHalf}} {
		n.bits(c.r, [4]uint32{c.w, c.w, c.w, c.w})
	}
	round := func(v vr) {
		n.ushr(2, v, 16)
		n.and(2, 2, one)
		n.add(2, 2, almost)
		n.add(2, 2, v)
		n.fcmeq(3, v, v) // false for a NaN
		n.or(v, v, quiet)
		n.replace(v, 2, 3)
	}
	row, vector := n.label("row"), n.label("vector")
	n.mark(row)
	n.op("MOVD %v, %v", half, left)
	n.op("ADD %v<<2, %v, %v", half, src, high)
	n.mark(vector)
	n.ldrq(0, src, 0)
	n.ldrq(1, high, 0)
	round(0)
	round(1)
	n.ushr(0, 0, 16)
	n.and(1, 1, upper)
	n.or(0, 0, 1)
	n.strq(0, dst, 0)
	for _, p := range []gp{src, high, dst} {
		n.op("ADD $16, %v", p)
	}
	n.op("SUBS $4, %v", left)
	n.op("BNE %s", vector)
	n.op("MOVD %v, %v", high, src)
	n.op("SUBS $1, %v", rows)
	n.op("BNE %s", row)
	n.end()
}
