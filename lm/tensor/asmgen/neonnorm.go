package main

// columns returns the length of a row in bytes, and leaves the number of its columns in
// register 5 as a scalar.
func (n *neon) columns(cols gp) (stride gp) {
	stride = n.gp()
	n.op("LSL $2, %v, %v", cols, stride)
	n.op("SCVTFS %v, F5", cols)
	return stride
}

// inverseRoot makes of v, the sum of a row's squares, 1/√(mean + eps) in all lanes, with
// eps in register 6, and stores it in the slice at inv, which it moves on.
func (n *neon) inverseRoot(v vr, inv gp) {
	n.op("FDIVS F5, %[1]s, %[1]s", v.f())
	n.op("FADDS F6, %[1]s, %[1]s", v.f())
	n.op("FSQRTS %[1]s, %[1]s", v.f())
	n.op("FMOVS $1.0, F7")
	n.op("FDIVS %[1]s, F7, %[1]s", v.f())
	n.strs(v, inv)
	n.op("ADD $4, %v", inv)
	n.spread(v, v)
}

func (n *neon) rmsNorm() {
	n.kernel("rmsNorm", "y, inv, x, w []float32, eps float32", "")
	y, inv, count := n.slice("y"), n.slice("inv"), n.len("inv")
	x, w, cols := n.slice("x"), n.slice("w"), n.len("w")
	stride := n.columns(cols)
	n.scalar("eps", 6)
	n.rows(count, stride, []gp{x, y}, func() {
		n.zero(0)
		n.loop(cols, func() {
			n.load(1, x)
			n.fmla(0, 1, 1)
		})
		n.sum(0)
		n.inverseRoot(0, inv)
		n.loop(cols, func() {
			n.load(1, x)
			n.load(2, w)
			n.fmul(1, 1, 0)
			n.fmul(1, 1, 2)
			n.store(1, y)
		})
	})
	n.end()
}

func (n *neon) rmsNormGrad() {
	n.kernel("rmsNormGrad", "dx, dw, dy, x, w, inv []float32", "")
	dx, dw, dy, x := n.slice("dx"), n.slice("dw"), n.slice("dy"), n.slice("x")
	w, cols, inv, count := n.slice("w"), n.len("w"), n.slice("inv"), n.len("inv")
	stride := n.columns(cols)
	n.rows(count, stride, []gp{dx, dy, x}, func() {
		n.zero(0)
		n.loop(cols, func() {
			n.load(1, dy)
			n.load(2, w)
			n.load(3, x)
			n.fmul(1, 1, 2)
			n.fmla(0, 1, 3)
		})
		n.sum(0)
		// register 6 is inv, register 0 the factor of x
		n.ldrs(6, inv)
		n.op("ADD $4, %v", inv)
		n.op("FMULS F6, F0, F0")
		n.op("FMULS F6, F0, F0")
		n.op("FDIVS F5, F0, F0")
		n.spread(0, 0)
		n.spread(6, 6)
		n.loop(cols, func() {
			n.load(1, dy)
			n.load(2, w)
			n.load(3, x)
			n.fmul(2, 2, 1)
			n.fmls(2, 3, 0)
			n.load(4, dx)
			n.fmla(4, 2, 6)
			n.store(4, dx)
			n.fmul(3, 3, 6)
			n.load(4, dw)
			n.fmla(4, 3, 1)
			n.store(4, dw)
		})
	})
	n.end()
}

func (n *neon) layerNorm() {
	n.kernel("layerNorm", "y, mean, inv, x, w, bias []float32, eps float32", "")
	y, mean, inv, count := n.slice("y"), n.slice("mean"), n.slice("inv"), n.len("inv")
	x, w, cols, bias := n.slice("x"), n.slice("w"), n.len("w"), n.slice("bias")
	n.constants()
	stride := n.columns(cols)
	n.scalar("eps", 6)
	n.rows(count, stride, []gp{x, y}, func() {
		n.zero(0)
		n.loop(cols, func() {
			n.load(2, x)
			n.fadd(0, 0, 2)
		})
		n.sum(0)
		n.op("FDIVS F5, F0, F0")
		n.strs(0, mean)
		n.spread(0, 0)
		n.zero(1)
		n.loop(cols, func() {
			n.load(2, x)
			n.fsub(2, 2, 0)
			n.clearTail(2, 3)
			n.fmla(1, 2, 2)
		})
		n.sum(1)
		n.op("ADD $4, %v", mean)
		n.inverseRoot(1, inv)
		n.loop(cols, func() {
			n.load(2, x)
			n.load(3, w)
			n.load(4, bias)
			n.fsub(2, 2, 0)
			n.fmul(2, 2, 1)
			n.fmla(4, 2, 3)
			n.store(4, y)
		})
	})
	n.end()
}

func (n *neon) layerNormGrad() {
	n.kernel("layerNormGrad", "dx, dw, dy, x, w, mean, inv []float32", "")
	dx, dw, dy, x := n.slice("dx"), n.slice("dw"), n.slice("dy"), n.slice("x")
	w, cols, mean, inv, count := n.slice("w"), n.len("w"), n.slice("mean"), n.slice("inv"), n.len("inv")
	stride := n.columns(cols)
	n.rows(count, stride, []gp{dx, dy, x}, func() {
		n.ld1r(6, mean)
		n.ld1r(7, inv)
		n.op("ADD $4, %v", mean)
		n.op("ADD $4, %v", inv)
		// normalised sets register 4 to the normalised row.
		normalised := func() {
			n.load(4, x)
			n.fsub(4, 4, 6)
			n.fmul(4, 4, 7)
		}
		n.zero(0)
		n.zero(1)
		n.loop(cols, func() {
			n.load(2, dy)
			n.load(3, w)
			n.fmul(2, 2, 3)
			n.fadd(0, 0, 2)
			normalised()
			n.fmla(1, 2, 4)
		})
		n.sum(0)
		n.sum(1)
		n.op("FDIVS F5, F0, F0")
		n.op("FDIVS F5, F1, F1")
		n.spread(0, 0)
		n.spread(1, 1)
		n.loop(cols, func() {
			n.load(2, dy)
			normalised()
			n.load(3, dw)
			n.fmla(3, 2, 4)
			n.store(3, dw)
			n.load(3, w)
			n.fmul(2, 2, 3)
			n.fsub(2, 2, 0)
			n.fmls(2, 4, 1)
			n.load(3, dx)
			n.fmla(3, 2, 7)
			n.store(3, dx)
		})
	})
	n.end()
}
