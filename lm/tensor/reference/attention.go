package reference

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// Attend computes out = softmax(scale·q·kᵀ)·v for each row and head over the
// rows that it sees, and lse, the logarithm of the softmax's denominator.
func (b *Backend[E]) Attend(out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	shape.Attend(out, lse, q, k, v, a)
	outs, lses := b.output(out, lse, q, k, v), b.output(lse, q, k, v)
	qs, ks, vs := b.data(q), b.data(k), b.data(v)
	forEachRow(a, func(i int, seen []tensor.Range) {
		for h := range a.Heads {
			at := i*a.Heads + h
			scores := score(row(qs, at, a.HeadDim), ks, seen, kvHead(h, a.Heads, a.KVHeads), a.KVHeads, a.Scale)
			lses[at] = E(attend(row(outs, at, a.HeadDim), scores, vs))
		}
	})
}

// AttendGrad computes, with p = exp(score − lse) and δ = dout·out,
//
//	dv += p·dout
//	ds  = p·(dout·v − δ)
//	dq += scale·ds·k
//	dk += scale·ds·q
//
// (Dao et al., arXiv:2205.14135, appendix B).
func (b *Backend[E]) AttendGrad(dq, dk, dv, dout, out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	shape.AttendGrad(dq, dk, dv, dout, out, lse, q, k, v, a)
	dqs := b.output(dq, dk, dv, dout, out, lse, q, k, v)
	dks := b.output(dk, dv, dout, out, lse, q, k, v)
	dvs := b.output(dv, dout, out, lse, q, k, v)
	douts, outs, lses := b.data(dout), b.data(out), b.data(lse)
	qs, ks, vs := b.data(q), b.data(k), b.data(v)
	forEachRow(a, func(i int, seen []tensor.Range) {
		for h := range a.Heads {
			at := i*a.Heads + h
			q, dq, dout := row(qs, at, a.HeadDim), row(dqs, at, a.HeadDim), row(douts, at, a.HeadDim)
			delta := dot(dout, row(outs, at, a.HeadDim))
			for _, s := range score(q, ks, seen, kvHead(h, a.Heads, a.KVHeads), a.KVHeads, a.Scale) {
				p := math.Exp(s.value - float64(lses[at]))
				ds := p * (dot(dout, row(vs, s.at, a.HeadDim)) - delta) * float64(a.Scale)
				axpy(row(dvs, s.at, a.HeadDim), p, dout)
				axpy(dq, ds, row(ks, s.at, a.HeadDim))
				axpy(row(dks, s.at, a.HeadDim), ds, q)
			}
		}
	})
}

// forEachRow calls f for every row of every segment with the ranges of rows
// that it attends to: its prefix, then its own segment.
func forEachRow(a *tensor.Attention, f func(i int, seen []tensor.Range)) {
	for _, s := range a.Segments {
		for i := s.Start; i < s.End; i++ {
			var seen []tensor.Range
			if s.Prefix >= 0 {
				seen = append(seen, tensor.Range{Start: a.Segments[s.Prefix].Start, End: a.Segments[s.Prefix].End})
			}
			own := tensor.Range{Start: s.Start, End: s.End}
			if a.Window > 0 {
				reach := min(a.Window, s.End-s.Start)
				own.Start, own.End = max(s.Start, i-reach), min(s.End, i+reach+1)
			}
			if a.Causal {
				own.End = i + 1
			}
			f(i, append(seen, own))
		}
	}
}

// kvHead returns the key and value head that query head h shares.
func kvHead(h, heads, kvHeads int) int { return h / (heads / kvHeads) }

// scored is the score of a key, whose head begins at at·headDim in k and in v.
type scored struct {
	value float64
	at    int
}

// score returns scale·q·k for head h of every row of the ranges seen.
func score[E Element](q, ks []E, seen []tensor.Range, h, heads int, scale float32) []scored {
	var scores []scored
	for _, r := range seen {
		for j := r.Start; j < r.End; j++ {
			at := j*heads + h
			scores = append(scores, scored{float64(scale) * dot(q, row(ks, at, len(q))), at})
		}
	}
	return scores
}

// attend overwrites out with the mean of the values, weighted by the softmax of
// their scores, and returns the logarithm of the softmax's denominator.
func attend[E Element](out []E, scores []scored, vs []E) float64 {
	top := math.Inf(-1)
	for _, s := range scores {
		top = max(top, s.value)
	}
	sum := 0.0
	for _, s := range scores {
		sum += math.Exp(s.value - top)
	}
	lse := top + math.Log(sum)
	acc := make([]float64, len(out))
	for _, s := range scores {
		axpyWide(acc, math.Exp(s.value-lse), row(vs, s.at, len(out)))
	}
	convert(out, acc)
	return lse
}

// axpyWide computes dst += alpha·x without rounding to E.
func axpyWide[E Element](dst []float64, alpha float64, x []E) {
	for i, v := range x {
		dst[i] += alpha * float64(v)
	}
}

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

// RoPE rotates each head of row i by the angles pos[i]·freq, in the pairs
// (j, j+headDim/2) of Hugging Face Llama (Su et al., arXiv:2104.09864).
func (b *Backend[E]) RoPE(x tensor.Buffer, pos []int32, freq []float32, heads, headDim int, inverse bool) {
	shape.RoPE(x, pos, freq, heads, headDim)
	xs := b.data(x)
	half := headDim / 2
	for i, p := range pos {
		for h := range heads {
			head := row(xs, i*heads+h, headDim)
			for j, f := range freq {
				sin, cos := math.Sincos(float64(p) * float64(f))
				if inverse {
					sin = -sin
				}
				x0, x1 := float64(head[j]), float64(head[j+half])
				head[j] = E(x0*cos - x1*sin)
				head[j+half] = E(x1*cos + x0*sin)
			}
		}
	}
}
