package cpu

import (
	"github.com/stepwise-rl/stepwise/tensor"
	"github.com/stepwise-rl/stepwise/tensor/internal/shape"
)

// AttendGrad computes dq +=, dk += and dv += from dout. With p the weights of
// a query, recomputed from its log-sum-exp, and o its output (Dao et al.,
// "FlashAttention", arXiv:2205.14135, appendix B.2),
//
//	dv += pᵀ·do
//	dp  = do·vᵀ
//	ds  = scale·p∘(dp − do·o)
//	dq += ds·k
//	dk += dsᵀ·q
func (b *Backend) AttendGrad(dq, dk, dv, dout, out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	shape.AttendGrad(dq, dk, dv, dout, out, lse, q, k, v, a)
	g := attendGrad{
		dq: b.data(dq), dk: b.data(dk), dv: b.data(dv), dout: b.data(dout),
		out: b.data(out), lse: b.data(lse), q: b.data(q), k: b.data(k), v: b.data(v),
	}
	b.eachSegment(a, 3*attendCost(a), func(t *attender) { t.backward(&g) })
}

// attendGrad holds the operands of AttendGrad.
type attendGrad struct {
	dq, dk, dv, dout, out, lse, q, k, v []float32
}

func (t *attender) backward(g *attendGrad) {
	a, d, kvHead := t.a, t.a.HeadDim, t.kvHead
	kh, vh := headOf(g.k, a.KVHeads, d, kvHead), headOf(g.v, a.KVHeads, d, kvHead)
	dk, dv := headOf(g.dk, a.KVHeads, d, kvHead), headOf(g.dv, a.KVHeads, d, kvHead)
	keysT, valuesT, keys := t.pack(0, kh, true), t.pack(1, vh, true), t.pack(2, kh, false)
	p, ds, delta := t.scratchRows(), t.scratchRows(), t.s.take(blockQ)
	group := a.Heads / a.KVHeads
	for head := kvHead * group; head < (kvHead+1)*group; head++ {
		qh, dqh := headOf(g.q, a.Heads, d, head), headOf(g.dq, a.Heads, d, head)
		oh, doh := headOf(g.out, a.Heads, d, head), headOf(g.dout, a.Heads, d, head)
		t.blocks(func(from, rows, seen int) {
			t.scores(p, rows, seen, a.Scale, qh.at(from, 0), &keysT)
			t.scores(ds, rows, seen, 1, doh.at(from, 0), &valuesT)
			delta := delta[:rows]
			o, do := oh.at(from, 0), doh.at(from, 0)
			t.kern.rowDots(delta, o.data, do.data, o.rs, d)
			t.kern.attendGrad(p.data, ds.data, p.rs, t.keys.seen(from), t.step(), seen,
				g.lse[from*a.Heads+head:], a.Heads, delta, a.Scale)
			t.combine(dqh.at(from, 0), rows, seen, ds, &keys, 1)
			mark := t.s.used
			doRight := t.kern.right(t.s, do, rows, d)
			qRight := t.kern.right(t.s, qh.at(from, 0), rows, d)
			t.keys.parts(seen, func(row, count, col int) {
				t.kern.mul(count, d, rows, 1, p.at(0, col).transposed(), doRight, 1, dv.at(row, 0))
				t.kern.mul(count, d, rows, 1, ds.at(0, col).transposed(), qRight, 1, dk.at(row, 0))
			})
			t.s.used = mark
		})
	}
}
