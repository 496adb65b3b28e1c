package cpu

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// SwiGLU computes y = silu(gate)·up.
func (b *Backend) SwiGLU(y, gate, up tensor.Buffer) {
	shape.SwiGLU(y, gate, up)
	out, g, u := b.data(y), b.data(gate), b.data(up)
	b.sweep(len(out), chunk, expCost, func(_ *scratch, from, to int) {
		b.kern.swiGLU(out[from:to], g[from:to], u[from:to])
	})
}

// SwiGLUGrad computes dgate and dup from dy.
func (b *Backend) SwiGLUGrad(dgate, dup, dy, gate, up tensor.Buffer) {
	shape.SwiGLUGrad(dgate, dup, dy, gate, up)
	dg, du, d, g, u := b.data(dgate), b.data(dup), b.data(dy), b.data(gate), b.data(up)
	b.sweep(len(d), chunk, expCost, func(_ *scratch, from, to int) {
		b.kern.swiGLUGrad(dg[from:to], du[from:to], d[from:to], g[from:to], u[from:to])
	})
}
