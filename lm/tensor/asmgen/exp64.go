package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
)

// exponential is the working memory of an exponential: constants and scratch.
type exponential struct {
	low, high, log2e, round, ln2Hi, ln2Lo eight
	terms                                 []eight // 1/13!, …, 1/1!, 1/0!
	k, n, p                               eight
}

func (l *lanes) exponential() (e exponential) {
	e.k, e.n, e.p = l.vector(), l.vector(), l.vector()
	e.low, e.high = l.held("low", -746), l.held("high", 710)
	e.log2e = l.held("log2e", math.Log2E)
	e.round = l.held("round", 3<<51) // in this binade float64 holds integers only
	e.ln2Hi, e.ln2Lo = l.held("ln2hi", 0x1.62e42fefa3800p-1), l.held("ln2lo", 0x1.ef35793c76730p-45)
	factorial := 1.0
	for i := range 14 {
		factorial *= max(1, float64(i))
		e.terms = append([]eight{l.held("term"+string(rune('a'+i)), 1/factorial)}, e.terms...)
	}
	return e
}

// exponentiate turns x into exp(x), as package vecmath does it in Go.
func (l *lanes) exponentiate(e exponential, x eight) {
	l.do(l.VMAXPD, x, l.loaded(e.low, e.k), x) // of a NaN and a number, the first
	l.do(l.VMINPD, x, l.loaded(e.high, e.k), x)
	l.move(e.log2e, e.k)
	l.do(l.VFMADD213PD, e.round, x, e.k)
	l.do(l.VSUBPD, e.round, e.k, e.n)
	l.do(l.VFNMADD231PD, e.ln2Hi, e.n, x)
	l.do(l.VFNMADD231PD, e.ln2Lo, e.n, x)
	l.move(e.terms[0], e.p)
	for _, term := range e.terms[1:] {
		l.do(l.VFMADD213PD, term, x, e.p)
	}
	if l.wide {
		l.do(l.VSCALEFPD, e.n, e.p, x)
		return
	}
	// 2^k in two factors: by itself it may be too large or too small for
	// float64 where the result is not. The low half of each k is that integer.
	one := l.bits("one", math.Float64bits(1))
	shift := eight{operand.U8(1), operand.U8(1)}
	exponent := eight{operand.U8(52), operand.U8(52)}
	l.do(l.VPSRAD, shift, e.k, e.n)
	l.do(l.VPSUBD, e.n, e.k, e.k)
	for _, half := range []eight{e.n, e.k} {
		l.do(l.VPSLLQ, exponent, half, half)
		l.do(l.VPADDQ, one, half, half)
		l.do(l.VMULPD, half, e.p, e.p)
	}
	l.move(e.p, x)
}

func (l *lanes) exp() {
	l.function("exp", "func(dst, x *float64, n int)",
		"writes exp of the n numbers from x on to dst; n is a multiple of 8.")
	dst, src, n := l.pointer("dst"), l.pointer("x"), l.pointer("n")
	x, e := l.vector(), l.exponential()
	l.loop("loop", n, func() {
		l.move(l.at(src), x)
		l.exponentiate(e, x)
		l.move(x, l.at(dst))
	})
	l.end()
}

func (l *lanes) expSum() {
	l.function("expSum", "func(dst *float64, x *float32, n int, shift, scale float64, sums *[8]float64)",
		"writes exp((x-shift)·scale) of the n numbers from x on to dst and adds number",
		"i to sums[i%8]; n is a multiple of 8.")
	dst, src, n, sums := l.pointer("dst"), l.pointer("x"), l.pointer("n"), l.pointer("sums")
	x, total, shift, scale := l.vector(), l.vector(), l.scalar("shift"), l.scalar("scale")
	e := l.exponential()
	l.move(l.memory(operand.Mem{Base: sums}), total)
	l.loop("loop", n, func() {
		for i, r := range x {
			l.VCVTPS2PD(operand.Mem{Base: src, Index: l.index, Scale: 4, Disp: 16 * i}, r)
		}
		l.do(l.VSUBPD, shift, x, x)
		l.do(l.VMULPD, scale, x, x)
		l.exponentiate(e, x)
		l.move(x, l.at(dst))
		l.do(l.VADDPD, x, total, total)
	})
	l.move(total, l.memory(operand.Mem{Base: sums}))
	l.end()
}
