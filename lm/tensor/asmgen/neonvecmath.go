package main

// neonVecmath writes the kernels of package vecmath: eight float64s are in four
// registers.
func neonVecmath(n *neon) {
	n.vecExp()
	n.vecExpSum()
	n.vecSumAbs()
	n.vecCountBoth()
	n.vecMaxima()
}

// each writes body for eight numbers after eight; count is a multiple of 8.
func (n *neon) each(count gp, body func()) {
	loop, done := n.label("loop"), n.label("done")
	n.mark(loop)
	n.op("CBZ %v, %s", count, done)
	body()
	n.op("SUB $8, %v", count)
	n.op("B %s", loop)
	n.mark(done)
}

// exponentiate turns four pairs of numbers, in x to x+3, into their exponentials, as
// package vecmath does it in Go. The twelve registers from t on are temporaries, and so is c.
func (n *neon) exponentiate(x, t, c vr) {
	const parts = 4
	k, m, p := t, t+parts, t+2*parts
	all := func(body func(i vr)) {
		for i := range vr(parts) {
			body(i)
		}
	}
	n.double(c, -746)
	all(func(i vr) { n.fmax2(x+i, x+i, c) })
	n.double(c, 710)
	all(func(i vr) { n.fmin2(x+i, x+i, c) })
	n.double(c, 3<<51) // in this binade float64 holds integers only
	all(func(i vr) { n.move(k+i, c) })
	n.double(p, 0x1.71547652b82fep+00) // 1/ln 2
	all(func(i vr) { n.fmla2(k+i, x+i, p) })
	all(func(i vr) { n.fsub2(m+i, k+i, c) })
	n.double(c, 0x1.62e42fefa3800p-1)
	all(func(i vr) { n.fmls2(x+i, m+i, c) })
	n.double(c, 0x1.ef35793c76730p-45)
	all(func(i vr) { n.fmls2(x+i, m+i, c) })
	terms := []float64{1}
	for i := 1; i <= 13; i++ {
		terms = append(terms, terms[i-1]*float64(i))
	}
	a, b := p, m
	n.double(a, 1/terms[13])
	all(func(i vr) {
		if i > 0 {
			n.move(a+i, a)
		}
	})
	for i := 12; i >= 0; i-- {
		n.double(c, 1/terms[i])
		all(func(i vr) { n.move(b+i, c) })
		all(func(i vr) { n.fmla2(b+i, a+i, x+i) })
		a, b = b, a
	}
	// 2^k in two factors: by itself it may be too large or too small for float64 where
	// the result is not. The low half of each k is that integer.
	n.double(c, 1)
	all(func(i vr) {
		n.sshr(b+i, k+i, 1)
		n.sub(k+i, k+i, b+i)
	})
	for _, half := range []vr{b, k} {
		all(func(i vr) {
			n.shl2(half+i, half+i, 52)
			n.add2(half+i, half+i, c)
			n.fmul2(a+i, a+i, half+i)
		})
	}
	all(func(i vr) { n.move(x+i, a+i) })
}

// four loads or stores eight numbers.
func (n *neon) four(op func(v, w vr, p gp, offset int), v vr, p gp) {
	op(v, v+1, p, 0)
	op(v+2, v+3, p, 32)
}

func (n *neon) vecExp() {
	n.function("expNEON", "dst, x *float64, n int", "", "writes exp of the n numbers from x on to dst; n is a multiple of 8.")
	n.constants()
	dst, x, count := n.integer("dst"), n.integer("x"), n.integer("n")
	n.each(count, func() {
		n.four(n.ldpq, 0, x)
		n.exponentiate(0, 4, 16)
		n.four(n.stpq, 0, dst)
		n.op("ADD $64, %v", x)
		n.op("ADD $64, %v", dst)
	})
	n.end()
}

func (n *neon) vecExpSum() {
	n.function("expSumNEON", "dst *float64, x *float32, n int, shift, scale float64, sums *[8]float64", "",
		"writes exp((x-shift)·scale) of the n numbers from x on to dst and adds number",
		"i to sums[i%8]; n is a multiple of 8.")
	n.constants()
	dst, x, count, sums := n.integer("dst"), n.integer("x"), n.integer("n"), n.integer("sums")
	const total, shift, scale = 20, 24, 25
	n.ld1rd(shift, "shift")
	n.ld1rd(scale, "scale")
	n.four(n.ldpq, total, sums)
	n.each(count, func() {
		n.ldpq(16, 17, x, 0)
		n.widen(0, 16)
		n.widenUpper(1, 16)
		n.widen(2, 17)
		n.widenUpper(3, 17)
		for i := range vr(4) {
			n.fsub2(i, i, shift)
			n.fmul2(i, i, scale)
		}
		n.exponentiate(0, 4, 16)
		n.four(n.stpq, 0, dst)
		for i := range vr(4) {
			n.fadd2(total+i, total+i, i)
		}
		n.op("ADD $32, %v", x)
		n.op("ADD $64, %v", dst)
	})
	n.four(n.stpq, total, sums)
	n.end()
}

// ld1rd fills a register with a float64 argument.
func (n *neon) ld1rd(v vr, name string) {
	n.op("FMOVD %s+%d(FP), %s", name, n.offset(name), v.f())
	n.word(0x4e080400|uint32(v)<<5|uint32(v), "dup v%d.2d, v%d.d[0]", v, v)
}

func (n *neon) vecSumAbs() {
	n.function("sumAbsNEON", "x *float64, n int, sums *[8]float64", "",
		"adds the absolute value of number i from x on to sums[i%8]; n is a multiple", "of 8.")
	x, count, sums := n.integer("x"), n.integer("n"), n.integer("sums")
	n.four(n.ldpq, 4, sums)
	n.each(count, func() {
		n.four(n.ldpq, 0, x)
		for i := range vr(4) {
			n.fabs2(i, i)
			n.fadd2(4+i, 4+i, i)
		}
		n.op("ADD $64, %v", x)
	})
	n.four(n.stpq, 4, sums)
	n.end()
}

func (n *neon) vecCountBoth() {
	n.function("countBothNEON", "x, y *bool, n int", "both int",
		"returns at how many places both x and y are true; n is a multiple of 8.")
	x, y, count := n.integer("x"), n.integer("y"), n.integer("n")
	total, v, w := n.gp(), n.gp(), n.gp()
	n.op("MOVD ZR, %v", total)
	ones := n.gp()
	n.op("MOVD $0x0101010101010101, %v", ones)
	n.each(count, func() {
		n.op("MOVD.P 8(%v), %v", x, v)
		n.op("MOVD.P 8(%v), %v", y, w)
		n.op("AND %v, %v", w, v)
		n.op("MUL %v, %v", ones, v) // the sum of eight bytes is in the highest
		n.op("ADD %v>>56, %v", v, total)
	})
	n.op("MOVD %v, both+%d(FP)", total, n.results["both"])
	n.end()
}

func (n *neon) vecMaxima() {
	n.function("maximaNEON", "x *float32, n int, tops *[8]float32", "",
		"sets tops[i%8] to number i from x on, if that is larger; n is a multiple of 8.")
	x, count, tops := n.integer("x"), n.integer("n"), n.integer("tops")
	n.ldpq(0, 1, tops, 0)
	n.each(count, func() {
		n.ldpq(2, 3, x, 0)
		n.fmax(0, 0, 2)
		n.fmax(1, 1, 3)
		n.op("ADD $32, %v", x)
	})
	n.stpq(0, 1, tops, 0)
	n.end()
}
