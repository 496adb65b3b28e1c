package model

import "github.com/stepwise-rl/stepwise/lm/tensor"

// Adapter adds a product of two small matrices to a linear layer's output:
// y += Scale·(x·Aᵀ)·Bᵀ, which is a weight of W + Scale·B·A (Hu et al.,
// arXiv:2106.09685).
type Adapter struct {
	A, B  *tensor.Param // [rank×in], [out×rank]
	Scale float32

	h tensor.Buffer // x·Aᵀ
}

func (l *Adapter) rank() int { return l.A.Shape[0] }
func (l *Adapter) in() int   { return l.A.Shape[1] }
func (l *Adapter) out() int  { return l.B.Shape[0] }

// forward computes y [rows×out] += from x [rows×in].
func (l *Adapter) forward(p *Pass, y, x tensor.Buffer, rows int) {
	l.h = p.Arena.Take(rows * l.rank())
	p.Backend.MatMul(tensor.OpN, tensor.OpT, rows, l.rank(), l.in(), 1, x, l.A.Value, 0, l.h)
	p.Backend.MatMul(tensor.OpN, tensor.OpT, rows, l.out(), l.rank(), l.Scale, l.h, l.B.Value, 1, y)
}

// backward adds to the parameters' gradients and computes dx [rows×in] += from
// dy [rows×out], given forward's x.
func (l *Adapter) backward(p *Pass, dx, dy, x tensor.Buffer, rows int) {
	before := p.Arena.Mark()
	dh := p.Arena.Take(rows * l.rank())
	p.Backend.MatMul(tensor.OpN, tensor.OpN, rows, l.rank(), l.out(), l.Scale, dy, l.B.Value, 0, dh)
	if l.B.Grad != nil {
		p.Backend.MatMul(tensor.OpT, tensor.OpN, l.out(), l.rank(), rows, l.Scale, dy, l.h, 1, l.B.Grad)
	}
	if l.A.Grad != nil {
		p.Backend.MatMul(tensor.OpT, tensor.OpN, l.rank(), l.in(), rows, 1, dh, x, 1, l.A.Grad)
	}
	p.Backend.MatMul(tensor.OpN, tensor.OpN, rows, l.in(), l.rank(), 1, dh, l.A.Value, 1, dx)
	p.Arena.Release(before)
}
