package model

import "github.com/stepwise-rl/stepwise/lm/tensor"

// Pass is what the layers share in one forward pass and its backward pass.
//
// A layer remembers, in the pass's arena, what its Backward needs of its last
// Forward; so a layer stands in a model once (parameters may be shared), and
// the arena is reset only between passes.
type Pass struct {
	Backend tensor.Backend
	Arena   *Arena
	// Rows is the number of rows (tokens), and Pos the position of each.
	Rows int
	Pos  []int32
	// Segments and Causal say which rows attend to which, as in
	// tensor.Attention.
	Segments []tensor.Segment
	Causal   bool
	// Keep says that a Backward follows. Without it, memory is used again as
	// soon as possible.
	Keep bool
	// Recompute lets a trunk keep the input of each block only, and compute
	// the rest again in its Backward.
	Recompute bool
	// Wanted are the rows, ascending, that a trunk's output consists of; nil
	// means all. Its last block spares the others what they do not need.
	Wanted []int32

	products []tensor.Product // scratch
}

// Linear is y = x·Wᵀ + bias, plus what an adapter adds.
type Linear struct {
	W    *tensor.Param // [out×in]
	Bias *tensor.Param // [out]; nil = none
	LoRA *Adapter      // nil = none

	x      tensor.Buffer
	packed tensor.Buffer // W, while the decoder is packed
	format tensor.Format // of packed
}

func (l *Linear) out() int { return l.W.Shape[0] }
func (l *Linear) in() int  { return l.W.Shape[1] }

// Forward computes y [rows×out] = x·Wᵀ + bias + beta·y from x [rows×in], and
// adds the adapter's part. With beta 0, y is not read.
func (l *Linear) Forward(p *Pass, y, x tensor.Buffer, rows int, beta float32) {
	l.multiply(p, y, x, rows, beta)
	l.finish(p, y, x, rows)
}

// finish adds bias and the adapter's part to a product.
func (l *Linear) finish(p *Pass, y, x tensor.Buffer, rows int) {
	if l.Bias != nil {
		p.Backend.AddBias(y, l.Bias.Value, rows, l.out())
	}
	if l.LoRA != nil {
		l.LoRA.forward(p, y, x, rows)
	}
	l.x = x
}

// Backward adds to the parameters' gradients and computes
// dx [rows×in] = dy·W + beta·dx from dy [rows×out], and the adapter's part.
func (l *Linear) Backward(p *Pass, dx, dy tensor.Buffer, rows int, beta float32) {
	if l.W.Grad != nil {
		p.Backend.MatMul(tensor.OpT, tensor.OpN, l.out(), l.in(), rows, 1, dy, l.x, 1, l.W.Grad)
	}
	if l.Bias != nil && l.Bias.Grad != nil {
		p.Backend.SumRows(l.Bias.Grad, dy, rows, l.out())
	}
	p.Backend.MatMul(tensor.OpN, tensor.OpN, rows, l.in(), l.out(), 1, dy, l.W.Value, beta, dx)
	if l.LoRA != nil {
		l.LoRA.backward(p, dx, dy, l.x, rows)
	}
}

// RMSNorm is y = x·w/rms(x), row by row (Zhang & Sennrich, arXiv:1910.07467).
type RMSNorm struct {
	W   *tensor.Param // [cols]
	Eps float64

	x, inv tensor.Buffer
}

// Forward computes y [rows×cols] from x of the same shape.
func (l *RMSNorm) Forward(p *Pass, y, x tensor.Buffer, rows int) {
	l.x, l.inv = x, p.Arena.Take(rows)
	p.Backend.RMSNorm(y, l.inv, x, l.W.Value, rows, l.W.Shape[0], float32(l.Eps))
}

// Backward adds to the parameter's gradient and computes dx += from dy.
func (l *RMSNorm) Backward(p *Pass, dx, dy tensor.Buffer, rows int) {
	dw := l.W.Grad
	if dw == nil {
		dw = p.Arena.Zeros(l.W.Shape[0])
	}
	p.Backend.RMSNormGrad(dx, dw, dy, l.x, l.W.Value, l.inv, rows, l.W.Shape[0])
}

// LayerNorm is y = (x − mean)/√(variance + eps)·w + bias, row by row (Ba,
// Kiros & Hinton, arXiv:1607.06450).
type LayerNorm struct {
	W, Bias *tensor.Param // [cols]
	Eps     float64

	x, mean, inv tensor.Buffer
}

// Forward computes y [rows×cols] from x of the same shape.
func (l *LayerNorm) Forward(p *Pass, y, x tensor.Buffer, rows int) {
	l.x, l.mean, l.inv = x, p.Arena.Take(rows), p.Arena.Take(rows)
	p.Backend.LayerNorm(y, l.mean, l.inv, x, l.W.Value, l.Bias.Value, rows, l.W.Shape[0], float32(l.Eps))
}

// Backward adds to the parameters' gradients and computes dx += from dy.
func (l *LayerNorm) Backward(p *Pass, dx, dy tensor.Buffer, rows int) {
	cols := l.W.Shape[0]
	dw, dbias := l.W.Grad, l.Bias.Grad
	if dw == nil {
		dw = p.Arena.Zeros(cols)
	}
	if dbias == nil {
		dbias = p.Arena.Zeros(cols)
	}
	p.Backend.LayerNormGrad(dx, dw, dbias, dy, l.x, l.W.Value, l.mean, l.inv, rows, cols)
}

// Embedding looks up the rows of a table.
type Embedding struct {
	W *tensor.Param // [vocab×dim]

	ids []int32
}

// Forward computes y [len(ids)×dim]. It keeps ids until Backward.
func (l *Embedding) Forward(p *Pass, y tensor.Buffer, ids []int32) {
	p.Backend.Gather(y, l.W.Value, ids, l.W.Shape[1])
	l.ids = ids
}

// Backward adds dy [len(ids)×dim] to the table's gradient.
func (l *Embedding) Backward(p *Pass, dy tensor.Buffer) {
	if l.W.Grad != nil {
		p.Backend.ScatterAdd(l.W.Grad, dy, l.ids, l.W.Shape[1])
	}
}
