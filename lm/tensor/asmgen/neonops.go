package main

// neonOps writes all kernels but the matrix products. Their contracts are at the fields
// of cpu.kernels.
func neonOps(n *neon) {
	n.axpy()
	n.sumSquares()
	n.max()
	n.total()
	n.expSums()
	n.softmaxGrad()
	n.attendSoftmax()
	n.attendSums()
	n.attendGrad()
	n.rowDots()
	n.scaleRows()
	n.rmsNorm()
	n.rmsNormGrad()
	n.layerNorm()
	n.layerNormGrad()
	n.rotate()
	n.swiGLU()
	n.swiGLUGrad()
	n.gelu()
	n.geluGrad()
	n.adamW()
	n.transpose8()
	n.roundPairs()
}

// kernel begins the function of a field of cpu.kernels.
func (n *neon) kernel(name, params, result string) {
	n.function(name+"NEON", params, result, "is kernels."+name+".")
}

func (n *neon) axpy() {
	n.kernel("axpy", "dst []float32, alpha float32, x []float32", "")
	dst, x, count := n.slice("dst"), n.slice("x"), n.len("dst")
	n.broadcast("alpha", 0)
	n.loop(count, func() {
		n.load(1, dst)
		n.load(2, x)
		n.fmla(1, 2, 0)
		n.store(1, dst)
	})
	n.end()
}

// sumSquares widens each half vector to float64.
func (n *neon) sumSquares() {
	n.kernel("sumSquares", "x []float32", "sum float64")
	x, count := n.slice("x"), n.len("x")
	n.zero(0)
	n.zero(1)
	n.loop(count, func() {
		n.load(2, x)
		n.widenUpper(3, 2)
		n.widen(2, 2)
		n.fmla2(0, 2, 2)
		n.fmla2(1, 3, 3)
	})
	n.fadd2(0, 0, 1)
	n.word(0x7e70d800, "faddp d0, v0.2d")
	n.op("FMOVD F0, sum+%d(FP)", n.results["sum"])
	n.end()
}

func (n *neon) max() {
	n.kernel("max", "x []float32", "top float32")
	x, count := n.slice("x"), n.len("x")
	n.constants()
	n.ld1r(0, x)
	n.loop(count, func() {
		n.load(1, x)
		n.fillTail(1, 0, 2)
		n.fmax(0, 0, 1)
	})
	n.top(0)
	n.result("top", 0)
	n.end()
}

// total reads memory as fast as the machine can: eight vectors at a time, then the rest.
func (n *neon) total() {
	n.kernel("total", "x []float32", "sum float32")
	x, count := n.slice("x"), n.len("x")
	const sums = 8
	for i := range vr(sums) {
		n.zero(i)
	}
	step, rest := n.label("step"), n.label("rest")
	n.mark(step)
	n.op("CMP $%d, %v", 4*sums, count)
	n.op("BLT %s", rest)
	for i := vr(0); i < sums; i += 2 {
		n.ldpq(sums+i, sums+i+1, x, 16*int(i))
	}
	for i := range vr(sums) {
		n.fadd(i, i, sums+i)
	}
	n.op("ADD $%d, %v", 16*sums, x)
	n.op("SUB $%d, %v", 4*sums, count)
	n.op("B %s", step)
	n.mark(rest)
	n.loop(count, func() {
		n.load(sums, x)
		n.fadd(0, 0, sums)
	})
	for half := vr(sums / 2); half > 0; half /= 2 {
		for i := range half {
			n.fadd(i, i, i+half)
		}
	}
	n.sum(0)
	n.result("sum", 0)
	n.end()
}

func (n *neon) expSums() {
	n.kernel("expSums", "x []float32, scale, shift float32", "sum, weighted float32")
	x, count := n.slice("x"), n.len("x")
	n.constants()
	n.broadcast("scale", 0)
	n.broadcast("shift", 1)
	n.zero(2)
	n.zero(3)
	n.loop(count, func() {
		n.load(4, x)
		n.fsub(4, 4, 1)
		n.fmul(4, 4, 0)
		n.constant(5, -105)
		n.fmax(5, 4, 5) // below, the exponential is 0: so is 0 times it
		n.exp(4, 6, 7, 16)
		n.clearTail(4, 6)
		n.clearTail(5, 6) // of what may be infinite
		n.fadd(2, 2, 4)
		n.fmla(3, 5, 4)
	})
	n.sum(2)
	n.sum(3)
	n.result("sum", 2)
	n.result("weighted", 3)
	n.end()
}

func (n *neon) softmaxGrad() {
	n.kernel("softmaxGrad", "x []float32, scale, shift, log, a, b float32", "")
	x, count := n.slice("x"), n.len("x")
	n.constants()
	for i, p := range []string{"scale", "shift", "log", "a", "b"} {
		n.broadcast(p, vr(i))
	}
	n.loop(count, func() {
		n.load(5, x)
		n.fsub(5, 5, 1)
		n.fmul(5, 5, 0)
		n.fsub(5, 5, 2)
		n.move(6, 4)
		n.fmla(6, 5, 3) // a·z + b
		n.exp(5, 7, 16, 17)
		n.zero(7)
		n.fcmeq(16, 5, 7)
		n.fmul(5, 5, 6)
		n.fneg(5, 5)
		n.replace(5, 7, 16) // 0 where p is 0
		n.store(5, x)
	})
	n.end()
}

func (n *neon) rotate() {
	n.kernel("rotate", "x, cos, sin []float32, sign float32", "")
	lo, count := n.slice("x"), n.len("x")
	cos, half, sin := n.slice("cos"), n.len("cos"), n.slice("sin")
	n.broadcast("sign", 0)
	hi := n.gp()
	head, done := n.label("head"), n.label("heads")
	n.mark(head)
	n.op("CBZ %v, %s", count, done)
	n.op("ADD %v<<2, %v, %v", half, lo, hi)
	n.loop(half, func() {
		n.load(1, cos)
		n.load(2, sin)
		n.fmul(2, 2, 0)
		n.load(3, lo)
		n.load(4, hi)
		n.fmul(5, 3, 1)
		n.fmls(5, 4, 2)
		n.fmul(4, 4, 1)
		n.fmla(4, 3, 2)
		n.store(5, lo)
		n.store(4, hi)
	})
	n.op("ADD %v<<2, %v, %v", half, hi, lo)
	n.op("SUB %v<<1, %v", half, count)
	n.op("B %s", head)
	n.mark(done)
	n.end()
}

// sigmoid sets s to 1/(1 + exp(−g)); one is 1, and p, k and c are temporaries.
func (n *neon) sigmoid(s, g, one, p, k, c vr) {
	n.fneg(s, g)
	n.exp(s, p, k, c)
	n.fadd(s, s, one)
	n.fdiv(s, one, s)
}

func (n *neon) swiGLU() {
	n.kernel("swiGLU", "y, gate, up []float32", "")
	y, gate, up, count := n.slice("y"), n.slice("gate"), n.slice("up"), n.len("y")
	n.constants()
	n.constant(0, 1)
	n.loop(count, func() {
		n.load(1, gate)
		n.sigmoid(2, 1, 0, 3, 4, 5)
		n.load(3, up)
		n.fmul(2, 2, 1)
		n.fmul(2, 2, 3)
		n.store(2, y)
	})
	n.end()
}

func (n *neon) swiGLUGrad() {
	n.kernel("swiGLUGrad", "dgate, dup, dy, gate, up []float32", "")
	dgate, dup, dy := n.slice("dgate"), n.slice("dup"), n.slice("dy")
	gate, up, count := n.slice("gate"), n.slice("up"), n.len("dy")
	n.constants()
	n.constant(0, 1)
	n.loop(count, func() {
		n.load(1, gate)
		n.sigmoid(2, 1, 0, 3, 4, 5)
		n.load(3, up)
		n.load(4, dy)
		// dup = dy·g·s
		n.fmul(4, 4, 2)
		n.fmul(5, 4, 1)
		n.store(5, dup)
		// dgate = dy·u·s·(1 + g·(1−s))
		n.fmul(4, 4, 3)
		n.fsub(2, 0, 2)
		n.move(5, 0)
		n.fmla(5, 2, 1)
		n.fmul(4, 4, 5)
		n.store(4, dgate)
	})
	n.end()
}

// normalCDF sets cdf to the distribution function of the standard normal distribution at
// x, and e to exp(−x²/2); one is 1, and t, k and c are temporaries. See cpu.normalCDF
// for the method.
func (n *neon) normalCDF(cdf, e, x, one, t, k, c vr) {
	n.fmul(e, x, x)
	n.constant(c, -0.5)
	n.fmul(e, e, c)
	n.exp(e, t, k, c)
	n.fabs(k, x)
	n.constant(c, 0.35355339)
	n.move(t, one)
	n.fmla(t, k, c)
	n.fdiv(t, one, t)
	n.horner(t, cdf, c, tail...)
	n.constant(c, 0.5)
	n.fmul(t, t, c)
	n.fmul(cdf, cdf, t)
	n.fmul(cdf, cdf, e)
	n.fsub(t, one, cdf)
	// The sign of x tells which of the two it is.
	n.negative(k, x)
	n.choose(k, cdf, t)
	n.move(cdf, k)
}

func (n *neon) gelu() {
	n.kernel("gelu", "y, x []float32", "")
	y, x, count := n.slice("y"), n.slice("x"), n.len("y")
	n.constants()
	n.constant(0, 1)
	n.loop(count, func() {
		n.load(1, x)
		n.normalCDF(2, 3, 1, 0, 4, 5, 6)
		n.fmul(2, 2, 1)
		n.store(2, y)
	})
	n.end()
}

func (n *neon) geluGrad() {
	n.kernel("geluGrad", "dx, dy, x []float32", "")
	dx, dy, x, count := n.slice("dx"), n.slice("dy"), n.slice("x"), n.len("dx")
	n.constants()
	n.constant(0, 1)
	n.loop(count, func() {
		n.load(1, x)
		n.normalCDF(2, 3, 1, 0, 4, 5, 6)
		n.constant(4, 0.3989422804)
		n.fmul(3, 3, 4)
		n.fmla(2, 3, 1)
		n.load(3, dy)
		n.fmul(2, 2, 3)
		n.store(2, dx)
	})
	n.end()
}

// adamW reads the factors in the order of cpu.adamW's indices.
func (n *neon) adamW() {
	n.kernel("adamW", "p, g, m, v []float32, f *[9]float32", "")
	p, g, m, v, count := n.slice("p"), n.slice("g"), n.slice("m"), n.slice("v"), n.len("p")
	f := n.integer("f")
	const scale, beta1, keep1, beta2, keep2, decay, rate, root, eps = 0, 1, 2, 3, 4, 5, 6, 7, 16
	for _, r := range []vr{scale, beta1, keep1, beta2, keep2, decay, rate, root, eps} {
		n.ld1r(r, f)
		n.op("ADD $4, %v", f)
	}
	n.loop(count, func() {
		n.load(20, g)
		n.fmul(20, 20, scale)
		n.load(21, m)
		n.fmul(21, 21, beta1)
		n.fmla(21, 20, keep1)
		n.store(21, m)
		n.fmul(20, 20, 20)
		n.load(22, v)
		n.fmul(22, 22, beta2)
		n.fmla(22, 20, keep2)
		n.store(22, v)
		n.fsqrt(22, 22)
		n.move(23, eps)
		n.fmla(23, 22, root)
		n.fmul(21, 21, rate)
		n.fdiv(21, 21, 23)
		n.load(22, p)
		n.fmul(22, 22, decay)
		n.fsub(22, 22, 21)
		n.store(22, p)
	})
	n.end()
}
