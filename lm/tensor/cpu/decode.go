package cpu

import (
	"math"
	"sync/atomic"
	"unsafe"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// A cache is laid out in the order in which decoding reads it, head after head:
// keys transposed, in panels, and values row by row.

// cacheLayout says where the rows of a cache are.
type cacheLayout struct {
	tensor.CacheShape
	// tile is the number of keys in a panel, panels the number of panels of a
	// head.
	tile, panels int
}

func (b *Backend) layout(s tensor.CacheShape) cacheLayout {
	t := b.kern.cacheKeys.tile
	return cacheLayout{CacheShape: s, tile: t, panels: (s.Rows + t - 1) / t}
}

// len is the size of either cache. Kernels read whole vectors, so there is
// room for a tile after the last row.
func (l *cacheLayout) len() int { return (l.KVHeads*l.panels*l.HeadDim + 1) * l.tile }

// key is where the key of a row begins; its elements are a tile apart.
func (l *cacheLayout) key(head, row int) int {
	return (head*l.panels+row/l.tile)*l.HeadDim*l.tile + row%l.tile
}

// value is where the value of a row begins.
func (l *cacheLayout) value(head, row int) int { return (head*l.panels*l.tile + row) * l.HeadDim }

// CacheLen is the size of a cache: its rows fill whole panels.
func (b *Backend) CacheLen(s tensor.CacheShape) int {
	shape.CacheLen(s)
	l := b.layout(s)
	return l.len()
}

// StoreCache stores the keys and values of rows.
func (b *Backend) StoreCache(kCache, vCache, k, v tensor.Buffer, slots []int32, s tensor.CacheShape) {
	l := b.layout(s)
	shape.StoreCache(l.len(), kCache, vCache, k, v, slots, s)
	keys, values, kd, vd := b.data(kCache), b.data(vCache), b.data(k), b.data(v)
	dim := s.HeadDim
	// Each element of a key lies in another cache line.
	cols := s.KVHeads * dim
	b.sweep(len(slots), rowsPerTask(lineFloats*cols), 2*expCost*cols, func(_ *scratch, from, to int) {
		for i := from; i < to; i++ {
			for h := range s.KVHeads {
				at := (i*s.KVHeads + h) * dim
				copy(values[l.value(h, int(slots[i])):][:dim], vd[at:])
				to := keys[l.key(h, int(slots[i])):][:(dim-1)*l.tile+1]
				for j, x := range kd[at : at+dim] {
					to[j*l.tile] = x
				}
			}
		}
	})
}

// AttendCache cuts the ranges of each query into stretches of at most stretchRows
// cache rows. For each stretch it computes the largest score, the sum of the
// exponentials and the sum of the values weighted by them, which are put together
// at the end, as in Flash-Decoding (Dao et al., 2023). So all workers share a long
// context, and its scores stay in the first-level cache. decodeplan.go cuts.

// decoding is a call of AttendCache. Its memory is kept for the next call.
type decoding struct {
	decodePlan
	kern         *kernels
	layout       cacheLayout
	out, q, k, v []float32
	// The results of stretches: a row for each query and head.
	top, sum, acc []float32
	// left counts, per run and key head, the pieces still to be computed.
	left []atomic.Int32
	task func(s *scratch, i int) // compute
}

// AttendCache computes attention to the caches. A task takes a piece and a key
// head; the last task of a run puts the run's stretches together.
func (b *Backend) AttendCache(out, q, kCache, vCache tensor.Buffer, d *tensor.Decode) {
	t := &b.decoding
	t.kern, t.layout = b.kern, b.layout(d.Cache)
	shape.AttendCache(t.layout.len(), out, q, kCache, vCache, d)
	t.out, t.q, t.k, t.v = b.data(out), b.data(q), b.data(kCache), b.data(vCache)
	t.plan(d)
	kvHeads, dim := d.Cache.KVHeads, d.Cache.HeadDim
	mem := b.crew.shared.reset()
	t.top, t.sum, t.acc = mem.take(t.results*kvHeads), mem.take(t.results*kvHeads), mem.take(t.results*kvHeads*t.width())
	if n := len(t.runs) * kvHeads; cap(t.left) < n {
		t.left = make([]atomic.Int32, n)
	} else {
		t.left = t.left[:n]
	}
	for i := range t.left {
		t.left[i].Store(int32(t.runs[i/kvHeads].pieces))
	}
	if t.task == nil {
		t.task = t.compute
	}
	b.run(t.scores*kvHeads*(2*dim+expCost), len(t.pieces)*kvHeads, t.task)
	t.d, t.out, t.q, t.k, t.v, t.top, t.sum, t.acc = nil, nil, nil, nil, nil, nil, nil, nil
}

// scoreStride is the distance between rows of scores: a cache line more than a
// stretch, so that rows do not collide in the cache.
const scoreStride = stretchRows + lineFloats

// compute is task i: piece i/KVHeads for key head i%KVHeads.
func (t *decoding) compute(s *scratch, i int) {
	piece, head := t.pieces[i/t.layout.KVHeads], i%t.layout.KVHeads
	r := &t.runs[piece.run]
	// q holds the heads of a query side by side, one query after the other.
	row := t.group * t.layout.HeadDim
	q := s.take((r.to - r.from) * row)
	for k := range r.to - r.from {
		copy(q[k*row:(k+1)*row], t.q[((r.from+k)*t.layout.KVHeads+head)*row:])
	}
	scores := s.take((r.to - r.from) * t.group * scoreStride)
	stretches := t.stretches[piece.from:piece.to]
	for k := range stretches {
		p, next := &stretches[k], (*stretch)(nil)
		if k+1 < len(stretches) {
			next = &stretches[k+1]
		}
		t.attend(scores, q[(p.from-r.from)*row:], p, next, head, t.resultOf(r, p, head))
	}
	if t.left[piece.run*t.layout.KVHeads+head].Add(-1) == 0 {
		t.combine(s, r, head)
	}
}

// attend computes the results of stretch p, which go to rows at and following.
// While it reads the keys it prefetches the values, and while it reads those, the
// keys of the next stretch.
func (t *decoding) attend(scores, q []float32, p, next *stretch, head, at int) {
	dim, count, queries := t.layout.HeadDim, p.rows.End-p.rows.Start, (p.to-p.from)*t.group
	values := t.v[t.layout.value(head, p.rows.Start):]
	// A stretch may begin in the middle of a panel. Whole vectors are written;
	// the next panel's overwrite what is beyond the panel.
	for col := 0; col < count; {
		row := p.rows.Start + col
		n := count - col
		if row%t.layout.tile > 0 {
			n = min(n, t.layout.tile-row%t.layout.tile)
		}
		keys := t.k[t.layout.key(head, row):]
		t.kern.cacheKeys.multiply(queries, roundUp(n, t.kern.vector), dim, q, dim,
			keys, t.layout.tile, t.layout.tile*dim, scores[col:], scoreStride, distance(keys, values[col*dim:]))
		col += n
	}
	top, sum := t.top[at:at+queries], t.sum[at:at+queries]
	if !p.own {
		t.kern.attendSoftmax(scores, scoreStride, count, 0, count, t.d.Scale, top, sum)
	} else {
		for k := range p.to - p.from {
			from, to := k*t.group, (k+1)*t.group
			t.kern.attendSoftmax(scores[from*scoreStride:], scoreStride, t.seen(p, p.from+k), 0, count, t.d.Scale, top[from:to], sum[from:to])
		}
	}
	far := 0
	if next != nil {
		far = distance(values, t.k[t.layout.key(head, next.rows.Start):])
	}
	width := t.width()
	t.kern.cacheValues.multiply(queries, width, count, scores, scoreStride,
		values, dim, t.kern.cacheValues.tile, t.acc[at*width:], width, far)
}

// distance is how many bytes y lies behind x.
func distance(x, y []float32) int {
	return int(uintptr(unsafe.Pointer(&y[0])) - uintptr(unsafe.Pointer(&x[0])))
}

// multiply computes c = a·b for any number of rows, in blocks of equal size.
func (kern *cacheKernel) multiply(m, n, k int, a []float32, rsa int, b []float32, rsb, step int, c []float32, ldc, far int) {
	blocks := (m + kern.rows - 1) / kern.rows
	for i := range blocks {
		from, to := i*m/blocks, (i+1)*m/blocks
		kern.mul(to-from, n, k, &a[from*rsa], rsa, &b[0], rsb, step, &c[from*ldc], ldc, far)
		far = 0
	}
}

// width is the distance between rows of weighted values: whole vectors.
func (t *decoding) width() int { return roundUp(t.layout.HeadDim, t.kern.vector) }

// combine puts the stretches of a run together. For each query and head it sums
// their values, each stretch weighted by the exponential of its largest score
// minus the largest of all.
func (t *decoding) combine(s *scratch, r *run, head int) {
	dim, width := t.layout.HeadDim, t.width()
	rows := (r.to - r.from) * t.group
	top, sum := s.take(rows), s.take(rows)
	// each calls f for all results, with the row of the query and head.
	each := func(f func(at, row int)) {
		for i := r.first; i < r.end; i++ {
			p := &t.stretches[i]
			at, row := t.resultOf(r, p, head), (p.from-r.from)*t.group
			for k := range (p.to - p.from) * t.group {
				f(at+k, row+k)
			}
		}
	}
	for i := range top {
		top[i], sum[i] = float32(math.Inf(-1)), 0
	}
	each(func(at, row int) {
		if t.top[at] > top[row] {
			top[row] = t.top[at]
		}
	})
	each(func(at, row int) {
		weight := float32(1)
		if t.top[at] != top[row] {
			weight = exp(t.d.Scale * (t.top[at] - top[row]))
		}
		t.top[at] = weight
		sum[row] += weight * t.sum[at]
	})
	out := func(row int) []float32 {
		q, g := r.from+row/t.group, row%t.group
		return t.out[((q*t.layout.KVHeads+head)*t.group+g)*dim:][:dim]
	}
	for row := range rows {
		clear(out(row))
	}
	each(func(at, row int) { t.kern.axpy(out(row), t.top[at]/sum[row], t.acc[at*width:][:dim]) })
}
