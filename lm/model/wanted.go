package model

import (
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// The last block needs no more than keys and values of the rows whose hidden
// state nobody asks for, such as all rows of a prompt but its last. So after
// attention it goes on with the other rows only.

// forwardWanted is Forward for the rows p.Wanted of y [len(p.Wanted)×dim].
func (l *block) forwardWanted(p *pass, x tensor.Buffer) tensor.Buffer {
	few := p.few()
	h := p.Arena.Take(few.Rows * l.dim())
	before := p.Arena.Mark()
	z := p.Arena.Half(p.Rows * l.dim())
	l.AttnNorm.Forward(p, z, x, p.Rows)
	l.Attention.attend(p, z)
	width := l.Attention.O.in()
	out := p.Arena.Half(few.Rows * width)
	p.Backend.Gather(out, l.Attention.out, p.Wanted, width)
	p.Backend.Gather(h, x, p.Wanted, l.dim())
	l.Attention.O.Forward(p, h, out, h, few.Rows)
	y := l.residual(few, h, l.MLPNorm, l.MLP.Forward)
	if !p.Keep {
		p.Arena.Release(before)
	}
	return y
}

// backwardWanted is the Backward of forwardWanted: it overwrites d
// [len(p.Wanted)×dim] and returns the gradient [rows×dim] with respect to x.
func (l *block) backwardWanted(p *pass, d tensor.Buffer) tensor.Buffer {
	few := p.few()
	dx := p.Arena.Zeros(p.Rows * l.dim())
	before := p.Arena.Mark()
	l.backwardMLP(few, d)
	p.Backend.ScatterAdd(dx, d, p.Wanted, l.dim())
	width := l.Attention.O.in()
	dout, some := p.Arena.HalfZeros(p.Rows*width), p.Arena.Half(few.Rows*width)
	l.Attention.O.Backward(p, some, d, few.Rows, 0)
	p.Backend.ScatterAdd(dout, some, p.Wanted, width)
	dz := p.Arena.Half(p.Rows * l.dim())
	l.Attention.attendBackward(p, dz, dout)
	l.AttnNorm.Backward(p, dx, dz, p.Rows)
	p.Arena.Release(before)
	return dx
}

// few returns the pass over the wanted rows alone, for layers that treat each
// row on its own.
func (p *pass) few() *pass {
	q := *p
	q.Rows, q.Pos, q.Segments = len(p.Wanted), nil, nil
	return &q
}

// wanted makes the list of rows that are asked for.
type wanted struct {
	list []int32 // ascending, each once
	at   []int32 // each row's index in list
	idx  []int32
}

// of returns pass.Wanted for rows, which are some of n, and the indices in a
// trunk's output at which they then are. Both are valid until the next call.
func (w *wanted) of(rows []int32, n int) (list, at []int32) {
	w.at = slices.Grow(w.at[:0], n)[:n]
	clear(w.at)
	for _, r := range rows {
		w.at[r] = 1
	}
	w.list = w.list[:0]
	for r, asked := range w.at {
		if asked > 0 {
			w.at[r] = int32(len(w.list))
			w.list = append(w.list, int32(r))
		}
	}
	if len(w.list) == n {
		return nil, rows
	}
	w.idx = w.idx[:0]
	for _, r := range rows {
		w.idx = append(w.idx, w.at[r])
	}
	return w.list, w.idx
}
