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
// head.
type decoder struct {
	kern       *kernels
	s          *scratch
	d          *tensor.Decode
	from, rows int
	kvHead     int
}

// attend holds the scores of query r with the g-th head of the group in row
// g·rows + r: those of the shared spans first, then those of its last.
func (t *decoder) attend(out, q, k, v []float32) {
	d, kern, dim := t.d, t.kern, t.d.HeadDim
	group := d.Heads / d.KVHeads
	spans := d.Spans[t.from : t.from+t.rows]
	common := shared(spans[0])
	before, longest := spanRows(common), 0
	for _, list := range spans {
		longest = max(longest, spanRows(list))
	}
	stride := roundUp(longest+lineFloats-1, lineFloats)
	p := t.s.take(group * t.rows * stride)
	weights := func(g, r, col int) view { return view{p[(g*t.rows+r)*stride+col:], stride, 1} }
	// head is the g-th head of query r and of those after it.
	head := func(x []float32, g, r int) view {
		return headOf(x, d.Heads, dim, t.kvHead*group+g).at(t.from+r, 0)
	}
	keys, values := headOf(k, d.KVHeads, dim, t.kvHead), headOf(v, d.KVHeads, dim, t.kvHead)
	mark := t.s.used

	eachSpan(common, func(span tensor.Span, count, col int) {
		t.s.used = mark
		right := kern.right(t.s, keys.at(span.Start, 0).transposed(), dim, count)
		for g := range group {
			kern.mul(t.rows, roundUp(count, kern.vector), dim, d.Scale, head(q, g, 0), right, 0, weights(g, 0, col))
		}
	})
	t.s.used = mark
	top, sum := t.s.take(1), t.s.take(group*t.rows)
	mark = t.s.used
	for r, list := range spans {
		own := list[len(list)-1]
		n := before + own.End - own.Start
		for g := range group {
			row := weights(g, r, 0).data
			if own.Start < own.End {
				kern.dots(row[before:n], head(q, g, r).data[:dim], keys.at(own.Start, 0).data, keys.rs, d.Scale)
			}
			kern.attendSoftmax(row, stride, n, 0, n, top, sum[g*t.rows+r:][:1])
		}
	}

	eachSpan(common, func(span tensor.Span, count, col int) {
		t.s.used = mark
		right := kern.right(t.s, values.at(span.Start, 0), count, dim)
		for g := range group {
			kern.mul(t.rows, dim, count, 1, weights(g, 0, col), right, betaAt(col), head(out, g, 0))
		}
	})
	for r, list := range spans {
		eachSpan(list[len(list)-1:], func(span tensor.Span, count, _ int) {
			t.s.used = mark
			right := kern.right(t.s, values.at(span.Start, 0), count, dim)
			// The rows of a query's heads are apart as its scores' are.
			w, o := weights(0, r, before), head(out, 0, r)
			w.rs, o.rs = t.rows*stride, dim
			kern.mul(group, dim, count, 1, w, right, betaAt(before), o)
		})
	}
	for g := range group {
		inverse := sum[g*t.rows : (g+1)*t.rows]
		for r, s := range inverse {
			inverse[r] = 1 / s
		}
		o := head(out, g, 0)
		kern.scaleRows(o.data, o.rs, dim, inverse)
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
