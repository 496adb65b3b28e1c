package model

import (
	"fmt"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// body turns the tokens of a pack into hidden states. Each token sees its whole
// sequence.
type body interface {
	// Forward returns the hidden state [rows×dim] of every token, after the
	// last norm. It keeps the pack until Backward.
	Forward(p *pass, pack *Pack) tensor.Buffer
	// Backward takes d [rows×dim], the gradient with respect to the hidden
	// state, adds to the parameters' gradients and overwrites d. It returns the
	// gradient with respect to the tokens' embeddings [rows×dim].
	Backward(p *pass, d tensor.Buffer) tensor.Buffer
	// linears returns the layers that multiply by weights.
	linears() []*linear
}

// pooledHead is what an encoder has between the pooled states and its last layer.
type pooledHead interface {
	// Forward returns the head's output [rows×dim] for x of the same shape.
	Forward(p *pass, x tensor.Buffer, rows int) tensor.Buffer
	// Backward computes dx [rows×dim] = from dy of the same shape, which it may
	// overwrite.
	Backward(p *pass, dx, dy tensor.Buffer, rows int)
}

// Encoder classifies sequences: a body, pooling, and a linear layer. One
// goroutine uses an encoder at a time.
type Encoder struct {
	// Recompute saves memory: only the input of each block is kept from
	// Forward to Backward, which computes the rest again. That takes about a
	// third more time and gives the same bits.
	Recompute bool
	// Types, if not nil, gives the token types of a sequence that comes in a pack
	// without types, such as tokenizer.Tokenizer.PairTypes; nil types are all 0. An
	// encoder that knows one type at most, such as ModernBERT, does not ask.
	Types func(sequence []int32) []int32

	body  body       // a normed trunk, a bert or a modernBERT
	head  pooledHead // before score; nil = none
	score *linear    // [classes×dim]

	cfg    EncoderConfig
	b      tensor.Backend
	params []*tensor.Param
	views  []*tensor.Param // of parts of params
	arena  *arena
	origin origin
	packed bool    // see Pack
	types  []int32 // of the last pack, from Types

	// Of the last Forward, for Backward.
	pass     pass
	ready    bool
	embedded bool          // it was ForwardEmbed
	ones     tensor.Buffer // [longest sequence]
}

// NewEncoder returns an encoder with random weights. The same seed gives the
// same bits on every backend. The error is cfg.Validate's, or the backend's as far as
// it is known by then, such as tensor.ErrOutOfMemory.
func NewEncoder(b tensor.Backend, cfg EncoderConfig, seed uint64) (*Encoder, error) {
	m := &maker{b: b, seed: seed, random: true}
	e, err := newEncoder(cfg, m)
	if err == nil {
		err = m.failed()
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

func newEncoder(cfg EncoderConfig, m *maker) (*Encoder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	e := &Encoder{cfg: cfg, b: m.b, arena: newArena(m.b)}
	switch {
	case cfg.Style.bert():
		e.body = newBERT(&cfg, m)
	case cfg.Style == ModernBERTStyle:
		e.body = newModernBERT(&cfg, m)
	default:
		e.body = normed{newTrunk(&cfg.Config, m)}
	}
	m.random = m.random || m.randomHead
	score := "score"
	switch {
	case cfg.DenseHead:
		e.head, score = newDenseHead(&cfg, m)
	case cfg.Style == ModernBERTStyle:
		e.head, score = newPredictionHead(&cfg, m), "classifier"
	}
	e.score = &linear{W: m.matrix(score+".weight", cfg.Classes, cfg.Dim, embeddingStd(cfg.Dim))}
	if !cfg.Causal {
		e.score.Bias = m.vector(score+".bias", cfg.Classes, 0)
	}
	e.params, e.views = m.params, m.views
	return e, nil
}

// Config returns the encoder's configuration, with defaults filled in.
func (e *Encoder) Config() EncoderConfig { return e.cfg }

// Backend returns the backend that the encoder computes on.
func (e *Encoder) Backend() tensor.Backend { return e.b }

// Params returns the encoder's parameters in a fixed order: the body's, named
// as a decoder's or BertModel's, then score.weight and score.bias. With
// ModernBERTStyle and with DenseHead all are named as those of transformers'
// classifier; with Causal there is no score.bias.
func (e *Encoder) Params() []*tensor.Param { return e.params }

// Forward writes the logits of every sequence (segment) of the pack into logits
// [len(p.Segments)×Classes]. It keeps p and what Backward needs until the next
// use of the encoder. An error names the invalid row or segment (no segment may
// have a prefix), or is the backend's. It panics if logits does not fit.
func (e *Encoder) Forward(p *Pack, logits []float32) error {
	err := e.read(logits, p, e.cfg.Classes, func(p *Pack) tensor.Buffer { return e.run(p, true) })
	e.ready = err == nil
	return err
}

// Predict is Forward without a Backward to follow; it needs less memory.
func (e *Encoder) Predict(p *Pack, logits []float32) error {
	return e.read(logits, p, e.cfg.Classes, func(p *Pack) tensor.Buffer { return e.run(p, false) })
}

// Embed writes the pooled hidden state of every sequence into states
// [len(p.Segments)×Dim]. With models such as MiniLM and BGE these are sentence
// embeddings, to be compared by their cosine; they are not scaled to length 1.
func (e *Encoder) Embed(p *Pack, states []float32) error {
	return e.read(states, p, e.cfg.Dim, func(p *Pack) tensor.Buffer { return e.pooled(p, false) })
}

// ForwardEmbed is Embed with a BackwardEmbed to follow, as Forward is for logits.
func (e *Encoder) ForwardEmbed(p *Pack, states []float32) error {
	err := e.read(states, p, e.cfg.Dim, func(p *Pack) tensor.Buffer { return e.pooled(p, true) })
	e.embedded = err == nil
	return err
}

// BackwardEmbed adds to the gradient of every parameter but score's, given the
// gradient of a loss with respect to the states of the last ForwardEmbed. Errors are
// those of Backward. It panics if it does not follow a ForwardEmbed.
func (e *Encoder) BackwardEmbed(dstates []float32) error {
	if !e.embedded {
		panic("model: Encoder.BackwardEmbed without a ForwardEmbed before it")
	}
	if n := len(e.pass.Segments); len(dstates) != n*e.cfg.Dim {
		panic(fmt.Sprintf("model: %d sequences of %d values, but gradients of %d", n, e.cfg.Dim, len(dstates)))
	}
	e.embedded = false
	e.backwardPooled(func(dpooled tensor.Buffer) { e.b.Write(dpooled, dstates) })
	return backwardError(e.b, &e.pass)
}

// InputGradient computes gradients with respect to the embeddings of the tokens that
// the encoder reads, such as the saliency of each token. It writes what Embed does into
// states, calls gradient to write the gradient of some value with respect to states
// into dstates, both [len(p.Segments)×Dim], and writes the gradient with respect to
// every row's token embedding into dinputs [p.Rows()×Dim]. The parameters' gradients stay as
// they are. Errors are those of Embed. It panics if states or dinputs does not fit.
func (e *Encoder) InputGradient(p *Pack, states, dinputs []float32, gradient func(states, dstates []float32)) error {
	if len(dinputs) != p.Rows()*e.cfg.Dim {
		panic(fmt.Sprintf("model: %d rows, each of %d values, but room for %d", p.Rows(), e.cfg.Dim, len(dinputs)))
	}
	if err := e.read(states, p, e.cfg.Dim, func(p *Pack) tensor.Buffer { return e.pooled(p, true) }); err != nil {
		return err
	}
	dstates := make([]float32, len(states))
	gradient(states, dstates)
	all := slices.Concat(e.params, e.views)
	grads := make([]tensor.Buffer, len(all))
	for i, param := range all {
		grads[i], param.Grad = param.Grad, nil // the layers then skip it
	}
	defer func() {
		for i, param := range all {
			param.Grad = grads[i]
		}
	}()
	return e.b.Read(dinputs, e.backwardPooled(func(dpooled tensor.Buffer) { e.b.Write(dpooled, dstates) }))
}

// read checks p, runs compute on it, with token types, and reads the result
// [len(p.Segments)×cols] into dst.
func (e *Encoder) read(dst []float32, p *Pack, cols int, compute func(p *Pack) tensor.Buffer) error {
	if err := e.check(p); err != nil {
		return err
	}
	if e.Types != nil && len(p.Types) == 0 && e.cfg.TokenTypes > 1 {
		p = e.typed(*p)
		if err := e.check(p); err != nil {
			return err
		}
	}
	if n := len(p.Segments); len(dst) != n*cols {
		panic(fmt.Sprintf("model: %d sequences, each of %d values, but room for %d", n, cols, len(dst)))
	}
	return e.b.Read(dst, compute(p))
}

// typed returns p with the types that Types gives to its sequences.
func (e *Encoder) typed(p Pack) *Pack {
	e.types = e.types[:0]
	for _, s := range p.Segments {
		types := e.Types(p.Tokens[s.Start:s.End])
		if types == nil {
			types = make([]int32, s.End-s.Start)
		}
		e.types = append(e.types, types...)
	}
	p.Types = e.types
	return &p
}

// check returns an error that names the first invalid row or segment.
func (e *Encoder) check(p *Pack) error {
	if err := p.check(&e.cfg.Config, max(1, e.cfg.TokenTypes)); err != nil {
		return err
	}
	for i, s := range p.Segments {
		if s.Prefix >= 0 {
			return fmt.Errorf("model: segment %d of the pack has prefix %d, but an encoder's sequences share none", i, s.Prefix)
		}
	}
	return nil
}

// run computes the logits [sequences×classes].
func (e *Encoder) run(p *Pack, keep bool) tensor.Buffer {
	n := len(p.Segments)
	pooled := e.pooled(p, keep)
	if e.head != nil {
		pooled = e.head.Forward(&e.pass, pooled, n)
	}
	out := e.arena.Take(n * e.cfg.Classes)
	e.score.Forward(&e.pass, out, pooled, nil, n)
	return out
}

// pooled computes the pooled hidden states [sequences×dim].
func (e *Encoder) pooled(p *Pack, keep bool) tensor.Buffer {
	if keep && e.packed {
		panic("model: Encoder.Forward of an encoder that is packed")
	}
	e.ready, e.embedded = false, false
	e.arena.Reset()
	e.pass = pass{
		Backend:   e.b,
		Arena:     e.arena,
		Rows:      p.Rows(),
		Pos:       p.Pos,
		Segments:  p.Segments,
		Causal:    e.cfg.Causal,
		Keep:      keep,
		Recompute: e.Recompute,
	}
	y := e.body.Forward(&e.pass, p)
	pooled := e.arena.Take(len(p.Segments) * e.cfg.Dim)
	e.pool(pooled, y)
	return pooled
}

// Backward adds to the gradient of every parameter, given the gradient of a
// loss with respect to the logits of the last Forward. It does not wait for the
// backend: an error is one that the backend knows of by now, and others are returned by
// what reads next, such as the optimiser step. It panics if it does not follow a Forward.
func (e *Encoder) Backward(dlogits []float32) error {
	p := &e.pass
	n := len(p.Segments)
	if !e.ready {
		panic("model: Encoder.Backward without a Forward before it")
	}
	if len(dlogits) != n*e.cfg.Classes {
		panic(fmt.Sprintf("model: %d sequences of %d classes, but gradients of %d logits", n, e.cfg.Classes, len(dlogits)))
	}
	e.ready = false
	e.backwardPooled(func(dpooled tensor.Buffer) {
		dout := p.Arena.Take(len(dlogits))
		e.b.Write(dout, dlogits)
		if e.head == nil {
			e.score.Backward(p, dpooled, dout, n, 0)
			return
		}
		dhead := p.Arena.Take(dpooled.Len())
		e.score.Backward(p, dhead, dout, n, 0)
		e.head.Backward(p, dpooled, dhead, n)
	})
	return backwardError(e.b, p)
}

// backwardPooled goes back from the gradient with respect to the pooled states
// [sequences×dim], which write computes, and returns that with respect to the tokens'
// embeddings [rows×dim].
func (e *Encoder) backwardPooled(write func(dpooled tensor.Buffer)) tensor.Buffer {
	p := &e.pass
	d := p.Arena.Zeros(p.Rows * e.cfg.Dim)
	before := p.Arena.Mark()
	dpooled := p.Arena.Take(len(p.Segments) * e.cfg.Dim)
	write(dpooled)
	e.poolGrad(d, dpooled)
	p.Arena.Release(before)
	return e.body.Backward(p, d)
}

// pool computes pooled [sequences×dim] from y [rows×dim].
func (e *Encoder) pool(pooled, y tensor.Buffer) {
	if e.cfg.Pooling != MeanPooling {
		e.b.Gather(pooled, y, e.pooledRows(), e.cfg.Dim)
		return
	}
	longest := 0
	for _, s := range e.pass.Segments {
		longest = max(longest, s.End-s.Start)
	}
	e.ones = e.arena.Take(longest)
	e.b.Fill(e.ones, 1)
	e.eachMean(pooled, y, func(n int, ones, row, rows tensor.Buffer) {
		e.b.MatMul(tensor.OpN, tensor.OpN, 1, e.cfg.Dim, n, 1/float32(n), ones, rows, 0, row)
	})
}

// poolGrad computes dy [rows×dim] += from dpooled [sequences×dim].
func (e *Encoder) poolGrad(dy, dpooled tensor.Buffer) {
	if e.cfg.Pooling != MeanPooling {
		e.b.ScatterAdd(dy, dpooled, e.pooledRows(), e.cfg.Dim)
		return
	}
	e.eachMean(dpooled, dy, func(n int, ones, row, rows tensor.Buffer) {
		e.b.MatMul(tensor.OpN, tensor.OpN, n, e.cfg.Dim, 1, 1/float32(n), ones, row, 1, rows)
	})
}

// eachMean calls f for every sequence of n tokens with n ones, its row of
// pooled [sequences×dim], and its rows of y [rows×dim].
func (e *Encoder) eachMean(pooled, y tensor.Buffer, f func(n int, ones, row, rows tensor.Buffer)) {
	p := &e.pass
	for i, s := range p.Segments {
		n := s.End - s.Start
		f(n, part(p, e.ones, 0, n, 1), part(p, pooled, i, i+1, e.cfg.Dim), part(p, y, s.Start, s.End, e.cfg.Dim))
	}
}

// pooledRows lists the first or the last row of every sequence.
func (e *Encoder) pooledRows() []int32 {
	rows := make([]int32, len(e.pass.Segments))
	for i, s := range e.pass.Segments {
		if rows[i] = int32(s.Start); e.cfg.Pooling == LastPooling {
			rows[i] = int32(s.End - 1)
		}
	}
	return rows
}

// Free releases all memory of the encoder. It must not be used afterwards.
func (e *Encoder) Free() {
	unpackAll(e.b, e.body.linears())
	for _, p := range e.params {
		e.b.Free(p.Value)
		if p.Grad != nil {
			e.b.Free(p.Grad)
		}
	}
	e.params = nil
	e.arena.Free()
}
