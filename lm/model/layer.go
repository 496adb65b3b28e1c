package model

import "github.com/stepwise-rl/stepwise/lm/tensor"

// pass is what the layers share in one forward pass and its backward pass.
//
// A layer remembers what its Backward needs from its last Forward, in the pass's
// arena. So a layer is used once in a model (parameters may be shared), and the
// arena is reset only between passes.
type pass struct {
	Backend tensor.Backend
	Arena   *arena
	// Rows is the number of rows (tokens), and Pos the position of each.
	Rows int
	Pos  []int32
	// Segments and Causal say which rows attend to which, as in
	// tensor.Attention.
	Segments []tensor.Segment
	Causal   bool
	// Keep is set if a Backward follows. Otherwise memory is used again as soon
	// as possible.
	Keep bool
	// Recompute makes a chain of blocks keep the input of each block only, and
	// compute the rest again in its Backward.
	Recompute bool
	// Wanted are the rows, ascending, that a trunk's output consists of; nil
	// means all. Its last block skips what the other rows do not need.
	Wanted []int32

	products []tensor.Product // scratch
}

// upload returns a buffer with the values; nil for nil.
func (p *pass) upload(v []float32) tensor.Buffer {
	if v == nil {
		return nil
	}
	buf := p.Arena.Take(len(v))
	p.Backend.Write(buf, v)
	return buf
}

// linear is y = x·Wᵀ + bias, plus what an adapter adds.
type linear struct {
	W    *tensor.Param // [out×in]
	Bias *tensor.Param // [out]; nil = none
	LoRA *adapter      // nil = none

	x      tensor.Buffer
	packed tensor.Buffer // W, while the decoder is packed
	format tensor.Format // of packed
}

func (l *linear) out() int { return l.W.Shape[0] }
func (l *linear) in() int  { return l.W.Shape[1] }

// Forward computes y [rows×out] = x·Wᵀ + bias + add from x [rows×in], and adds the
// adapter's part. add is of y's shape; it may be y, and nil is nothing.
func (l *linear) Forward(p *pass, y, x, add tensor.Buffer, rows int) {
	if l.packed != nil {
		l.forwardPacked(p, y, x, add, rows)
		return
	}
	var bias tensor.Buffer
	if l.Bias != nil {
		bias = l.Bias.Value
	}
	tensor.Linear(p.Backend, y, x, l.W.Value, bias, add, rows, l.out(), l.in())
	l.adapt(p, y, x, rows)
}

// adapt adds the adapter's part to Forward's result.
func (l *linear) adapt(p *pass, y, x tensor.Buffer, rows int) {
	if l.LoRA != nil {
		l.LoRA.forward(p, y, x, rows)
	}
	l.x = x
}

// Backward adds to the parameters' gradients and computes
// dx [rows×in] = dy·W + beta·dx from dy [rows×out], and the adapter's part.
func (l *linear) Backward(p *pass, dx, dy tensor.Buffer, rows int, beta float32) {
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

// adapter adds a product of two small matrices to a linear layer's output:
// y += Scale·(x·Aᵀ)·Bᵀ, as if its weight were W + Scale·B·A (Hu et al.,
// arXiv:2106.09685).
type adapter struct {
	A, B  *tensor.Param // [rank×in], [out×rank]
	Scale float32

	h tensor.Buffer // x·Aᵀ
}

func (l *adapter) rank() int { return l.A.Shape[0] }
func (l *adapter) in() int   { return l.A.Shape[1] }
func (l *adapter) out() int  { return l.B.Shape[0] }

// forward computes y [rows×out] += from x [rows×in].
func (l *adapter) forward(p *pass, y, x tensor.Buffer, rows int) {
	l.h = p.Arena.Half(rows * l.rank())
	p.Backend.MatMul(tensor.OpN, tensor.OpT, rows, l.rank(), l.in(), 1, x, l.A.Value, 0, l.h)
	p.Backend.MatMul(tensor.OpN, tensor.OpT, rows, l.out(), l.rank(), l.Scale, l.h, l.B.Value, 1, y)
}

// backward adds to the parameters' gradients and computes dx [rows×in] += from
// dy [rows×out], given forward's x.
func (l *adapter) backward(p *pass, dx, dy, x tensor.Buffer, rows int) {
	before := p.Arena.Mark()
	dh := p.Arena.Half(rows * l.rank())
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

// norm is an rmsNorm, a layerNorm or noNorm.
type norm interface {
	// Forward computes y [rows×cols] from x of the same shape.
	Forward(p *pass, y, x tensor.Buffer, rows int)
	// Backward adds to the parameters' gradients and computes dx += from dy.
	Backward(p *pass, dx, dy tensor.Buffer, rows int)
}

// noNorm is y = x.
type noNorm struct{}

func (noNorm) Forward(p *pass, y, x tensor.Buffer, _ int) { p.Backend.Copy(y, x) }

func (noNorm) Backward(p *pass, dx, dy tensor.Buffer, _ int) { p.Backend.Axpy(dx, 1, dy) }

// rmsNorm is y = x·w/rms(x), row by row (Zhang & Sennrich, arXiv:1910.07467).
type rmsNorm struct {
	W   *tensor.Param // [cols]
	Eps float64

	x, inv tensor.Buffer
}

// Forward computes y [rows×cols] from x of the same shape.
func (l *rmsNorm) Forward(p *pass, y, x tensor.Buffer, rows int) {
	l.x, l.inv = x, p.Arena.Take(rows)
	p.Backend.RMSNorm(y, l.inv, x, l.W.Value, rows, l.W.Shape[0], float32(l.Eps))
}

// Backward adds to the parameter's gradient and computes dx += from dy.
func (l *rmsNorm) Backward(p *pass, dx, dy tensor.Buffer, rows int) {
	dw := l.W.Grad
	if dw == nil {
		dw = p.Arena.Zeros(l.W.Shape[0])
	}
	p.Backend.RMSNormGrad(dx, dw, dy, l.x, l.W.Value, l.inv, rows, l.W.Shape[0])
}

// layerNorm is y = (x − mean)/√(variance + eps)·w + bias, row by row (Ba,
// Kiros & Hinton, arXiv:1607.06450).
type layerNorm struct {
	W    *tensor.Param // [cols]
	Bias *tensor.Param // [cols]; nil = none
	Eps  float64

	x, mean, inv tensor.Buffer
}

// Forward computes y [rows×cols] from x of the same shape.
func (l *layerNorm) Forward(p *pass, y, x tensor.Buffer, rows int) {
	l.x, l.mean, l.inv = x, p.Arena.Take(rows), p.Arena.Take(rows)
	cols := l.W.Shape[0]
	var bias tensor.Buffer
	if l.Bias != nil {
		bias = l.Bias.Value
	} else {
		bias = p.Arena.Zeros(cols)
	}
	tensor.LayerNorm(p.Backend, y, l.mean, l.inv, x, l.W.Value, bias, rows, cols, float32(l.Eps))
}

// Backward adds to the parameters' gradients and computes dx += from dy.
func (l *layerNorm) Backward(p *pass, dx, dy tensor.Buffer, rows int) {
	cols := l.W.Shape[0]
	dw := l.W.Grad
	if dw == nil {
		dw = p.Arena.Zeros(cols)
	}
	var dbias tensor.Buffer
	if l.Bias != nil {
		dbias = l.Bias.Grad
	}
	if dbias == nil {
		dbias = p.Arena.Zeros(cols)
	}
	tensor.LayerNormGrad(p.Backend, dx, dw, dbias, dy, l.x, l.W.Value, l.mean, l.inv, rows, cols)
}

// embedding looks up the rows of a table.
type embedding struct {
	W *tensor.Param // [vocab×dim]

	ids []int32
}

// Forward computes y [len(ids)×dim]. It keeps ids until Backward.
func (l *embedding) Forward(p *pass, y tensor.Buffer, ids []int32) {
	p.Backend.Gather(y, l.W.Value, ids, l.W.Shape[1])
	l.ids = ids
}

// Backward adds dy [len(ids)×dim] to the table's gradient.
func (l *embedding) Backward(p *pass, dy tensor.Buffer) {
	if l.W.Grad != nil {
		p.Backend.ScatterAdd(l.W.Grad, dy, l.ids, l.W.Shape[1])
	}
}
