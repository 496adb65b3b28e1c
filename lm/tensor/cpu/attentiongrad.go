package cpu

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
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

// gradScores is how many weights of queries, and gradients of them, are kept
// at a time: what fits the second-level cache, next to the rest.
const gradScores = 48 << 10

// backward goes over chunks of queries. The products for dq take a block of
// them as the forward pass does, those for dk and dv the whole chunk, so that
// they read and write dk and dv once a chunk.
func (t *attender) backward(g *attendGrad) {
	a, d, kvHead := t.a, t.a.HeadDim, t.kvHead
	kh, vh := headOf(g.k, a.KVHeads, d, kvHead), headOf(g.v, a.KVHeads, d, kvHead)
	dk, dv := headOf(g.dk, a.KVHeads, d, kvHead), headOf(g.dv, a.KVHeads, d, kvHead)
	own := t.keys.own
	t.fetch(own.Start, own.End, kh, vh)
	keysT, valuesT, keys := t.pack(0, kh, true), t.pack(1, vh, true), t.pack(2, kh, false)
	chunk := max(1, gradScores/t.stride()/blockQ) * blockQ
	chunk = min(chunk, roundUp(own.End-own.Start, blockQ))
	p, ds, delta := t.scratchRows(chunk), t.scratchRows(chunk), t.s.take(blockQ)
	group := a.Heads / a.KVHeads
	for head := kvHead * group; head < (kvHead+1)*group; head++ {
		qh, dqh := headOf(g.q, a.Heads, d, head), headOf(g.dq, a.Heads, d, head)
		oh, doh := headOf(g.out, a.Heads, d, head), headOf(g.dout, a.Heads, d, head)
		for start := own.Start; start < own.End; start += chunk {
			end := min(start+chunk, own.End)
			t.blocks(start, end, func(from, rows, seen int) {
				t.fetch(from+rows, min(from+rows+blockQ, own.End), qh, doh, oh, dqh)
				p, ds := p.at(from-start, 0), ds.at(from-start, 0)
				o, do, delta := oh.at(from, 0), doh.at(from, 0), delta[:rows]
				t.scores(p, rows, seen, qh.at(from, 0), &keysT)
				t.scores(ds, rows, seen, do, &valuesT)
				t.kern.rowDots(delta, o.data, do.data, o.rs, d)
				t.kern.attendGrad(p.data, ds.data, p.rs, t.keys.seen(from), t.step(), seen,
					g.lse[from*a.Heads+head:], a.Heads, delta, a.Scale)
				t.combine(dqh.at(from, 0), rows, seen, ds, &keys, 1)
			})
			t.collect(dv, p, start, end, doh)
			t.collect(dk, ds, start, end, qh)
		}
	}
}

// collect computes dst [· × dim] += wᵀ·x, for the keys that a chunk of queries
// sees, w [chunk × seen] and rows of x. Keys of the chunk itself, if causal,
// go by blocks, because only the queries from a block on see it.
func (t *attender) collect(dst, w view, start, end int, x view) {
	d, mark := t.a.HeadDim, t.s.used
	right := t.kern.right(t.s, x.at(start, 0), end-start, d)
	first := t.keys.seen(start)
	if t.keys.causal {
		first--
	}
	t.keys.parts(first, func(row, count, col int) {
		t.kern.mul(count, d, end-start, 1, w.at(0, col).transposed(), right, 1, dst.at(row, 0))
	})
	if t.keys.causal {
		for from := start; from < end; from += blockQ {
			at := from - start
			t.kern.mul(min(blockQ, end-from), d, end-from, 1, w.at(at, first+at).transposed(),
				right.at(at, 0, t.kern.tile), 1, dst.at(from, 0))
		}
	}
	t.s.used = mark
}
