package model

import "github.com/stepwise-rl/stepwise/lm/tensor"

// layer is a block of a trunk.
type layer interface {
	Forward(p *Pass, x tensor.Buffer) tensor.Buffer
	Backward(p *Pass, d tensor.Buffer)
}

// chain runs blocks one after the other. If the pass recomputes, it keeps their
// inputs only, and lets each run again right before its Backward.
type chain[L layer] struct {
	inputs []tensor.Buffer
}

func (c *chain[L]) forward(p *Pass, blocks []L, x tensor.Buffer) tensor.Buffer {
	c.inputs = c.inputs[:0]
	if !p.Keep || !p.Recompute {
		for _, l := range blocks {
			x = l.Forward(p, x)
		}
		return x
	}
	once := *p
	once.Keep = false
	for _, l := range blocks {
		c.inputs = append(c.inputs, x)
		y := p.Arena.Take(x.Len())
		p.Backend.Copy(y, x)
		x = l.Forward(&once, y) // in place
	}
	return x
}

func (c *chain[L]) backward(p *Pass, blocks []L, d tensor.Buffer) {
	for i := len(blocks) - 1; i >= 0; i-- {
		before := p.Arena.Mark()
		if p.Recompute {
			blocks[i].Forward(p, c.inputs[i])
		}
		blocks[i].Backward(p, d)
		p.Arena.Release(before)
	}
}
