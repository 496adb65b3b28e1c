package model

import (
	"math"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// attention is grouped-query attention, usually with rotary positions:
// projections to q, k and v, an optional RMSNorm of every head of q and k,
// attention, and the output projection (Ainslie et al., arXiv:2305.13245).
type attention struct {
	Q, K, V, O *linear
	// QNorm and KNorm normalise each head; nil = none.
	QNorm, KNorm *rmsNorm
	// Heads is a multiple of KVHeads.
	Heads, KVHeads, HeadDim int
	// Freq are the rotary frequencies [HeadDim/2]; nil = q and k are not
	// rotated.
	Freq []float32
	// Window is tensor.Attention's; not with a cache.
	Window int

	a                    tensor.Attention
	q, k, v, out, logSum tensor.Buffer
}

// Forward computes y [rows×dim] = attention of x [rows×dim] + add of the same shape,
// which may be y.
func (l *attention) Forward(p *pass, y, x, add tensor.Buffer) {
	l.attend(p, x)
	l.O.Forward(p, y, l.out, add, p.Rows)
}

// attend computes out, which is everything up to the output projection.
func (l *attention) attend(p *pass, x tensor.Buffer) {
	l.project(p, x)
	l.out = p.Arena.Half(p.Rows * l.Heads * l.HeadDim)
	l.logSum = p.Arena.Take(p.Rows * l.Heads)
	l.a = tensor.Attention{
		Segments: p.Segments,
		Heads:    l.Heads,
		KVHeads:  l.KVHeads,
		HeadDim:  l.HeadDim,
		Causal:   p.Causal,
		Window:   l.Window,
		Scale:    l.scale(),
	}
	p.Backend.Attend(l.out, l.logSum, l.q, l.k, l.v, &l.a)
}

// Append is Forward with a cache: it stores the keys and values of the batch's
// tokens for a layer, and each token attends to the cache rows in its ranges.
// No Backward can follow.
func (l *attention) Append(p *pass, y, x, add tensor.Buffer, c *Cache, layer int, s *CacheBatch) {
	l.project(p, x)
	tensor.StoreCache(p.Backend, c.k[layer], c.v[layer], l.k, l.v, s.Slots, c.decode.Cache)
	out := p.Arena.Half(p.Rows * l.Heads * l.HeadDim)
	c.decode.Ranges, c.decode.Heads, c.decode.Scale = s.Ranges, l.Heads, l.scale()
	tensor.AttendCache(p.Backend, out, l.q, c.k[layer], c.v[layer], &c.decode)
	c.decode.Ranges = nil
	l.O.Forward(p, y, out, add, p.Rows)
}

func (l *attention) scale() float32 { return float32(1 / math.Sqrt(float64(l.HeadDim))) }

// project computes q, k and v from x: projected, normalised and rotated.
func (l *attention) project(p *pass, x tensor.Buffer) {
	nq, nk := p.Rows*l.Heads*l.HeadDim, p.Rows*l.KVHeads*l.HeadDim
	l.q, l.k, l.v = p.Arena.Half(nq), p.Arena.Half(nk), p.Arena.Half(nk)
	forwardAll(p, x, p.Rows, output{l.Q, l.q}, output{l.K, l.k}, output{l.V, l.v})
	l.q, l.k = l.normalize(p, l.q, l.QNorm), l.normalize(p, l.k, l.KNorm)
	l.rotate(p, l.q, l.k, false)
}

// rotate rotates queries and keys by their positions, or back if inverse.
func (l *attention) rotate(p *pass, q, k tensor.Buffer, inverse bool) {
	if l.Freq == nil {
		return
	}
	p.Backend.RoPE(q, p.Pos, l.Freq, l.Heads, l.HeadDim, inverse)
	p.Backend.RoPE(k, p.Pos, l.Freq, l.KVHeads, l.HeadDim, inverse)
}

// normalize returns y with each of its heads normalised, if there is a norm.
func (l *attention) normalize(p *pass, y tensor.Buffer, norm *rmsNorm) tensor.Buffer {
	if norm == nil {
		return y
	}
	z := p.Arena.Half(y.Len())
	norm.Forward(p, z, y, y.Len()/l.HeadDim)
	return z
}

// Backward computes dx [rows×dim] = the gradient with respect to Forward's x,
// from dy [rows×dim].
func (l *attention) Backward(p *pass, dx, dy tensor.Buffer) {
	dout := p.Arena.Half(l.out.Len())
	l.O.Backward(p, dout, dy, p.Rows, 0)
	l.attendBackward(p, dx, dout)
}

// attendBackward is the backward pass of attend.
func (l *attention) attendBackward(p *pass, dx, dout tensor.Buffer) {
	nq, nk := p.Rows*l.Heads*l.HeadDim, p.Rows*l.KVHeads*l.HeadDim
	dq, dk, dv := p.Arena.HalfZeros(nq), p.Arena.HalfZeros(nk), p.Arena.HalfZeros(nk)
	p.Backend.AttendGrad(dq, dk, dv, dout, l.out, l.logSum, l.q, l.k, l.v, &l.a)
	l.rotate(p, dq, dk, true)
	l.headBackward(p, dx, dq, l.Q, l.QNorm, l.Heads, 0)
	l.headBackward(p, dx, dk, l.K, l.KNorm, l.KVHeads, 1)
	l.headBackward(p, dx, dv, l.V, nil, l.KVHeads, 1)
}

// headBackward is the backward pass of one projection and its norm.
func (l *attention) headBackward(p *pass, dx, dy tensor.Buffer, proj *linear, norm *rmsNorm, heads int, beta float32) {
	if norm != nil {
		dz := dy
		dy = p.Arena.HalfZeros(p.Rows * heads * l.HeadDim)
		norm.Backward(p, dy, dz, p.Rows*heads)
	}
	proj.Backward(p, dx, dy, p.Rows, beta)
}
