package main

// exp2 replaces x, which is at most about 0, by 2 to its power; p, k and c are
// temporaries. See exp2 of the other instruction sets.
func (n *neon) exp2(x, p, k, c vr) {
	n.constant(c, -150)
	n.fmax(x, x, c)
	n.frintn(k, x)
	n.fsub(x, x, k)
	n.horner(x, p, c, 1.326472731307149e-3, 9.671512991189957e-3, 5.550733581185341e-2, 2.4022242426872253e-1, 6.931470036506653e-1, 1)
	n.scale(x, p, k, c)
}

// clearFrom writes zeros to the slices at p from the vector after the loop's last on, up
// to the one that holds byte end-1.
func (n *neon) clearFrom(end gp, zero vr, p ...gp) {
	clear, done := n.label("clear"), n.label("cleared")
	n.zero(zero)
	n.mark(clear)
	n.op("CMP %v, %v", end, n.at)
	n.op("BGE %s", done)
	for _, q := range p {
		n.strqx(zero, q, n.at)
	}
	n.op("ADD $16, %v", n.at)
	n.op("B %s", clear)
	n.mark(done)
}

func (n *neon) attendSoftmax() {
	n.kernel("attendSoftmax", "p []float32, stride, n, step, seen int, scale float32, top, sum []float32", "")
	p, stride := n.slice("p"), n.bytes("stride")
	count, step, seen := n.integer("n"), n.integer("step"), n.bytes("seen")
	top, sum, rows := n.slice("top"), n.slice("sum"), n.len("top")
	n.constants()
	n.broadcast("scale", 5)
	n.constant(6, log2e)
	n.fmul(5, 5, 6)
	n.padded = true
	n.rows(rows, stride, []gp{p}, func() {
		n.ld1r(0, p)
		n.loop(count, func() {
			n.load(1, p)
			n.fillTail(1, 0, 2)
			n.fmax(0, 0, 1)
		})
		n.top(0)
		n.strs(0, top)
		n.spread(0, 0)
		n.zero(1)
		n.loop(count, func() {
			n.load(2, p)
			n.fsub(2, 2, 0)
			n.fmul(2, 2, 5)
			n.exp2(2, 3, 4, 6)
			n.clearTail(2, 3)
			n.fadd(1, 1, 2)
			n.store(2, p)
		})
		n.clearFrom(seen, 2, p)
		n.sum(1)
		n.strs(1, sum)
		n.op("ADD $4, %v", top)
		n.op("ADD $4, %v", sum)
		n.op("ADD %v, %v", step, count)
	})
	n.end()
}

func (n *neon) attendSums() {
	n.kernel("attendSums", "top, sum []float32, scale float32", "")
	top, sum, rows := n.slice("top"), n.slice("sum"), n.len("top")
	n.constants()
	n.broadcast("scale", 5)
	n.constant(6, 1)
	n.loop(rows, func() {
		n.load(0, sum)
		n.fdiv(1, 6, 0)
		n.store(1, sum)
		n.log(0, 1, 2, 3, 4)
		n.load(1, top)
		n.fmla(0, 1, 5)
		n.store(0, top)
	})
	n.end()
}

// log replaces x, positive and normal, by its natural logarithm; p, k, square and c are
// temporaries. See log of the other instruction sets.
func (n *neon) log(x, p, k, square, c vr) {
	n.constant(c, 0.70710678)
	n.sub(k, x, c)
	n.sshr(k, k, 23)
	n.shl(p, k, 23)
	n.sub(x, x, p)
	n.scvtf(k, k)
	n.constant(c, 1)
	n.fsub(x, x, c)
	n.fmul(square, x, x)
	n.horner(x, p, c, 7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)
	n.fmul(p, p, x)
	n.constant(c, -2.12194440e-4)
	n.fmla(x, k, c)
	n.constant(c, 0.5)
	n.fsub(p, p, c)
	n.fmla(x, p, square)
	n.constant(c, 0.693359375)
	n.fmla(x, k, c)
}

func (n *neon) attendGrad() {
	n.kernel("attendGrad", "p, dp []float32, stride, n, step, seen int, lse []float32, lseStride int, delta []float32, scale float32", "")
	p, dp, stride := n.slice("p"), n.slice("dp"), n.bytes("stride")
	count, step, seen := n.integer("n"), n.integer("step"), n.bytes("seen")
	lse, lseStride := n.slice("lse"), n.bytes("lseStride")
	delta, rows := n.slice("delta"), n.len("delta")
	n.constants()
	n.broadcast("scale", 2)
	n.constant(7, log2e)
	n.fmul(6, 2, 7)
	n.padded = true
	n.rows(rows, stride, []gp{p, dp}, func() {
		n.ld1r(0, lse)
		n.fmul(0, 0, 7)
		n.fneg(0, 0)
		n.ld1r(1, delta)
		n.loop(count, func() {
			n.load(4, p)
			n.move(3, 0)
			n.fmla(3, 4, 6)
			n.exp2(3, 4, 5, 16)
			n.clearTail(3, 4)
			n.store(3, p)
			n.load(4, dp)
			n.fsub(4, 4, 1)
			n.fmul(3, 3, 2)
			n.fmul(4, 4, 3)
			n.clearTail(4, 5)
			n.store(4, dp)
		})
		n.clearFrom(seen, 3, p, dp)
		n.op("ADD %v, %v", lseStride, lse)
		n.op("ADD $4, %v", delta)
		n.op("ADD %v, %v", step, count)
	})
	n.end()
}

func (n *neon) rowDots() {
	n.kernel("rowDots", "dst, x, y []float32, stride, cols int", "")
	dst, rows, x, y := n.slice("dst"), n.len("dst"), n.slice("x"), n.slice("y")
	stride, cols := n.bytes("stride"), n.integer("cols")
	n.rows(rows, stride, []gp{x, y}, func() {
		n.zero(0)
		n.loop(cols, func() {
			n.load(1, x)
			n.load(2, y)
			n.fmla(0, 1, 2)
		})
		n.sum(0)
		n.strs(0, dst)
		n.op("ADD $4, %v", dst)
	})
	n.end()
}

func (n *neon) scaleRows() {
	n.kernel("scaleRows", "x []float32, stride, cols int, by []float32", "")
	x, stride, cols := n.slice("x"), n.bytes("stride"), n.integer("cols")
	by, rows := n.slice("by"), n.len("by")
	n.rows(rows, stride, []gp{x}, func() {
		n.ld1r(0, by)
		n.op("ADD $4, %v", by)
		n.loop(cols, func() {
			n.load(1, x)
			n.fmul(1, 1, 0)
			n.store(1, x)
		})
	})
	n.end()
}
