package cpu

// Attention with a window takes, for each block of queries, only the keys that one
// of them sees. So its work grows with rows × window and not with rows × rows.

// window returns the columns [from, to) of the segment's own keys that query row i
// attends to.
func (t *attender) window(i int) (from, to int) {
	n, at := t.keys.own.End-t.keys.own.Start, i-t.keys.own.Start
	reach := min(t.a.Window, n)
	if t.keys.causal {
		return max(0, at-reach), at + 1
	}
	return max(0, at-reach), min(at+reach+1, n)
}

// band returns the columns [from, to) that the queries [start, end) see together.
// from is rounded down to where a panel begins.
func (t *attender) band(start, end int) (from, to int) {
	from, _ = t.window(start)
	_, to = t.window(end - 1)
	return from / t.kern.tile * t.kern.tile, to
}

// bandRows returns memory for the scores of queries, a multiple of blockQ, of which
// chunk in a row are computed together.
func (t *attender) bandRows(chunk int) view {
	own := t.keys.own
	n := own.End - own.Start
	widest := min(n, chunk+2*min(t.a.Window, n)+t.kern.tile)
	stride := roundUp(widest, lineFloats) + 2*lineFloats // kernels write whole vectors
	return view{t.s.take(chunk * stride), stride, 1}
}

// bandScores computes the columns [from, to) of dst [rows × ·] = x·yᵀ; column from is
// the first of dst.
func (t *attender) bandScores(dst view, rows, from, to int, x view, y panels) {
	kern := t.kern
	for i := 0; i < rows; i += kern.rows {
		kern.scores(min(kern.rows, rows-i), roundUp(to-from, kern.vector), t.a.HeadDim,
			&x.data[i*x.rs], x.rs, &y.data[from/kern.tile*y.step], y.step, &dst.data[i*dst.rs], dst.rs)
	}
}

// keep clears the columns of a row of scores that its query does not see. The row
// begins with column first and ends before last.
func keep(row []float32, first, from, to, last int) {
	clear(row[:from-first])
	clear(row[to-first : last-first])
}

// forwardWindow is forward with a window.
func (t *attender) forwardWindow(o *operands) {
	a, own := t.a, t.keys.own
	t.packForward(o)
	keysT, values := t.packed[0].own, t.packed[1].own
	p := t.bandRows(blockQ)
	top, sum := t.s.take(blockQ), t.s.take(blockQ)
	group := a.Heads / a.KVHeads
	for head := t.kvHead * group; head < (t.kvHead+1)*group; head++ {
		qh, oh := headOf(o.q, a.Heads, a.HeadDim, head), headOf(o.out, a.Heads, a.HeadDim, head)
		for start := own.Start; start < own.End; start += blockQ {
			rows := min(blockQ, own.End-start)
			first, last := t.band(start, start+rows)
			t.bandScores(p, rows, first, last, qh.at(start, 0), keysT)
			top, sum := top[:rows], sum[:rows]
			for i := range rows {
				row := p.data[i*p.rs : (i+1)*p.rs]
				from, to := t.window(start + i)
				t.kern.attendSoftmax(row[from-first:], p.rs, to-from, 0, to-from, a.Scale, top[i:i+1], sum[i:i+1])
				keep(row, first, from, to, last)
			}
			t.kern.attendSums(top, sum, a.Scale)
			for i, l := range top {
				o.lse[(start+i)*a.Heads+head] = l
			}
			out := oh.at(start, 0)
			t.kern.mul(rows, a.HeadDim, last-first, 1, p, values.at(first, 0, t.kern.tile), 0, out)
			t.kern.scaleRows(out.data, out.rs, a.HeadDim, sum)
		}
	}
}

// backwardWindow is backward with a window. dk and dv are added to once for each
// chunk of about as many queries as the window is wide.
func (t *attender) backwardWindow(o *operands) {
	a, d, own := t.a, t.a.HeadDim, t.keys.own
	dk, dv := headOf(o.dk, a.KVHeads, d, t.kvHead), headOf(o.dv, a.KVHeads, d, t.kvHead)
	t.packBackward(o)
	keysT, valuesT, keys := t.packed[0].own, t.packed[1].own, t.packed[2].own
	chunk := roundUp(min(a.Window, own.End-own.Start, gradChunk), blockQ)
	p, ds, delta := t.bandRows(chunk), t.bandRows(chunk), t.s.take(blockQ)
	group := a.Heads / a.KVHeads
	for head := t.kvHead * group; head < (t.kvHead+1)*group; head++ {
		qh, dqh := headOf(o.q, a.Heads, d, head), headOf(o.dq, a.Heads, d, head)
		oh, doh := headOf(o.out, a.Heads, d, head), headOf(o.dout, a.Heads, d, head)
		for start := own.Start; start < own.End; start += chunk {
			end := min(start+chunk, own.End)
			first, last := t.band(start, end)
			for at := start; at < end; at += blockQ {
				rows := min(blockQ, end-at)
				blockFirst, blockLast := t.band(at, at+rows)
				p, ds := p.at(at-start, 0), ds.at(at-start, 0)
				out, do, delta := oh.at(at, 0), doh.at(at, 0), delta[:rows]
				t.bandScores(p.at(0, blockFirst-first), rows, blockFirst, blockLast, qh.at(at, 0), keysT)
				t.bandScores(ds.at(0, blockFirst-first), rows, blockFirst, blockLast, do, valuesT)
				t.kern.rowDots(delta, out.data, do.data, out.rs, d)
				for i := range rows {
					row, dRow := p.data[i*p.rs:], ds.data[i*ds.rs:]
					from, to := t.window(at + i)
					t.kern.attendGrad(row[from-first:], dRow[from-first:], p.rs, to-from, 0, to-from,
						o.lse[(at+i)*a.Heads+head:], a.Heads, delta[i:i+1], a.Scale)
					keep(row, first, from, to, last)
					keep(dRow, first, from, to, last)
				}
				t.kern.mul(rows, d, blockLast-blockFirst, 1, ds.at(0, blockFirst-first), keys.at(blockFirst, 0, t.kern.tile), 1, dqh.at(at, 0))
			}
			t.collectBand(dv, p, start, end, first, last, doh)
			t.collectBand(dk, ds, start, end, first, last, qh)
		}
	}
}

// gradChunk bounds the queries of a chunk, so that their scores stay in the cache.
const gradChunk = 96

// collectBand computes rows [first, last) of dst += wᵀ·x for a chunk of queries, with
// w [chunk × last−first] and the chunk's rows of x.
func (t *attender) collectBand(dst, w view, start, end, first, last int, x view) {
	mark := t.s.used
	right := t.kern.right(t.s, x.at(start, 0), end-start, t.a.HeadDim)
	t.kern.mul(last-first, t.a.HeadDim, end-start, 1, w.transposed(), right, 1, dst.at(t.keys.own.Start+first, 0))
	t.s.used = mark
}
