package cpu

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// Attention goes over blocks of queries. A matrix product writes the scores of a
// block against all keys that it sees into scratch memory, which for the usual
// lengths stays in the first-level cache until the products that use it. Nothing
// of the size rows × rows is ever held.

// blockQ is the number of queries of a block, a multiple of every scores
// kernel's rows.
const blockQ = 12

// keys are the rows that a segment sees: those of its prefix, if any, and its
// own. The columns of scores count through both, the prefix's first.
type keys struct {
	prefix, own tensor.Segment
	causal      bool
}

func keysOf(a *tensor.Attention, i int) keys {
	k := keys{own: a.Segments[i], causal: a.Causal}
	if p := k.own.Prefix; p >= 0 {
		k.prefix = a.Segments[p]
	}
	return k
}

// before is the number of prefix rows.
func (k *keys) before() int { return k.prefix.End - k.prefix.Start }

// seen is the number of columns that query row i of the segment sees.
func (k *keys) seen(i int) int {
	if k.causal {
		return k.before() + i + 1 - k.own.Start
	}
	return k.before() + k.own.End - k.own.Start
}

// parts calls f for the runs of rows that make up the first n columns, with the
// first row of a run, the number of rows, and the column of the first.
func (k *keys) parts(n int, f func(row, count, col int)) {
	p := k.before()
	if p > 0 {
		f(k.prefix.Start, p, 0)
	}
	if n > p {
		f(k.own.Start, n-p, p)
	}
}

// headOf views row-major [rows × heads·dim] data as one head.
func headOf(x []float32, heads, dim, head int) view {
	return view{x[head*dim:], heads * dim, 1}
}

func (v view) transposed() view { return view{v.data, v.cs, v.rs} }

// Attend computes attention over a packed batch.
func (b *Backend) Attend(out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	shape.Attend(out, lse, q, k, v, a)
	o, l, qd, kd, vd := b.data(out), b.data(lse), b.data(q), b.data(k), b.data(v)
	b.eachSegment(a, attendCost(a), func(t *attender) { t.forward(o, l, qd, kd, vd) })
}

// eachSegment calls f for every segment that has rows and for every key head. A
// task takes a key head and a family: a segment without a prefix and then those
// whose prefix it is. So the prefix is packed once, and one task, in a fixed
// order, writes every row of the gradients of keys and values.
func (b *Backend) eachSegment(a *tensor.Attention, cost int, f func(t *attender)) {
	families := b.families.of(a.Segments)
	b.run(cost, len(families.roots)*a.KVHeads, func(s *scratch, i int) {
		t := &s.attender
		*t = attender{a: a, kern: b.kern, s: s, kvHead: i % a.KVHeads}
		for j := families.roots[i/a.KVHeads]; j >= 0; j = families.next[j] {
			t.keys = keysOf(a, int(j))
			if t.keys.own.Start < t.keys.own.End {
				s.used = t.mark
				f(t)
			}
		}
		*t = attender{}
	})
}

// families lists, for every segment without a prefix, the segments whose prefix
// it is.
type families struct {
	// roots are the segments without a prefix. next[j] is the segment after
	// j in its family, root first, -1 at the end.
	roots, next []int32
	last        []int32
}

func (f *families) of(segments []tensor.Segment) *families {
	f.roots, f.next, f.last = f.roots[:0], f.next[:0], f.last[:0]
	for i, s := range segments {
		f.next = append(f.next, -1)
		f.last = append(f.last, int32(i))
		if s.Prefix < 0 {
			f.roots = append(f.roots, int32(i))
			continue
		}
		f.next[f.last[s.Prefix]] = int32(i)
		f.last[s.Prefix] = int32(i)
	}
	return f
}

// attendCost is the work of a forward pass.
func attendCost(a *tensor.Attention) int {
	cost := 0
	for i := range a.Segments {
		k := keysOf(a, i)
		n := k.own.End - k.own.Start
		seen := n
		if a.Window > 0 {
			seen = min(n, 2*min(n, a.Window)+1)
		}
		cost += n * (k.before() + seen) * a.Heads * (2*a.HeadDim + expCost)
	}
	return cost
}

// attender computes attention with one key and value head, one segment after the
// other.
type attender struct {
	a      *tensor.Attention
	kern   *kernels
	s      *scratch
	kvHead int
	keys   keys
	// prefix holds what pack made of the family's first segment; mark is how
	// much scratch memory was in use then.
	prefix [3]panels
	mark   int
}

// packedKeys are the panels of the two runs of rows that a segment sees.
type packedKeys struct{ prefix, own panels }

// pack prepares the rows of x [rows×dim] that the segment sees, or their
// transpose, as the right operand of products. slot numbers a segment's operands,
// all of which are packed before other scratch memory is taken.
func (t *attender) pack(slot int, x view, transpose bool) packedKeys {
	own, d := t.keys.own, t.a.HeadDim
	p := packedKeys{prefix: t.prefix[slot]}
	if x = x.at(own.Start, 0); transpose {
		p.own = t.kern.right(t.s, x.transposed(), d, own.End-own.Start)
	} else {
		p.own = t.kern.right(t.s, x, own.End-own.Start, d)
	}
	if own.Prefix < 0 {
		t.prefix[slot], t.mark = p.own, t.s.used
	}
	return p
}

func (p *packedKeys) at(col int) panels {
	if col == 0 && p.prefix.data != nil {
		return p.prefix
	}
	return p.own
}

// scores computes dst [rows × seen] = x·yᵀ for a block of rows of x and the first
// seen keys. It writes whole vectors; what lies beyond a run of keys is
// overwritten by the next run or ignored.
func (t *attender) scores(dst view, rows, seen int, x view, y *packedKeys) {
	kern := t.kern
	t.keys.parts(seen, func(_, count, col int) {
		keys := y.at(col)
		for i := 0; i < rows; i += kern.rows {
			kern.scores(min(kern.rows, rows-i), roundUp(count, kern.vector), t.a.HeadDim,
				&x.data[i*x.rs], x.rs, &keys.data[0], keys.step, &dst.data[i*dst.rs+col], dst.rs)
		}
	})
}

// stride is the distance between rows of scores, with room for the whole vectors
// that scores writes.
func (t *attender) stride() int {
	return roundUp(t.keys.seen(t.keys.own.End-1)+lineFloats-1, lineFloats)
}

// scratchRows returns memory for the scores of some queries.
func (t *attender) scratchRows(rows int) view {
	stride := t.stride()
	return view{t.s.take(rows * stride), stride, 1}
}

// step is by how much the number of seen keys grows from query to query.
func (t *attender) step() int {
	if t.keys.causal {
		return 1
	}
	return 0
}

// combine computes dst [rows × dim] = w·y + beta·dst for weights w
// [rows × seen] of the first seen keys.
func (t *attender) combine(dst view, rows, seen int, w view, y *packedKeys, beta float32) {
	t.keys.parts(seen, func(_, count, col int) {
		t.kern.mul(rows, t.a.HeadDim, count, 1, w.at(0, col), y.at(col), beta, dst)
		beta = 1
	})
}

// fetch prefetches rows [from, to) of operands. A head's part of a row is too
// short for the processor's own prefetching.
func (t *attender) fetch(from, to int, operands ...view) {
	if t.kern.prefetch == nil || from >= to {
		return
	}
	for _, x := range operands {
		t.kern.prefetch(&x.data[from*x.rs], x.rs, to-from, t.a.HeadDim)
	}
}

// blocks calls f for the blocks of queries [from, end), with the number of
// columns that the last query of a block sees.
func (t *attender) blocks(from, end int, f func(from, rows, seen int)) {
	for ; from < end; from += blockQ {
		to := min(from+blockQ, end)
		f(from, to-from, t.keys.seen(to-1))
	}
}

func (t *attender) forward(out, lse, q, k, v []float32) {
	a := t.a
	if a.Window > 0 {
		t.forwardWindow(out, lse, q, k, v)
		return
	}
	kh, vh := headOf(k, a.KVHeads, a.HeadDim, t.kvHead), headOf(v, a.KVHeads, a.HeadDim, t.kvHead)
	own := t.keys.own
	t.fetch(own.Start, own.End, kh, vh)
	keysT, values := t.pack(0, kh, true), t.pack(1, vh, false)
	p := t.scratchRows(blockQ)
	top, sum := t.s.take(blockQ), t.s.take(blockQ)
	group := a.Heads / a.KVHeads
	for head := t.kvHead * group; head < (t.kvHead+1)*group; head++ {
		qh, oh := headOf(q, a.Heads, a.HeadDim, head), headOf(out, a.Heads, a.HeadDim, head)
		t.blocks(own.Start, own.End, func(from, rows, seen int) {
			t.fetch(from+rows, min(from+rows+blockQ, own.End), qh, oh)
			t.scores(p, rows, seen, qh.at(from, 0), &keysT)
			top, sum := top[:rows], sum[:rows]
			t.kern.attendSoftmax(p.data, p.rs, t.keys.seen(from), t.step(), seen, a.Scale, top, sum)
			t.kern.attendSums(top, sum, a.Scale)
			for i, l := range top {
				lse[(from+i)*a.Heads+head] = l
			}
			o := oh.at(from, 0)
			t.combine(o, rows, seen, p, &values, 0)
			t.kern.scaleRows(o.data, o.rs, a.HeadDim, sum)
		})
	}
}

// AttendGrad computes dq +=, dk += and dv += from dout. With p the weights of a
// query, recomputed from its log-sum-exp, o its output and do the gradient of
// that (Dao et al., "FlashAttention", arXiv:2205.14135, appendix B.2),
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

// gradScores is the number of weights, and of gradients of them, that are kept at
// a time: as many as fit the second-level cache beside the rest.
const gradScores = 48 << 10

// backward goes over chunks of queries. The products for dq take a block of
// queries at a time, as in the forward pass; those for dk and dv take the whole
// chunk, so that dk and dv are read and written once per chunk.
func (t *attender) backward(g *attendGrad) {
	if t.a.Window > 0 {
		t.backwardWindow(g)
		return
	}
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

// collect computes dst [· × dim] += wᵀ·x for the keys that a chunk of queries
// sees, with w [chunk × seen] and the chunk's rows of x. If attention is causal,
// the keys of the chunk itself are done block by block: only the queries from a
// block on see it.
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
