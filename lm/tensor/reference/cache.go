package reference

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// CacheLen returns the size of a cache [rows×kvHeads·headDim].
func (b *Backend[E]) CacheLen(s tensor.CacheShape) int {
	shape.CacheLen(s)
	return s.Rows * s.KVHeads * s.HeadDim
}

// StoreCache copies rows to the caches' rows slots. It panics if slots has a
// repeat.
func (b *Backend[E]) StoreCache(kCache, vCache, k, v tensor.Buffer, slots []int32, s tensor.CacheShape) {
	shape.StoreCache(b.CacheLen(s), kCache, vCache, k, v, slots, s)
	kc, vc := b.output(kCache, vCache, k, v), b.output(vCache, kCache, k, v)
	ks, vs, cols := b.data(k), b.data(v), s.KVHeads*s.HeadDim
	written := make(map[int32]bool, len(slots))
	for i, r := range slots {
		if written[r] {
			panic(fmt.Sprintf("reference: StoreCache: slots has %d twice", r))
		}
		written[r] = true
		copy(row(kc, int(r), cols), row(ks, i, cols))
		copy(row(vc, int(r), cols), row(vs, i, cols))
	}
}

// AttendCache computes out = softmax(scale·q·kᵀ)·v over cached rows.
func (b *Backend[E]) AttendCache(out, q, kCache, vCache tensor.Buffer, d *tensor.Decode) {
	shape.AttendCache(b.CacheLen(d.Cache), out, q, kCache, vCache, d)
	outs := b.output(out, q, kCache, vCache)
	qs, ks, vs := b.data(q), b.data(kCache), b.data(vCache)
	kvHeads, dim := d.Cache.KVHeads, d.Cache.HeadDim
	for i, seen := range d.Ranges {
		for h := range d.Heads {
			at := i*d.Heads + h
			scores := score(row(qs, at, dim), ks, seen, kvHead(h, d.Heads, kvHeads), kvHeads, d.Scale)
			attend(row(outs, at, dim), scores, vs)
		}
	}
}
