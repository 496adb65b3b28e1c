package tensor

import (
	"fmt"
	"math"
	"slices"
)

// attendOnHost computes AttendCache on the caches of StoreCache's fall-back.
func attendOnHost(b Backend, out, q, kCache, vCache Buffer, d *Decode) {
	kvHeads, dim := d.Cache.KVHeads, d.Cache.HeadDim
	cols := kvHeads * dim
	if kCache.Len() != d.Cache.Rows*cols || vCache.Len() != kCache.Len() || q.Len() != len(d.Ranges)*d.Heads*dim || out.Len() != q.Len() {
		panic(fmt.Sprintf("tensor: AttendCache: q has %d elements, out %d, the caches %d and %d, which does not fit %d rows, %d heads and %+v",
			q.Len(), out.Len(), kCache.Len(), vCache.Len(), len(d.Ranges), d.Heads, d.Cache))
	}
	if d.Heads < kvHeads || d.Heads%kvHeads != 0 || d.Scale < 0 {
		panic(fmt.Sprintf("tensor: AttendCache: Heads is %d and Scale %g, want a multiple of KVHeads = %d and at least 0", d.Heads, d.Scale, kvHeads))
	}
	from, to := d.Cache.Rows, 0
	for i, ranges := range d.Ranges {
		seen := 0
		for _, r := range ranges {
			if r.Start < r.End {
				from, to = min(from, r.Start), max(to, r.End)
			}
			seen += max(0, r.End-r.Start)
		}
		if seen == 0 || from < 0 || to > d.Cache.Rows {
			panic(fmt.Sprintf("tensor: AttendCache: row %d has ranges %v, want a row in all, within %d cache rows", i, ranges, d.Cache.Rows))
		}
	}
	if from >= to {
		return
	}
	qs, ks, vs := make([]float32, q.Len()), make([]float32, (to-from)*cols), make([]float32, (to-from)*cols)
	if b.Read(qs, q) != nil || b.Read(ks, b.Slice(kCache, from*cols, to*cols)) != nil || b.Read(vs, b.Slice(vCache, from*cols, to*cols)) != nil {
		return // the error sticks
	}
	outs, acc := make([]float32, out.Len()), make([]float64, dim)
	var scores []float64
	for i, ranges := range d.Ranges {
		for h := range d.Heads {
			at := (i*d.Heads + h) * dim
			head := h / (d.Heads / kvHeads) * dim // within a cache row
			scores = scores[:0]
			each := func(f func(cell int)) {
				for _, r := range ranges {
					for row := r.Start; row < r.End; row++ {
						f((row-from)*cols + head)
					}
				}
			}
			each(func(cell int) {
				s := 0.0
				for j, v := range qs[at : at+dim] {
					s += float64(v) * float64(ks[cell+j])
				}
				scores = append(scores, s*float64(d.Scale))
			})
			top, sum, n := slices.Max(scores), 0.0, 0
			clear(acc)
			each(func(cell int) {
				p := math.Exp(scores[n] - top)
				n++
				sum += p
				for j := range acc {
					acc[j] += p * float64(vs[cell+j])
				}
			})
			for j, v := range acc {
				outs[at+j] = float32(v / sum)
			}
		}
	}
	b.Write(out, outs)
}
