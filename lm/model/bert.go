package model

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// bert is the body of an encoder with BERT's layers: the sum of a token's,
// its position's and its type's embedding, normalised, and blocks (Devlin et
// al., arXiv:1810.04805).
type bert struct {
	Word, Position, Type *embedding
	First                int32 // the row of Position where sequences begin
	Norm                 *layerNorm
	Blocks               []*postNormBlock

	types []int32 // zeros, for packs without types
	rows  []int32 // of Position
	chain chain[*postNormBlock]
}

// Forward returns the hidden state [rows×dim] of every token. It keeps the
// pack until Backward.
func (l *bert) Forward(p *pass, pack *Pack) tensor.Buffer {
	types := pack.Types
	if len(types) == 0 {
		for len(l.types) < p.Rows {
			l.types = append(l.types, 0)
		}
		types = l.types[:p.Rows]
	}
	n := p.Rows * l.Norm.W.Shape[0]
	sum, part, x := p.Arena.Take(n), p.Arena.Take(n), p.Arena.Take(n)
	l.Word.Forward(p, sum, pack.Tokens)
	l.rows = l.rows[:0]
	for _, pos := range p.Pos {
		l.rows = append(l.rows, l.First+pos)
	}
	l.Position.Forward(p, part, l.rows)
	p.Backend.Axpy(sum, 1, part)
	l.Type.Forward(p, part, types)
	p.Backend.Axpy(sum, 1, part)
	l.Norm.Forward(p, x, sum, p.Rows)
	return l.chain.forward(p, l.Blocks, x)
}

// Backward takes d [rows×dim], the gradient with respect to the hidden state,
// adds to the parameters' gradients and overwrites d. It returns the gradient with
// respect to the sum of the embeddings, which is that with respect to each of them.
func (l *bert) Backward(p *pass, d tensor.Buffer) tensor.Buffer {
	l.chain.backward(p, l.Blocks, d)
	sum := p.Arena.Zeros(d.Len())
	l.Norm.Backward(p, sum, d, p.Rows)
	l.Word.Backward(p, sum)
	l.Position.Backward(p, sum)
	l.Type.Backward(p, sum)
	return sum
}

// ffn is the feed-forward layer down(gelu(up(x))).
type ffn struct {
	Up, Down *linear

	up tensor.Buffer
}

// Forward computes y [rows×dim] = ffn(x) + add from x and add [rows×dim].
func (l *ffn) Forward(p *pass, y, x, add tensor.Buffer) {
	n := p.Rows * l.Up.out()
	l.up = p.Arena.Half(n)
	l.Up.Forward(p, l.up, x, nil, p.Rows)
	act := p.Arena.Half(n)
	tensor.GELU(p.Backend, act, l.up)
	l.Down.Forward(p, y, act, add, p.Rows)
}

// Backward computes dx [rows×dim] = the gradient with respect to Forward's x,
// from dy [rows×dim].
func (l *ffn) Backward(p *pass, dx, dy tensor.Buffer) {
	dact := p.Arena.Half(p.Rows * l.Up.out())
	l.Down.Backward(p, dact, dy, p.Rows, 0)
	tensor.GELUGrad(p.Backend, l.up, dact, l.up) // in the place of its input
	l.Up.Backward(p, dx, l.up, p.Rows, 0)
}

// postNormBlock is one layer of BERT: h = norm(x + attention(x)), then
// y = norm(h + ffn(h)).
type postNormBlock struct {
	Attention *attention
	AttnNorm  *layerNorm
	FFN       *ffn
	FFNNorm   *layerNorm
}

// Forward returns y [rows×dim] from x [rows×dim]. If the pass keeps nothing
// for Backward, y is x's buffer.
func (l *postNormBlock) Forward(p *pass, x tensor.Buffer) tensor.Buffer {
	before := p.Arena.Mark()
	h := l.add(p, x, l.AttnNorm, l.Attention.Forward)
	y := l.add(p, h, l.FFNNorm, l.FFN.Forward)
	if !p.Keep {
		p.Arena.Release(before)
	}
	return y
}

// add returns norm(x + f(x)).
func (l *postNormBlock) add(p *pass, x tensor.Buffer, norm *layerNorm, f func(p *pass, y, x, add tensor.Buffer)) tensor.Buffer {
	sum := p.Arena.Take(x.Len())
	f(p, sum, x, x)
	y := x
	if p.Keep {
		y = p.Arena.Take(x.Len())
	}
	norm.Forward(p, y, sum, p.Rows)
	return y
}

// Backward turns d [rows×dim], the gradient with respect to y, into the
// gradient with respect to x, in place.
func (l *postNormBlock) Backward(p *pass, d tensor.Buffer) {
	l.addBackward(p, d, l.FFNNorm, l.FFN.Backward)
	l.addBackward(p, d, l.AttnNorm, l.Attention.Backward)
}

// addBackward is the backward pass of add.
func (l *postNormBlock) addBackward(p *pass, d tensor.Buffer, norm *layerNorm, f func(p *pass, dx, dy tensor.Buffer)) {
	before := p.Arena.Mark()
	sum := p.Arena.Zeros(d.Len())
	norm.Backward(p, sum, d, p.Rows)
	f(p, d, sum)
	p.Backend.Axpy(d, 1, sum)
	p.Arena.Release(before)
}

// denseHead is what BERT's and RoBERTa's classifiers have between the first token's
// state and the last layer: tanh(dense(x)). BERT calls it the pooler.
type denseHead struct {
	Dense *linear

	y tensor.Buffer
}

// Forward returns the head's output [rows×dim] for x of the same shape.
func (l *denseHead) Forward(p *pass, x tensor.Buffer, rows int) tensor.Buffer {
	l.y = p.Arena.Take(x.Len())
	l.Dense.Forward(p, l.y, x, nil, rows)
	tensor.Tanh(p.Backend, l.y, l.y)
	return l.y
}

// Backward computes dx [rows×dim] = from dy of the same shape, which it overwrites.
func (l *denseHead) Backward(p *pass, dx, dy tensor.Buffer, rows int) {
	tensor.TanhGrad(p.Backend, dy, dy, l.y)
	l.Dense.Backward(p, dx, dy, rows, 0)
}

// newDenseHead names the head and the classifier after it as transformers does.
func newDenseHead(c *EncoderConfig, m *maker) (h *denseHead, classifier string) {
	f := bertFamilies[c.Style]
	return &denseHead{Dense: &linear{
		W:    m.matrix(f.dense+".weight", c.Dim, c.Dim, fanInStd(c.Dim)),
		Bias: m.vector(f.dense+".bias", c.Dim, 0),
	}}, f.last
}

// bertPrefix begins the names of the body's tensors in a classifier of transformers.
func (c *EncoderConfig) bertPrefix() string {
	if !c.DenseHead {
		return ""
	}
	return bertFamilies[c.Style].body
}

// newBERT builds the body that c describes (defaults filled in), with the
// names of Hugging Face's BertModel, or with DenseHead those of the whole classifier.
func newBERT(c *EncoderConfig, m *maker) *bert {
	body := c.bertPrefix()
	norm := func(name string) *layerNorm {
		name = body + name
		return &layerNorm{W: m.vector(name+".weight", c.Dim, 1), Bias: m.vector(name+".bias", c.Dim, 0), Eps: c.NormEps}
	}
	embedding := func(name string, rows int) *embedding {
		return &embedding{W: m.matrix(body+"embeddings."+name+"_embeddings.weight", rows, c.Dim, embeddingStd(c.Dim))}
	}
	l := &bert{First: int32(c.FirstPosition)}
	l.Word, l.Position, l.Type = embedding("word", c.Vocab), embedding("position", c.FirstPosition+c.MaxSeq), embedding("token_type", c.TokenTypes)
	l.Norm = norm("embeddings.LayerNorm")
	for i := range c.Layers {
		prefix := fmt.Sprintf("encoder.layer.%d.", i)
		linear := func(name string, out, in int, std float64) *linear {
			name = body + prefix + name
			return &linear{W: m.matrix(name+".weight", out, in, std), Bias: m.vector(name+".bias", out, 0)}
		}
		b := &postNormBlock{Attention: &attention{Heads: c.Heads, KVHeads: c.Heads, HeadDim: c.HeadDim}, FFN: &ffn{}}
		b.Attention.Q = linear("attention.self.query", c.Dim, c.Dim, fanInStd(c.Dim))
		b.Attention.K = linear("attention.self.key", c.Dim, c.Dim, fanInStd(c.Dim))
		b.Attention.V = linear("attention.self.value", c.Dim, c.Dim, fanInStd(c.Dim))
		b.Attention.O = linear("attention.output.dense", c.Dim, c.Dim, fanInStd(c.Dim))
		b.AttnNorm = norm(prefix + "attention.output.LayerNorm")
		b.FFN.Up = linear("intermediate.dense", c.FF, c.Dim, fanInStd(c.Dim))
		b.FFN.Down = linear("output.dense", c.Dim, c.FF, fanInStd(c.FF))
		b.FFNNorm = norm(prefix + "output.LayerNorm")
		l.Blocks = append(l.Blocks, b)
	}
	return l
}
