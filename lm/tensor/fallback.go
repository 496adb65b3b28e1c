package tensor

import (
	"fmt"
	"math"
	"slices"
)

// PrecisionOf returns b's precision: PrecisionFloat32 unless it is [Precise].
func PrecisionOf(b Backend) Precision {
	if p, ok := b.(Precise); ok {
		return p.Precision()
	}
	return PrecisionFloat32
}

// Err returns b's sticky error, if it is an [ErrReporter] and knows of one. It
// does not wait, so nil does not mean that all is well; only Sync says that.
func Err(b Backend) error {
	if r, ok := b.(ErrReporter); ok {
		return r.Err()
	}
	return nil
}

// HeadSize returns how many logits a model computes in one piece and how many it
// keeps: those of a [HeadSizer], or 4 Mi (16 MiB, a third-level cache) and 16 Mi.
func HeadSize(b Backend) (chunk, kept int) {
	if h, ok := b.(HeadSizer); ok {
		return h.HeadSize()
	}
	return 4 << 20, 16 << 20
}

// Alloc16 returns a zeroed buffer of n elements of 16 bits from an [Allocator16],
// and one of Alloc from another backend.
func Alloc16(b Backend, n int) Buffer {
	if a, ok := b.(Allocator16); ok {
		return a.Alloc16(n)
	}
	return b.Alloc(n)
}

// KeepWeight tells a [WeightKeeper] that buf holds weights.
func KeepWeight(b Backend, buf Buffer) {
	if k, ok := b.(WeightKeeper); ok {
		k.KeepWeight(buf)
	}
}

// Linear is b's Linear ([Linearer]), or else composed of Copy, MatMul and AddBias.
func Linear(b Backend, y, x, w, bias, add Buffer, rows, out, in int) {
	if l, ok := b.(Linearer); ok {
		l.Linear(y, x, w, bias, add, rows, out, in)
		return
	}
	beta := float32(0)
	if add != nil {
		beta = 1
		if add != y {
			b.Copy(y, add)
		}
	}
	b.MatMul(OpN, OpT, rows, out, in, 1, x, w, beta, y)
	if bias != nil {
		b.AddBias(y, bias, rows, out)
	}
}

// LayerNorm is b's LayerNorm ([LayerNormer]), or else composed of RMSNorm of the
// rows less their means, which MatMul computes.
func LayerNorm(b Backend, y, mean, inv, x, w, bias Buffer, rows, cols int, eps float32) {
	if l, ok := b.(LayerNormer); ok {
		l.LayerNorm(y, mean, inv, x, w, bias, rows, cols, eps)
		return
	}
	c := centre(b, mean, x, rows, cols, true)
	defer b.Free(c)
	b.RMSNorm(y, inv, c, w, rows, cols, eps)
	b.AddBias(y, bias, rows, cols)
}

// LayerNormGrad is b's LayerNormGrad ([LayerNormer]), or else composed as in
// [LayerNorm]: dx is the gradient of the centred rows, centred.
func LayerNormGrad(b Backend, dx, dw, dbias, dy, x, w, mean, inv Buffer, rows, cols int) {
	if l, ok := b.(LayerNormer); ok {
		l.LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv, rows, cols)
		return
	}
	c := centre(b, mean, x, rows, cols, false)
	defer b.Free(c)
	dc, means := b.Alloc(rows*cols), b.Alloc(rows)
	defer b.Free(dc)
	defer b.Free(means)
	b.RMSNormGrad(dc, dw, dy, c, w, inv, rows, cols)
	b.SumRows(dbias, dy, rows, cols)
	d := centre(b, means, dc, rows, cols, true)
	defer b.Free(d)
	b.Axpy(dx, 1, d)
}

// centre returns x less the mean of each row, which it computes first if asked.
func centre(b Backend, mean, x Buffer, rows, cols int, compute bool) Buffer {
	ones, c := b.Alloc(cols), b.Alloc(rows*cols)
	defer b.Free(ones)
	b.Fill(ones, 1)
	if compute {
		b.MatMul(OpN, OpN, rows, 1, cols, 1/float32(cols), x, ones, 0, mean)
	}
	b.Copy(c, x)
	b.MatMul(OpN, OpN, rows, cols, 1, -1, mean, ones, 1, c)
	return c
}

// GELU is b's GELU ([GELUer]), or else computed on the host.
func GELU(b Backend, y, x Buffer) {
	if g, ok := b.(GELUer); ok {
		g.GELU(y, x)
		return
	}
	onHost(b, y, func(v, _ float64) float64 { return gelu(v) }, x, x)
}

// GELUGrad is b's GELUGrad ([GELUer]), or else computed on the host.
func GELUGrad(b Backend, dx, dy, x Buffer) {
	if g, ok := b.(GELUer); ok {
		g.GELUGrad(dx, dy, x)
		return
	}
	onHost(b, dx, func(d, v float64) float64 { return d * geluSlope(v) }, dy, x)
}

// Tanh is b's Tanh ([Tanher]), or else computed on the host.
func Tanh(b Backend, y, x Buffer) {
	if t, ok := b.(Tanher); ok {
		t.Tanh(y, x)
		return
	}
	onHost(b, y, func(v, _ float64) float64 { return math.Tanh(v) }, x, x)
}

// TanhGrad is b's TanhGrad ([Tanher]), or else computed on the host.
func TanhGrad(b Backend, dx, dy, y Buffer) {
	if t, ok := b.(Tanher); ok {
		t.TanhGrad(dx, dy, y)
		return
	}
	onHost(b, dx, func(d, y float64) float64 { return d * (1 - y*y) }, dy, y)
}

// GeGLU is b's GeGLU ([GeGLUer]), or else computed on the host.
func GeGLU(b Backend, y, gate, up Buffer) {
	if g, ok := b.(GeGLUer); ok {
		g.GeGLU(y, gate, up)
		return
	}
	onHost(b, y, func(g, u float64) float64 { return gelu(g) * u }, gate, up)
}

// GeGLUGrad is b's GeGLUGrad ([GeGLUer]), or else computed on the host.
func GeGLUGrad(b Backend, dgate, dup, dy, gate, up Buffer) {
	if g, ok := b.(GeGLUer); ok {
		g.GeGLUGrad(dgate, dup, dy, gate, up)
		return
	}
	dact := b.Alloc(dy.Len())
	defer b.Free(dact)
	onHost(b, dact, func(d, u float64) float64 { return d * u }, dy, up) // before dup takes up's place
	onHost(b, dup, func(d, g float64) float64 { return d * gelu(g) }, dy, gate)
	onHost(b, dgate, func(d, g float64) float64 { return d * geluSlope(g) }, dact, gate)
}

func gelu(x float64) float64 { return x * normalCDF(x) }

// geluSlope is the derivative of gelu.
func geluSlope(x float64) float64 {
	return normalCDF(x) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
}

func normalCDF(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }

// onHost writes f of the elements of x and y, which are as long as dst, into dst.
// If the backend has failed, its error sticks, and nothing is written.
func onHost(b Backend, dst Buffer, f func(x, y float64) float64, x, y Buffer) {
	xs, ys := make([]float32, dst.Len()), make([]float32, dst.Len())
	if b.Read(xs, x) != nil || b.Read(ys, y) != nil {
		return
	}
	for i, v := range xs {
		xs[i] = float32(f(float64(v), float64(ys[i])))
	}
	b.Write(dst, xs)
}

// CacheLen is b's CacheLen ([Cacher]), or else that of the layout of [StoreCache].
func CacheLen(b Backend, s CacheShape) int {
	if c, ok := b.(Cacher); ok {
		return c.CacheLen(s)
	}
	if s.Rows < 0 || s.KVHeads < 1 || s.HeadDim < 1 {
		panic(fmt.Sprintf("tensor: CacheLen of %+v", s))
	}
	return s.Rows * s.KVHeads * s.HeadDim
}

// StoreCache is b's StoreCache ([Cacher]), or else copies row by row into caches
// that are matrices [rows×kvHeads·headDim].
func StoreCache(b Backend, kCache, vCache, k, v Buffer, slots []int32, s CacheShape) {
	if c, ok := b.(Cacher); ok {
		c.StoreCache(kCache, vCache, k, v, slots, s)
		return
	}
	cols := s.KVHeads * s.HeadDim
	if size := CacheLen(b, s); kCache.Len() != size || vCache.Len() != size || k.Len() != len(slots)*cols || v.Len() != k.Len() {
		panic(fmt.Sprintf("tensor: StoreCache: k has %d elements, v %d, the caches %d and %d, which does not fit %d slots and %+v",
			k.Len(), v.Len(), kCache.Len(), vCache.Len(), len(slots), s))
	}
	for from := 0; from < len(slots); {
		to := from + 1
		for to < len(slots) && slots[to] == slots[to-1]+1 {
			to++ // neighbours are one copy
		}
		at := int(slots[from]) * cols
		for _, c := range [][2]Buffer{{kCache, k}, {vCache, v}} {
			b.Copy(b.Slice(c[0], at, at+(to-from)*cols), b.Slice(c[1], from*cols, to*cols))
		}
		from = to
	}
}

// AttendCache is b's AttendCache ([Cacher]), or else computed on the host, which
// reads all cache rows between the first and the last that is attended to.
func AttendCache(b Backend, out, q, kCache, vCache Buffer, d *Decode) {
	if c, ok := b.(Cacher); ok {
		c.AttendCache(out, q, kCache, vCache, d)
		return
	}
	attendOnHost(b, out, q, kCache, vCache, d)
}

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
