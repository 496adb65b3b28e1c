package cpu

import (
	"github.com/stepwise-rl/stepwise/tensor"
	"github.com/stepwise-rl/stepwise/tensor/internal/shape"
)

// AttendCache computes one decoding step of attention: a task takes some
// query rows, each with all its heads.
func (b *Backend) AttendCache(out, q, kCache, vCache tensor.Buffer, d *tensor.Decode) {
	shape.AttendCache(out, q, kCache, vCache, d)
	o, qd, kd, vd := b.data(out), b.data(q), b.data(kCache), b.data(vCache)
	total := 0
	for _, spans := range d.Spans {
		total += spanRows(spans)
	}
	const rows = 4
	b.run(total*d.Heads*(2*d.HeadDim+expCost), (len(d.Spans)+rows-1)/rows, func(s *scratch, i int) {
		for row := i * rows; row < min((i+1)*rows, len(d.Spans)); row++ {
			b.attendCacheRow(s.reset(), o, qd, kd, vd, d, row)
		}
	})
}

func spanRows(spans []tensor.Span) int {
	n := 0
	for _, s := range spans {
		n += s.End - s.Start
	}
	return n
}

// attendCacheRow computes one query row. Scores are in rows, one a head, of
// the columns of all its spans.
func (b *Backend) attendCacheRow(s *scratch, out, q, k, v []float32, d *tensor.Decode, row int) {
	kern, dim, cols := b.kern, d.HeadDim, d.KVHeads*d.HeadDim
	spans := d.Spans[row]
	n := spanRows(spans)
	group := d.Heads / d.KVHeads
	stride := roundUp(n, lineFloats)
	p, top, sum := s.take(group*stride), s.take(group), s.take(group)
	base := s.used
	for kvHead := range d.KVHeads {
		s.used = base
		head := row*d.Heads + kvHead*group
		col := 0
		for _, span := range spans {
			count := span.End - span.Start
			if count == 0 {
				continue
			}
			keys := k[span.Start*cols+kvHead*dim:]
			for i := range group {
				kern.dots(p[i*stride+col:i*stride+col+count], q[(head+i)*dim:(head+i+1)*dim], keys, cols, d.Scale)
			}
			col += count
		}
		kern.attendSoftmax(p, stride, n, 0, n, top, sum)
		o := view{out[head*dim:], dim, 1}
		beta := float32(0)
		col = 0
		for _, span := range spans {
			count := span.End - span.Start
			if count == 0 {
				continue
			}
			values := kern.right(s, view{v[span.Start*cols+kvHead*dim:], cols, 1}, count, dim)
			kern.mul(group, dim, count, 1, view{p[col:], stride, 1}, values, beta, o)
			beta = 1
			col += count
		}
		for i := range sum {
			sum[i] = 1 / sum[i]
		}
		kern.scaleRows(o.data, dim, dim, sum)
	}
}
