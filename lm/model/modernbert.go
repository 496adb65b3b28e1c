package model

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// modernBERT is the body of an encoder with ModernBERT's layers: a normalised
// embedding, blocks and a last norm, with rotary positions and no biases (Warner et
// al., arXiv:2412.13663).
type modernBERT struct {
	Embed     *embedding
	EmbedNorm *layerNorm
	Blocks    []*block
	Norm      *layerNorm

	chain chain[*block]
}

// Forward returns the hidden state [rows×dim] of every token. It keeps the
// pack until Backward.
func (l *modernBERT) Forward(p *pass, pack *Pack) tensor.Buffer {
	n := p.Rows * l.Norm.W.Shape[0]
	words, x, y := p.Arena.Take(n), p.Arena.Take(n), p.Arena.Take(n)
	l.Embed.Forward(p, words, pack.Tokens)
	l.EmbedNorm.Forward(p, x, words, p.Rows)
	l.Norm.Forward(p, y, l.chain.forward(p, l.Blocks, x), p.Rows)
	return y
}

// Backward takes d [rows×dim], the gradient with respect to the hidden state, and
// adds to the parameters' gradients. It returns the gradient with respect to the
// tokens' embeddings.
func (l *modernBERT) Backward(p *pass, d tensor.Buffer) tensor.Buffer {
	dx, dwords := p.Arena.Zeros(d.Len()), p.Arena.Zeros(d.Len())
	l.Norm.Backward(p, dx, d, p.Rows)
	l.chain.backward(p, l.Blocks, dx)
	l.EmbedNorm.Backward(p, dwords, dx, p.Rows)
	l.Embed.Backward(p, dwords)
	return dwords
}

// predictionHead is what ModernBERT's classifiers have between the pooled states and
// the last layer: norm(gelu(dense(x))).
type predictionHead struct {
	Dense *linear
	Norm  *layerNorm

	h tensor.Buffer
}

// Forward returns the head's output [rows×dim] for x of the same shape.
func (l *predictionHead) Forward(p *pass, x tensor.Buffer, rows int) tensor.Buffer {
	l.h = p.Arena.Take(x.Len())
	act, y := p.Arena.Take(x.Len()), p.Arena.Take(x.Len())
	l.Dense.Forward(p, l.h, x, nil, rows)
	tensor.GELU(p.Backend, act, l.h)
	l.Norm.Forward(p, y, act, rows)
	return y
}

// Backward computes dx [rows×dim] = from dy of the same shape.
func (l *predictionHead) Backward(p *pass, dx, dy tensor.Buffer, rows int) {
	dact := p.Arena.Zeros(dy.Len())
	l.Norm.Backward(p, dact, dy, rows)
	tensor.GELUGrad(p.Backend, l.h, dact, l.h) // in the place of its input
	l.Dense.Backward(p, dx, l.h, rows, 0)
}

// newModernBERT builds the body that c describes (defaults filled in), with the
// names of Hugging Face's ModernBertForSequenceClassification.
func newModernBERT(c *EncoderConfig, m *maker) *modernBERT {
	norm := func(name string) *layerNorm {
		return &layerNorm{W: m.vector(name+".weight", c.Dim, 1), Eps: c.NormEps}
	}
	l := &modernBERT{Embed: &embedding{W: m.matrix("model.embeddings.tok_embeddings.weight", c.Vocab, c.Dim, embeddingStd(c.Dim))}}
	l.EmbedNorm = norm("model.embeddings.norm")
	local := c.Config
	local.RopeTheta = c.LocalRopeTheta
	wide, near := c.ropeFrequencies(), local.ropeFrequencies()
	for i := range c.Layers {
		prefix := fmt.Sprintf("model.layers.%d.", i)
		matrix := func(name string, out, in int, std float64) *tensor.Param {
			return m.matrix(prefix+name+".weight", out, in, std)
		}
		b := &block{
			AttnNorm:  noNorm{},
			Attention: &attention{Heads: c.Heads, KVHeads: c.Heads, HeadDim: c.HeadDim, Freq: wide},
			MLP:       &mlp{GELU: true},
		}
		if i > 0 {
			b.AttnNorm = norm(prefix + "attn_norm")
		}
		if i%c.GlobalEvery > 0 {
			b.Attention.Freq, b.Attention.Window = near, c.Window
		}
		qkv := matrix("attn.Wqkv", 3*c.Dim, c.Dim, fanInStd(c.Dim))
		b.Attention.Q = &linear{W: m.rows(qkv, 0, c.Dim)}
		b.Attention.K = &linear{W: m.rows(qkv, c.Dim, 2*c.Dim)}
		b.Attention.V = &linear{W: m.rows(qkv, 2*c.Dim, 3*c.Dim)}
		b.Attention.O = &linear{W: matrix("attn.Wo", c.Dim, c.Dim, residualStd(c.Dim, c.Layers))}
		b.MLPNorm = norm(prefix + "mlp_norm")
		up := matrix("mlp.Wi", 2*c.FF, c.Dim, fanInStd(c.Dim))
		b.MLP.Gate, b.MLP.Up = &linear{W: m.rows(up, 0, c.FF)}, &linear{W: m.rows(up, c.FF, 2*c.FF)}
		b.MLP.Down = &linear{W: matrix("mlp.Wo", c.Dim, c.FF, residualStd(c.FF, c.Layers))}
		l.Blocks = append(l.Blocks, b)
	}
	l.Norm = norm("model.final_norm")
	return l
}

func newPredictionHead(c *EncoderConfig, m *maker) *predictionHead {
	return &predictionHead{
		Dense: &linear{W: m.matrix("head.dense.weight", c.Dim, c.Dim, fanInStd(c.Dim))},
		Norm:  &layerNorm{W: m.vector("head.norm.weight", c.Dim, 1), Eps: c.NormEps},
	}
}
