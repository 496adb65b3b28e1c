package model

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// trunk is what decoder and encoder have in common: token embedding, blocks
// and a final norm.
type trunk struct {
	Embed  *embedding
	Blocks []*block
	// Norm is left to the trunk's user, who may need it on a few rows only.
	Norm *rmsNorm

	chain chain[*block]
}

// Forward returns the hidden states before the final norm: of all tokens
// [rows×dim], or of p.Wanted [len(p.Wanted)×dim]. It keeps tokens until
// Backward.
func (t *trunk) Forward(p *pass, tokens []int32) tensor.Buffer {
	x := p.Arena.Take(p.Rows * t.Embed.W.Shape[1])
	t.Embed.Forward(p, x, tokens)
	if p.Wanted == nil {
		return t.chain.forward(p, t.Blocks, x)
	}
	last := len(t.Blocks) - 1
	return t.Blocks[last].forwardWanted(p, t.chain.forward(p, t.Blocks[:last], x))
}

// Backward takes d, the gradient with respect to Forward's result, adds to the
// parameters' gradients and overwrites d. It returns the gradient with respect to the
// tokens' embeddings [rows×dim].
func (t *trunk) Backward(p *pass, d tensor.Buffer) tensor.Buffer {
	blocks := t.Blocks
	if p.Wanted != nil {
		last := len(blocks) - 1
		d, blocks = blocks[last].backwardWanted(p, d), blocks[:last]
	}
	t.chain.backward(p, blocks, d)
	t.Embed.Backward(p, d)
	return d
}

// chained is a block of a trunk or of a bert.
type chained interface {
	Forward(p *pass, x tensor.Buffer) tensor.Buffer
	Backward(p *pass, d tensor.Buffer)
}

// chain runs blocks one after the other. If the pass recomputes, it keeps their
// inputs only, and runs each block again right before its Backward.
type chain[L chained] struct {
	inputs []tensor.Buffer
}

func (c *chain[L]) forward(p *pass, blocks []L, x tensor.Buffer) tensor.Buffer {
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

func (c *chain[L]) backward(p *pass, blocks []L, d tensor.Buffer) {
	for i := len(blocks) - 1; i >= 0; i-- {
		before := p.Arena.Mark()
		if p.Recompute {
			blocks[i].Forward(p, c.inputs[i])
		}
		blocks[i].Backward(p, d)
		p.Arena.Release(before)
	}
}

// normed is the body of an encoder with the decoder's blocks.
type normed struct{ *trunk }

func (t normed) Forward(p *pass, pack *Pack) tensor.Buffer {
	x := t.trunk.Forward(p, pack.Tokens)
	y := p.Arena.Take(x.Len())
	t.Norm.Forward(p, y, x, p.Rows)
	return y
}

func (t normed) Backward(p *pass, d tensor.Buffer) tensor.Buffer {
	dx := p.Arena.Zeros(d.Len())
	t.Norm.Backward(p, dx, d, p.Rows)
	return t.trunk.Backward(p, dx)
}

// newTrunk builds the trunk that c describes (defaults filled in).
func newTrunk(c *Config, m *maker) *trunk {
	t := &trunk{Embed: &embedding{W: m.matrix("model.embed_tokens.weight", c.Vocab, c.Dim, embeddingStd(c.Dim))}}
	freq := c.ropeFrequencies()
	for i := range c.Layers {
		t.Blocks = append(t.Blocks, newBlock(c, m, fmt.Sprintf("model.layers.%d.", i), freq))
	}
	t.Norm = m.norm("model.norm.weight", c.Dim, c.NormEps)
	return t
}

func newBlock(c *Config, m *maker, prefix string, freq []float32) *block {
	linear := func(name string, out, in int, std float64, bias bool) *linear {
		l := &linear{W: m.matrix(prefix+name+".weight", out, in, std)}
		if bias {
			l.Bias = m.vector(prefix+name+".bias", out, 0)
		}
		return l
	}
	norm := func(name string, n int) *rmsNorm { return m.norm(prefix+name+".weight", n, c.NormEps) }

	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	a := &attention{Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Freq: freq}
	a.Q = linear("self_attn.q_proj", q, c.Dim, fanInStd(c.Dim), c.QKVBias)
	a.K = linear("self_attn.k_proj", kv, c.Dim, fanInStd(c.Dim), c.QKVBias)
	a.V = linear("self_attn.v_proj", kv, c.Dim, fanInStd(c.Dim), c.QKVBias)
	a.O = linear("self_attn.o_proj", c.Dim, q, residualStd(q, c.Layers), false)
	if c.QKNorm {
		a.QNorm = norm("self_attn.q_norm", c.HeadDim)
		a.KNorm = norm("self_attn.k_norm", c.HeadDim)
	}
	f := &mlp{}
	f.Gate = linear("mlp.gate_proj", c.FF, c.Dim, fanInStd(c.Dim), false)
	f.Up = linear("mlp.up_proj", c.FF, c.Dim, fanInStd(c.Dim), false)
	f.Down = linear("mlp.down_proj", c.Dim, c.FF, residualStd(c.FF, c.Layers), false)
	return &block{
		AttnNorm:  norm("input_layernorm", c.Dim),
		Attention: a,
		MLPNorm:   norm("post_attention_layernorm", c.Dim),
		MLP:       f,
	}
}
