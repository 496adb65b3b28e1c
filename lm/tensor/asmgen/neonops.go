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
		n.move(5, 4)
		n.exp(4, 6, 7, 16)
		n.clearTail(4, 6)
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
		n.fmul(5, 5, 6)
		n.fneg(5, 5)
		n.store(5, x)
	})
	n.end()
}

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

func (n *neon) rmsNorm() {
	n.kernel("rmsNorm", "y, inv, x, w []float32, eps float32", "")
	y, inv, count := n.slice("y"), n.slice("inv"), n.len("inv")
	x, w, cols := n.slice("x"), n.slice("w"), n.len("w")
	stride := n.gp()
	n.op("LSL $2, %v, %v", cols, stride)
	n.op("SCVTFS %v, F5", cols)
	n.scalar("eps", 6)
	n.op("FMOVS $1.0, F7")
	n.rows(count, stride, []gp{x, y}, func() {
		n.zero(0)
		n.loop(cols, func() {
			n.load(1, x)
			n.fmla(0, 1, 1)
		})
		n.sum(0)
		n.op("FDIVS F5, F0, F0")
		n.op("FADDS F6, F0, F0")
		n.op("FSQRTS F0, F0")
		n.op("FDIVS F0, F7, F0")
		n.strs(0, inv)
		n.op("ADD $4, %v", inv)
		n.spread(0, 0)
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
	stride := n.gp()
	n.op("LSL $2, %v, %v", cols, stride)
	n.op("SCVTFS %v, F5", cols)
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
	stride := n.gp()
	n.op("LSL $2, %v, %v", cols, stride)
	n.op("SCVTFS %v, F5", cols)
	n.scalar("eps", 6)
	n.op("FMOVS $1.0, F7")
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
		n.op("FDIVS F5, F1, F1")
		n.op("FADDS F6, F1, F1")
		n.op("FSQRTS F1, F1")
		n.op("FDIVS F1, F7, F1")
		n.strs(1, inv)
		n.op("ADD $4, %v", mean)
		n.op("ADD $4, %v", inv)
		n.spread(1, 1)
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
	stride := n.gp()
	n.op("LSL $2, %v, %v", cols, stride)
	n.op("SCVTFS %v, F5", cols)
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
		n.zip1(4, 0, 2)
		n.zip2(5, 0, 2)
		n.zip1(6, 1, 3)
		n.zip2(7, 1, 3)
		n.zip1(16, 4, 6)
		n.zip2(17, 4, 6)
		n.zip1(18, 5, 7)
		n.zip2(19, 5, 7)
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
