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

// operands are those of Attend and AttendGrad; Attend has no gradients.
type operands struct {
	dq, dk, dv, dout, out, lse, q, k, v []float32
}

// Attend computes attention over a packed batch.
func (b *Backend) Attend(out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	shape.Attend(out, lse, q, k, v, a)
	o := operands{out: b.data(out), lse: b.data(lse), q: b.data(q), k: b.data(k), v: b.data(v)}
	b.eachSegment(a, 1, func(t *attender) { t.forward(&o) })
	b.spreadForward(&o, a)
}

// eachSegment calls f for every segment that has rows and for every key head, but not
// for the families that are large. passes is how many forward passes f's work amounts
// to. A task takes a key head and a family: a segment without a prefix and then those
// whose prefix it is. So the prefix is packed once, and one task, in a fixed
// order, writes every row of the gradients of keys and values.
func (b *Backend) eachSegment(a *tensor.Attention, passes int, f func(t *attender)) {
	families := b.families.of(a, b.maxWorkers())
	b.run(passes*families.cost, len(families.roots)*a.KVHeads, func(s *scratch, i int) {
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
	// roots and large are the segments without a prefix. In large are those of which
	// one key head would keep a worker busy while the others wait. next[j] is the
	// segment after j in its family, root first, -1 at the end.
	roots, large, next []int32
	// cost is the work of a forward pass over the families in roots.
	cost  int
	last  []int32
	costs []int // of each segment without a prefix, that of its family
}

func (f *families) of(a *tensor.Attention, workers int) *families {
	f.roots, f.large, f.next, f.last, f.costs = f.roots[:0], f.large[:0], f.next[:0], f.last[:0], f.costs[:0]
	f.cost = 0
	for i, s := range a.Segments {
		cost := attendCost(a, i)
		f.cost += cost
		f.next = append(f.next, -1)
		f.last = append(f.last, int32(i))
		f.costs = append(f.costs, cost)
		if s.Prefix < 0 {
			f.roots = append(f.roots, int32(i))
			continue
		}
		f.next[f.last[s.Prefix]] = int32(i)
		f.last[s.Prefix] = int32(i)
		f.costs[s.Prefix] += cost
	}
	if a.Window > 0 {
		return f
	}
	// With one key head, a large family takes half as long again as all the work does
	// if it is shared evenly, and long enough for a second worker.
	all, small := f.cost, f.roots[:0]
	for _, root := range f.roots {
		if c := f.costs[root] / a.KVHeads; c >= 2*grain && 2*workers*c >= 3*all {
			f.large = append(f.large, root)
			f.cost -= f.costs[root]
		} else {
			small = append(small, root)
		}
	}
	f.roots = small
	return f
}

// attendCost is the work of a forward pass over a segment.
func attendCost(a *tensor.Attention, segment int) int {
	k := keysOf(a, segment)
	n := k.own.End - k.own.Start
	seen := n
	if a.Window > 0 {
		seen = min(n, 2*min(n, a.Window)+1)
	}
	return n * (k.before() + seen) * a.Heads * (2*a.HeadDim + expCost)
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
	// packed holds what pack made for the segment.
	packed [3]packedKeys
	// together packs on all workers; nil = on one.
	together *Backend
}

// packedKeys are the panels of the two runs of rows that a segment sees.
type packedKeys struct{ prefix, own panels }

// pack prepares the rows of x [rows×dim] that the segment sees, or their
// transpose, as the right operand of products. slot numbers a segment's operands,
// all of which are packed before other scratch memory is taken.
func (t *attender) pack(slot int, x view, transpose bool) {
	own, k, n := t.keys.own, t.keys.own.End-t.keys.own.Start, t.a.HeadDim
	if x = x.at(own.Start, 0); transpose {
		x, k, n = x.transposed(), n, k
	}
	p := &t.packed[slot]
	p.prefix = t.prefix[slot]
	if t.together != nil {
		p.own = t.together.right(t.s, x, k, n)
	} else {
		p.own = t.kern.right(t.s, x, k, n)
	}
	if own.Prefix < 0 {
		p.prefix = panels{}
		t.prefix[slot], t.mark = p.own, t.s.used
	}
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

func (t *attender) forward(o *operands) {
	a := t.a
	if a.Window > 0 {
		t.forwardWindow(o)
		return
	}
	t.packForward(o)
	group := a.Heads / a.KVHeads
	for head := t.kvHead * group; head < (t.kvHead+1)*group; head++ {
		t.forwardRows(o, head, t.keys.own.Start, t.keys.own.End)
	}
}

// packForward prepares what forwardRows needs.
func (t *attender) packForward(o *operands) {
	a, own := t.a, t.keys.own
	kh, vh := headOf(o.k, a.KVHeads, a.HeadDim, t.kvHead), headOf(o.v, a.KVHeads, a.HeadDim, t.kvHead)
	t.fetch(own.Start, own.End, kh, vh)
	t.pack(0, kh, true)
	t.pack(1, vh, false)
}

// forwardRows computes the rows [start, end) of one head.
func (t *attender) forwardRows(o *operands, head, start, end int) {
	a, mark := t.a, t.s.used
	p := t.scratchRows(blockQ)
	top, sum := t.s.take(blockQ), t.s.take(blockQ)
	qh, oh := headOf(o.q, a.Heads, a.HeadDim, head), headOf(o.out, a.Heads, a.HeadDim, head)
	t.blocks(start, end, func(from, rows, seen int) {
		t.fetch(from+rows, min(from+rows+blockQ, end), qh, oh)
		t.scores(p, rows, seen, qh.at(from, 0), &t.packed[0])
		top, sum := top[:rows], sum[:rows]
		t.kern.attendSoftmax(p.data, p.rs, t.keys.seen(from), t.step(), seen, a.Scale, top, sum)
		t.kern.attendSums(top, sum, a.Scale)
		for i, l := range top {
			o.lse[(from+i)*a.Heads+head] = l
		}
		out := oh.at(from, 0)
		t.combine(out, rows, seen, p, &t.packed[1], 0)
		t.kern.scaleRows(out.data, out.rs, a.HeadDim, sum)
	})
	t.s.used = mark
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
	o := operands{
		dq: b.data(dq), dk: b.data(dk), dv: b.data(dv), dout: b.data(dout),
		out: b.data(out), lse: b.data(lse), q: b.data(q), k: b.data(k), v: b.data(v),
	}
	b.eachSegment(a, 3, func(t *attender) { t.backward(&o) })
	b.spreadBackward(&o, a)
}

// gradScores is the number of weights, and of gradients of them, that are kept at
// a time: as many as fit the second-level cache beside the rest.
const gradScores = 48 << 10

// backward goes over chunks of queries. The products for dq take a block of
// queries at a time, as in the forward pass; those for dk and dv take the whole
// chunk, so that dk and dv are read and written once per chunk.
func (t *attender) backward(o *operands) {
	a, own := t.a, t.keys.own
	if a.Window > 0 {
		t.backwardWindow(o)
		return
	}
	t.packBackward(o)
	chunk := t.chunk()
	p, ds := t.scratchRows(chunk), t.scratchRows(chunk)
	group := a.Heads / a.KVHeads
	for head := t.kvHead * group; head < (t.kvHead+1)*group; head++ {
		for start := own.Start; start < own.End; start += chunk {
			end := min(start+chunk, own.End)
			t.backwardRows(o, head, start, end, p, ds)
			t.backwardKeys(o, head, start, end, p, ds, tensor.Range{End: own.End})
		}
	}
}

// packBackward prepares what backwardRows needs.
func (t *attender) packBackward(o *operands) {
	a, own := t.a, t.keys.own
	kh, vh := headOf(o.k, a.KVHeads, a.HeadDim, t.kvHead), headOf(o.v, a.KVHeads, a.HeadDim, t.kvHead)
	t.fetch(own.Start, own.End, kh, vh)
	t.pack(0, kh, true)
	t.pack(1, vh, true)
	t.pack(2, kh, false)
}

// chunk is the number of queries of a chunk.
func (t *attender) chunk() int {
	chunk := max(1, gradScores/t.stride()/blockQ) * blockQ
	return min(chunk, roundUp(t.keys.own.End-t.keys.own.Start, blockQ))
}

// backwardRows computes dq of the chunk [start, end) of one head, and leaves p and ds
// [chunk × seen].
func (t *attender) backwardRows(o *operands, head, start, end int, p, ds view) {
	a, d, mark := t.a, t.a.HeadDim, t.s.used
	delta := t.s.take(blockQ)
	qh, dqh := headOf(o.q, a.Heads, d, head), headOf(o.dq, a.Heads, d, head)
	oh, doh := headOf(o.out, a.Heads, d, head), headOf(o.dout, a.Heads, d, head)
	t.blocks(start, end, func(from, rows, seen int) {
		t.fetch(from+rows, min(from+rows+blockQ, t.keys.own.End), qh, doh, oh, dqh)
		p, ds := p.at(from-start, 0), ds.at(from-start, 0)
		out, do, delta := oh.at(from, 0), doh.at(from, 0), delta[:rows]
		t.scores(p, rows, seen, qh.at(from, 0), &t.packed[0])
		t.scores(ds, rows, seen, do, &t.packed[1])
		t.kern.rowDots(delta, out.data, do.data, out.rs, d)
		t.kern.attendGrad(p.data, ds.data, p.rs, t.keys.seen(from), t.step(), seen,
			o.lse[from*a.Heads+head:], a.Heads, delta, a.Scale)
		t.combine(dqh.at(from, 0), rows, seen, ds, &t.packed[2], 1)
	})
	t.s.used = mark
}

// backwardKeys adds to dv and dk what a chunk of one head contributes to the rows in
// within.
func (t *attender) backwardKeys(o *operands, head, start, end int, p, ds view, within tensor.Range) {
	a, d := t.a, t.a.HeadDim
	t.collect(headOf(o.dv, a.KVHeads, d, t.kvHead), p, start, end, headOf(o.dout, a.Heads, d, head), within)
	t.collect(headOf(o.dk, a.KVHeads, d, t.kvHead), ds, start, end, headOf(o.q, a.Heads, d, head), within)
}

// collect computes dst [· × dim] += wᵀ·x for the keys in within that a chunk of
// queries sees, with w [chunk × seen] and the chunk's rows of x. If attention is
// causal, the keys of the chunk itself are done block by block: only the queries from a
// block on see it. So within begins where a block does.
func (t *attender) collect(dst, w view, start, end int, x view, within tensor.Range) {
	d, mark := t.a.HeadDim, t.s.used
	right := t.kern.right(t.s, x.at(start, 0), end-start, d)
	first := t.keys.seen(start)
	if t.keys.causal {
		first--
	}
	t.keys.parts(first, func(row, count, col int) {
		from, to := max(row, within.Start), min(row+count, within.End)
		if from < to {
			t.kern.mul(to-from, d, end-start, 1, w.at(0, col+from-row).transposed(), right, 1, dst.at(from, 0))
		}
	})
	if t.keys.causal {
		for from := max(start, within.Start); from < min(end, within.End); from += blockQ {
			at := from - start
			t.kern.mul(min(blockQ, end-from), d, end-from, 1, w.at(at, first+at).transposed(),
				right.at(at, 0, t.kern.tile), 1, dst.at(from, 0))
		}
	}
	t.s.used = mark
}
