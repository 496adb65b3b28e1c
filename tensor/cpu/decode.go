package cpu

import (
	"slices"

	"github.com/stepwise-rl/stepwise/tensor"
	"github.com/stepwise-rl/stepwise/tensor/internal/shape"
)

// Queries that come one after the other and share all spans but their last
// (completions of one prompt) form a run, whose shared part is computed with
// matrix products. A query's result does not depend on the run it is in: its
// last span takes dot products, the spans before it always take matrix
// products, and a row of a product does not depend on the others.

// maxRun bounds the queries of a run.
const maxRun = 12

// AttendCache computes one decoding step of attention. A task takes a run of
// queries and one key head.
func (b *Backend) AttendCache(out, q, kCache, vCache tensor.Buffer, d *tensor.Decode) {
	shape.AttendCache(out, q, kCache, vCache, d)
	o, qd, kd, vd := b.data(out), b.data(q), b.data(kCache), b.data(vCache)
	b.runs = b.runs[:0]
	total := 0
	for i, spans := range d.Spans {
		total += spanRows(spans)
		if n := len(b.runs); n > 0 && i-b.runs[n-1] < maxRun && slices.Equal(shared(d.Spans[i-1]), shared(spans)) {
			continue
		}
		b.runs = append(b.runs, i)
	}
	runs := b.runs
	b.run(total*d.Heads*(2*d.HeadDim+expCost), len(runs)*d.KVHeads, func(s *scratch, i int) {
		from, to := runs[i/d.KVHeads], len(d.Spans)
		if next := i/d.KVHeads + 1; next < len(runs) {
			to = runs[next]
		}
		t := decoder{kern: b.kern, s: s, d: d, from: from, rows: to - from, kvHead: i % d.KVHeads}
		t.attend(o, qd, kd, vd)
	})
}

// shared is the part of a query's spans that a run has in common.
func shared(spans []tensor.Span) []tensor.Span { return spans[:len(spans)-1] }

func spanRows(spans []tensor.Span) int {
	n := 0
	for _, s := range spans {
		n += s.End - s.Start
	}
	return n
}

// decoder computes the attention of a run of queries with one key and value
// head. The scores of query r with the g-th head of the group are row
// g·rows + r of p: those of the shared spans first, then those of its last.
type decoder struct {
	kern          *kernels
	s             *scratch
	d             *tensor.Decode
	from, rows    int
	kvHead, group int
	spans         [][]tensor.Span
	before        int // columns of the shared spans
	p             []float32
	stride        int
	top, sum      []float32
	mark          int // scratch memory in use with these
}

// prepare takes scratch memory, with room for the whole vectors that products
// fill.
func (t *decoder) prepare() {
	t.group = t.d.Heads / t.d.KVHeads
	t.spans = t.d.Spans[t.from : t.from+t.rows]
	t.before = spanRows(shared(t.spans[0]))
	longest := 0
	for _, list := range t.spans {
		longest = max(longest, spanRows(list))
	}
	t.stride = roundUp(longest+lineFloats-1, lineFloats)
	t.p = t.s.take(t.group * t.rows * t.stride)
	t.top, t.sum = t.s.take(1), t.s.take(t.group*t.rows)
	t.mark = t.s.used
}

// weights views the scores of query r and those after it with the g-th head,
// from column col on.
func (t *decoder) weights(g, r, col int) view {
	return view{t.p[(g*t.rows+r)*t.stride+col:], t.stride, 1}
}

// head views the g-th head of query r and those after it.
func (t *decoder) head(x []float32, g, r int) view {
	return headOf(x, t.d.Heads, t.d.HeadDim, t.kvHead*t.group+g).at(t.from+r, 0)
}

// cached views the cache's rows of a span.
func (t *decoder) cached(x []float32, span tensor.Span) view {
	return headOf(x, t.d.KVHeads, t.d.HeadDim, t.kvHead).at(span.Start, 0)
}

// right prepares y as a right operand that lives until the next.
func (t *decoder) right(y view, k, n int) panels {
	t.s.used = t.mark
	return t.kern.right(t.s, y, k, n)
}

func (t *decoder) attend(out, q, k, v []float32) {
	t.prepare()
	t.scores(q, k)
	for r, list := range t.spans {
		for g := range t.group {
			n := spanRows(list)
			t.kern.attendSoftmax(t.weights(g, r, 0).data, t.stride, n, 0, n, t.top, t.sum[g*t.rows+r:][:1])
		}
	}
	for i, sum := range t.sum {
		t.sum[i] = 1 / sum
	}
	t.combine(out, v)
	for g := range t.group {
		o := t.head(out, g, 0)
		t.kern.scaleRows(o.data, o.rs, t.d.HeadDim, t.sum[g*t.rows:(g+1)*t.rows])
	}
}

// scores computes p = scale·q·kᵀ.
func (t *decoder) scores(q, k []float32) {
	dim, scale := t.d.HeadDim, t.d.Scale
	eachSpan(shared(t.spans[0]), func(span tensor.Span, count, col int) {
		keys := t.right(t.cached(k, span).transposed(), dim, count)
		for g := range t.group {
			t.kern.mul(t.rows, roundUp(count, t.kern.vector), dim, scale, t.head(q, g, 0), keys, 0, t.weights(g, 0, col))
		}
	})
	for r, list := range t.spans {
		eachSpan(list[len(list)-1:], func(span tensor.Span, count, _ int) {
			keys := t.cached(k, span)
			for g := range t.group {
				row := t.weights(g, r, t.before).data[:count]
				t.kern.dots(row, t.head(q, g, r).data[:dim], keys.data, keys.rs, scale)
			}
		})
	}
}

// combine computes out = p·v.
func (t *decoder) combine(out, v []float32) {
	dim := t.d.HeadDim
	eachSpan(shared(t.spans[0]), func(span tensor.Span, count, col int) {
		values := t.right(t.cached(v, span), count, dim)
		for g := range t.group {
			t.kern.mul(t.rows, dim, count, 1, t.weights(g, 0, col), values, betaAt(col), t.head(out, g, 0))
		}
	})
	for r, list := range t.spans {
		eachSpan(list[len(list)-1:], func(span tensor.Span, count, _ int) {
			values := t.right(t.cached(v, span), count, dim)
			// All heads of the query at once: theirs are the rows.
			w, o := t.weights(0, r, t.before), t.head(out, 0, r)
			w.rs, o.rs = t.rows*t.stride, dim
			t.kern.mul(t.group, dim, count, 1, w, values, betaAt(t.before), o)
		})
	}
}

// eachSpan calls f for the spans that have rows, with their number and the
// column of the first.
func eachSpan(spans []tensor.Span, f func(span tensor.Span, count, col int)) {
	col := 0
	for _, span := range spans {
		if count := span.End - span.Start; count > 0 {
			f(span, count, col)
			col += count
		}
	}
}

// betaAt is 0 for the first columns of a sum over columns, which overwrite
// what was there, and 1 for the others.
func betaAt(col int) float32 {
	if col == 0 {
		return 0
	}
	return 1
}
