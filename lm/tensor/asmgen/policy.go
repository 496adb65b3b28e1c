package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func policyAVX2(x *build.Context)   { policy(lanesAVX2(x)) }
func policyAVX512(x *build.Context) { policy(lanesAVX512(x)) }

// policy writes the kernels of package objective, which does the same in Go
// where it describes them.
func policy(l *lanes) {
	l.keepWeights()
	l.pick()
	l.difference()
	l.ratios()
	l.clip()
	l.take()
	l.k3()
	l.regularize()
}

// kernel begins a function of package objective.
func (l *lanes) kernel(name, signature string) {
	l.function(name, signature, "is "+name+" for n tokens; n is a multiple of 8.")
}

func (l *lanes) pointers(params ...string) (all []reg.GPVirtual) {
	for _, p := range params {
		all = append(all, l.pointer(p))
	}
	return all
}

// totals are sums in memory, each of eight lanes, kept in registers.
type totals struct {
	base reg.GPVirtual
	sums []eight
}

func (l *lanes) totals(param string, n int) (t totals) {
	t.base = l.pointer(param)
	for i := range n {
		t.sums = append(t.sums, l.vector())
		l.move(l.memory(operand.Mem{Base: t.base, Disp: 64 * i}), t.sums[i])
	}
	return t
}

func (l *lanes) store(t totals) {
	for i, v := range t.sums {
		l.move(v, l.memory(operand.Mem{Base: t.base, Disp: 64 * i}))
	}
}

// add adds v to a sum.
func (l *lanes) add(v, sum eight) { l.do(l.VADDPD, v, sum, sum) }

func (l *lanes) keepWeights() {
	l.kernel("keepWeights", "func(w, weight *float64, keep *bool, n int) (live int)")
	p, keep, n := l.pointers("w", "weight"), l.pointer("keep"), l.pointer("n")
	v, m := l.vector(), l.mask(reg.K1, l.vector())
	zero := l.held("zero", 0)
	live := l.GP64()
	l.XORQ(live, live)
	l.loop("loop", n, func() {
		for i := range l.parts {
			l.VPMOVZXBQ(operand.Mem{Base: keep, Index: l.index, Scale: 1, Disp: 4 * i}, v[i])
			if l.wide {
				l.VPTESTMQ(v[i], v[i], m[i])
			} else {
				l.VPCMPGTQ(zero[i], v[i], m[i])
			}
		}
		l.move(l.at(p[1]), v)
		l.prefetch(p[1])
		l.only(m, v, v)
		l.move(v, l.at(p[0]))
		l.compare(v, notEqual, zero, m)
		l.count(m, live)
	})
	l.Store(live, l.ReturnIndex(0))
	l.end()
}

func (l *lanes) pick() {
	l.kernel("pick", "func(dst, src, w *float64, n int)")
	p, n := l.pointers("dst", "src", "w"), l.pointer("n")
	v, w := l.vector(), l.vector()
	live, zero := l.mask(reg.K1, w), l.held("zero", 0)
	l.loop("loop", n, func() {
		l.move(l.at(p[2]), w)
		l.compare(w, notEqual, zero, live)
		l.move(l.at(p[1]), v)
		l.prefetch(p[1])
		l.only(live, v, v)
		l.move(v, l.at(p[0]))
	})
	l.end()
}

func (l *lanes) difference() {
	l.kernel("difference", "func(d, x, a, b, w *float64, n int, limit float64)")
	p, n, limit := l.pointers("d", "x", "a", "b", "w"), l.pointer("n"), l.scalar("limit")
	v, allow := l.vector(), l.allow(p, limit)
	l.loop("loop", n, func() { allow(v) })
	l.end()
}

func (l *lanes) ratios() {
	l.kernel("ratios", "func(d, x, r, a, b, w *float64, n int, limit float64)")
	p, r, n, limit := l.pointers("d", "x", "a", "b", "w"), l.pointer("r"), l.pointer("n"), l.scalar("limit")
	v, allow, e := l.vector(), l.allow(p, limit), l.exponential()
	l.loop("loop", n, func() {
		allow(v)
		l.exponentiate(e, v)
		l.move(v, l.at(r))
	})
	l.end()
}

// allow returns what writes a-b of live tokens to d, and to x and v what of it
// is within the limit.
func (l *lanes) allow(p []reg.GPVirtual, limit eight) func(v eight) {
	d, x, a, b, weight := p[0], p[1], p[2], p[3], p[4]
	w, lowest := l.vector(), l.repeat(l.register())
	live, zero := l.mask(reg.K1, w), l.held("zero", 0)
	l.move(zero[:1], lowest[:1])
	l.VSUBPD(limit[0], lowest[0], lowest[0])
	return func(v eight) {
		l.move(l.at(weight), w)
		l.compare(w, notEqual, zero, live)
		l.move(l.at(a), v)
		l.prefetch(a)
		l.prefetch(b)
		l.do(l.VSUBPD, l.at(b), v, v)
		l.only(live, v, v)
		l.move(v, l.at(d))
		l.do(l.VMINPD, v, limit, v) // of a NaN and a number, the first
		l.do(l.VMAXPD, v, lowest, v)
		l.move(v, l.at(x))
	}
}

func (l *lanes) clip() {
	l.kernel("clip", "func(loss, byRatio, r, adv *float64, n int, low, high, dual float64, hits *[3]int)")
	p, n := l.pointers("loss", "byRatio", "r", "adv"), l.pointer("n")
	low, high, dual := l.scalar("low"), l.scalar("high"), l.scalar("dual")
	r, a, b, t, u, v := l.vector(), l.vector(), l.vector(), l.vector(), l.vector(), l.vector()
	positive, negative, met := l.mask(reg.K1, t), l.mask(reg.K2, u), l.mask(reg.K3, v)
	zero, sign := l.held("zero", 0), l.heldBits("sign", 1<<63)
	hits := make([]reg.GPVirtual, 3)
	for i := range hits {
		hits[i] = l.GP64()
		l.XORQ(hits[i], hits[i])
	}
	meet := func(predicate uint8, bound eight, side mask, hits reg.GPVirtual) {
		l.compare(r, predicate, bound, met)
		l.both(side, met)
		l.count(met, hits)
	}
	l.loop("loop", n, func() {
		l.move(l.at(p[2]), r)
		l.move(l.at(p[3]), a)
		l.compare(a, greater, zero, positive)
		l.compare(a, less, zero, negative)
		meet(less, low, negative, hits[0])
		meet(greater, high, positive, hits[1])
		meet(greater, dual, negative, hits[2])
		l.do(l.VMINPD, r, high, b)
		l.do(l.VMAXPD, r, low, u)
		l.do(l.VMINPD, u, dual, u)
		l.choose(positive, b, u, b)
		l.do(l.VXORPD, sign, a, a)
		l.do(l.VMULPD, b, a, u)
		l.move(u, l.at(p[0]))
		l.compare(b, equal, r, met)
		l.only(met, a, a)
		l.move(a, l.at(p[1]))
	})
	base := l.pointer("hits")
	for i, n := range hits {
		l.ADDQ(n, operand.Mem{Base: base, Disp: 8 * i})
	}
	l.end()
}

func (l *lanes) take() {
	l.kernel("take", "func(grad, w, adv, lr, x, r, loss, byRatio, byLogP *float64, n int, sums *float64)")
	p, n := l.pointers("grad", "w", "adv", "lr", "x", "r", "loss", "byRatio", "byLogP"), l.pointer("n")
	grad, adv, lr, x, loss, byRatio, byLogP := p[0], p[2], p[3], p[4], p[6], p[7], p[8]
	sums := l.totals("sums", 4)
	w, r, t, v := l.vector(), l.vector(), l.vector(), l.vector()
	m := l.mask(reg.K1, t)
	zero, one := l.held("zero", 0), l.held("one", 1)
	l.loop("loop", n, func() {
		l.move(l.at(p[1]), w)
		l.move(l.at(p[5]), r)
		l.do(l.VMULPD, l.at(loss), w, v)
		l.add(v, sums.sums[0])

		l.move(l.at(x), t)
		l.do(l.VSUBPD, one, r, v)
		l.do(l.VSUBPD, t, v, v)
		l.add(v, sums.sums[1])

		l.do(l.VMULPD, l.at(byRatio), r, v)
		l.compare(t, equal, l.at(lr), m)
		l.only(m, v, v)
		l.add(l.at(byLogP), v)
		l.do(l.VMULPD, w, v, v)
		l.add(l.at(grad), v)
		l.move(v, l.at(grad))
		l.prefetch(grad)

		l.compare(w, notEqual, zero, m)
		l.only(m, r, v)
		l.add(v, sums.sums[2])

		l.move(l.at(adv), v)
		l.add(l.at(lr), v)
		l.add(v, sums.sums[3])
	})
	l.store(sums)
	l.end()
}

func (l *lanes) k3() {
	l.kernel("k3", "func(v, dv, x, r *float64, n int)")
	p, n := l.pointers("v", "dv", "x", "r"), l.pointer("n")
	r, v := l.vector(), l.vector()
	one := l.held("one", 1)
	l.loop("loop", n, func() {
		l.move(l.at(p[3]), r)
		l.do(l.VSUBPD, one, r, v)
		l.do(l.VSUBPD, l.at(p[2]), v, v)
		l.move(v, l.at(p[0]))
		l.do(l.VSUBPD, r, l.loaded(one, v), v)
		l.move(v, l.at(p[1]))
	})
	l.end()
}

func (l *lanes) regularize() {
	l.kernel("regularize", "func(grad, w, lr, value, v, dv *float64, n int, beta float64, sums *float64)")
	p, n, beta := l.pointers("grad", "w", "lr", "value", "v", "dv"), l.pointer("n"), l.scalar("beta")
	grad, lr, value := p[0], p[2], p[3]
	sums := l.totals("sums", 3)
	w, v, dv, t := l.vector(), l.vector(), l.vector(), l.vector()
	l.loop("loop", n, func() {
		l.move(l.at(p[1]), w)
		l.do(l.VMULPD, beta, w, w)
		l.move(l.at(p[4]), v)
		l.move(l.at(p[5]), dv)
		l.do(l.VMULPD, v, w, t)
		l.add(t, sums.sums[0])
		l.add(l.at(value), sums.sums[1])

		l.do(l.VMULPD, dv, w, t)
		l.add(l.at(grad), t)
		l.move(t, l.at(grad))

		l.add(v, dv)
		l.add(l.at(lr), dv)
		l.add(dv, sums.sums[2])
	})
	l.store(sums)
	l.end()
}

// prefetch fetches the numbers one block on.
func (l *lanes) prefetch(base reg.Register) {
	l.PREFETCHT0(operand.Mem{Base: base, Index: l.index, Scale: 8, Disp: 1024})
}
