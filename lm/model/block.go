package model

import "github.com/stepwise-rl/stepwise/lm/tensor"

// mlp is the SwiGLU feed-forward layer: down(silu(gate(x))·up(x)), or GeGLU with
// gelu in silu's place (Shazeer, arXiv:2002.05202).
type mlp struct {
	Gate, Up, Down *linear
	GELU           bool

	gate, up tensor.Buffer
}

// Forward computes y [rows×dim] = mlp(x) + add from x and add [rows×dim]. add may be y.
func (l *mlp) Forward(p *pass, y, x, add tensor.Buffer) {
	n := p.Rows * l.Gate.out()
	l.gate, l.up = p.Arena.Half(n), p.Arena.Half(n)
	forwardAll(p, x, p.Rows, output{l.Gate, l.gate}, output{l.Up, l.up})
	act := p.Arena.Half(n)
	if l.GELU {
		tensor.GeGLU(p.Backend, act, l.gate, l.up)
	} else {
		p.Backend.SwiGLU(act, l.gate, l.up)
	}
	l.Down.Forward(p, y, act, add, p.Rows)
}

// Backward computes dx [rows×dim] = the gradient with respect to Forward's x,
// from dy [rows×dim].
func (l *mlp) Backward(p *pass, dx, dy tensor.Buffer) {
	dact := p.Arena.Half(p.Rows * l.Gate.out())
	l.Down.Backward(p, dact, dy, p.Rows, 0)
	// The gradients take the place of the values they are computed from.
	if l.GELU {
		tensor.GeGLUGrad(p.Backend, l.gate, l.up, dact, l.gate, l.up)
	} else {
		p.Backend.SwiGLUGrad(l.gate, l.up, dact, l.gate, l.up)
	}
	l.Gate.Backward(p, dx, l.gate, p.Rows, 0)
	l.Up.Backward(p, dx, l.up, p.Rows, 1)
}

// block is one layer of a transformer: h = x + attention(norm(x)), then
// y = h + mlp(norm(h)).
type block struct {
	AttnNorm  norm
	Attention *attention
	MLPNorm   norm
	MLP       *mlp
}

func (l *block) dim() int { return l.Attention.O.out() }

// Forward returns y [rows×dim] from x [rows×dim]. If the pass keeps nothing
// for Backward, y is x's buffer.
func (l *block) Forward(p *pass, x tensor.Buffer) tensor.Buffer {
	return l.forward(p, x, l.Attention.Forward)
}

// Append is Forward with a cache, as in [attention.Append]. y is x's buffer.
func (l *block) Append(p *pass, x tensor.Buffer, c *Cache, layer int, s *CacheBatch) tensor.Buffer {
	return l.forward(p, x, func(p *pass, y, x, add tensor.Buffer) {
		l.Attention.Append(p, y, x, add, c, layer, s)
	})
}

func (l *block) forward(p *pass, x tensor.Buffer, attend func(p *pass, y, x, add tensor.Buffer)) tensor.Buffer {
	before := p.Arena.Mark()
	h := l.residual(p, x, l.AttnNorm, attend)
	y := l.residual(p, h, l.MLPNorm, l.MLP.Forward)
	if !p.Keep {
		p.Arena.Release(before)
	}
	return y
}

// residual returns x + f(norm(x)).
func (l *block) residual(p *pass, x tensor.Buffer, norm norm, f func(p *pass, y, x, add tensor.Buffer)) tensor.Buffer {
	z := p.Arena.Half(p.Rows * l.dim())
	norm.Forward(p, z, x, p.Rows)
	y := x
	if p.Keep {
		y = p.Arena.Take(p.Rows * l.dim())
	}
	f(p, y, z, x)
	return y
}

// Backward turns d [rows×dim], the gradient with respect to y, into the
// gradient with respect to x, in place.
func (l *block) Backward(p *pass, d tensor.Buffer) {
	before := p.Arena.Mark()
	l.backwardMLP(p, d)
	dz := p.Arena.Half(p.Rows * l.dim())
	l.Attention.Backward(p, dz, d)
	l.AttnNorm.Backward(p, d, dz, p.Rows)
	p.Arena.Release(before)
}

// backwardMLP is the part of Backward that ends at the residual after attention.
func (l *block) backwardMLP(p *pass, d tensor.Buffer) {
	before := p.Arena.Mark()
	dz := p.Arena.Half(p.Rows * l.dim())
	l.MLP.Backward(p, dz, d)
	l.MLPNorm.Backward(p, d, dz, p.Rows)
	p.Arena.Release(before)
}
