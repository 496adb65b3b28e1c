package model

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/tensor"
)

// Pooling says how an encoder turns the hidden states of a sequence into one.
type Pooling string

const (
	// MeanPooling takes the mean over all tokens.
	MeanPooling Pooling = "mean"
	// FirstPooling takes the first token's.
	FirstPooling Pooling = "first"
)

// EncoderConfig describes an encoder classifier.
type EncoderConfig struct {
	// Config describes the blocks; TieEmbeddings has no meaning here and
	// must be false.
	Config
	// Classes is the number of classes, at least 2.
	Classes int
	// Pooling is MeanPooling unless set.
	Pooling Pooling
}

// Validate returns an error that names the first field that is wrong.
func (c EncoderConfig) Validate() error {
	if err := c.Config.Validate(); err != nil {
		return err
	}
	switch {
	case c.TieEmbeddings:
		return errors.New("model: EncoderConfig.TieEmbeddings is true, but an encoder has no output embedding")
	case c.Classes < 2:
		return fmt.Errorf("model: EncoderConfig.Classes is %d, want at least 2", c.Classes)
	case c.Pooling != "" && c.Pooling != MeanPooling && c.Pooling != FirstPooling:
		return fmt.Errorf("model: EncoderConfig.Pooling is %q, want %q or %q", c.Pooling, MeanPooling, FirstPooling)
	}
	return nil
}

// withDefaults fills in the fields whose zero value has a meaning.
func (c EncoderConfig) withDefaults() EncoderConfig {
	c.Config = c.Config.withDefaults()
	if c.Pooling == "" {
		c.Pooling = MeanPooling
	}
	return c
}

// Encoder classifies sequences: the decoder's blocks without a causal mask, a
// final norm, pooling, and a linear layer. One goroutine uses an encoder at a
// time.
type Encoder struct {
	// Trunk and Score are its layers.
	Trunk *Trunk
	Score *Linear // [classes×dim]

	cfg    EncoderConfig
	b      tensor.Backend
	params []*tensor.Param
	arena  *Arena

	// Of the last Forward, for Backward.
	pass  Pass
	ready bool
	ones  tensor.Buffer // [longest sequence]
}

// NewEncoder returns an encoder with random weights: the same seed gives the
// same bits on every backend. An error names the field of cfg that is wrong.
func NewEncoder(b tensor.Backend, cfg EncoderConfig, seed uint64) (*Encoder, error) {
	return newEncoder(cfg, &maker{b: b, seed: seed, random: true})
}

func newEncoder(cfg EncoderConfig, m *maker) (*Encoder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	e := &Encoder{cfg: cfg, b: m.b, arena: NewArena(m.b)}
	e.Trunk = newTrunk(&cfg.Config, m)
	e.Score = &Linear{
		W:    m.matrix("score.weight", cfg.Classes, cfg.Dim, embeddingStd(cfg.Dim)),
		Bias: m.vector("score.bias", cfg.Classes, 0),
	}
	e.params = m.params
	return e, nil
}

// Config returns the encoder's configuration, with defaults filled in.
func (e *Encoder) Config() EncoderConfig { return e.cfg }

// Backend returns the backend that the encoder computes on.
func (e *Encoder) Backend() tensor.Backend { return e.b }

// Params returns the encoder's parameters in a fixed order: the trunk's named
// as a decoder's, then score.weight and score.bias.
func (e *Encoder) Params() []*tensor.Param { return e.params }

// Forward writes the logits of every sequence (segment) of the pack into
// logits [len(p.Segments)×Classes]. It keeps p and what Backward needs until
// the next Forward. An error names the row or segment that is wrong (none may
// have a prefix), or is the backend's.
func (e *Encoder) Forward(p *Pack, logits []float32) error {
	return e.forward(p, logits, true)
}

// Predict is Forward when no Backward follows; it needs less memory.
func (e *Encoder) Predict(p *Pack, logits []float32) error {
	return e.forward(p, logits, false)
}

func (e *Encoder) forward(p *Pack, logits []float32, keep bool) error {
	if err := p.check(&e.cfg.Config); err != nil {
		return err
	}
	for i, s := range p.Segments {
		if s.Prefix >= 0 {
			return fmt.Errorf("model: segment %d of the pack has prefix %d, but an encoder's sequences share none", i, s.Prefix)
		}
	}
	n := len(p.Segments)
	if len(logits) != n*e.cfg.Classes {
		panic(fmt.Sprintf("model: %d sequences of %d classes, but room for %d logits", n, e.cfg.Classes, len(logits)))
	}
	return e.b.Read(logits, e.run(p, keep))
}

// run computes the logits [sequences×classes].
func (e *Encoder) run(p *Pack, keep bool) tensor.Buffer {
	n := len(p.Segments)
	e.arena.Reset()
	e.pass = Pass{
		Backend:  e.b,
		Arena:    e.arena,
		Rows:     p.Rows(),
		Pos:      p.Pos,
		Segments: p.Segments,
		Keep:     keep,
	}
	e.ready = keep
	x := e.Trunk.Forward(&e.pass, p.Tokens)
	y := e.arena.Take(p.Rows() * e.cfg.Dim)
	e.Trunk.Norm.Forward(&e.pass, y, x, p.Rows())
	pooled := e.arena.Take(n * e.cfg.Dim)
	e.pool(pooled, y)
	out := e.arena.Take(n * e.cfg.Classes)
	e.Score.Forward(&e.pass, out, pooled, n, 0)
	return out
}

// Backward adds to the gradient of every parameter, given the gradient of a
// loss with respect to the logits of the last Forward. It waits for the
// backend and returns its error. It panics if it does not follow a Forward.
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
	d := p.Arena.Zeros(p.Rows * e.cfg.Dim)
	before := p.Arena.Mark()
	dout := p.Arena.Take(len(dlogits))
	e.b.Write(dout, dlogits)
	dpooled := p.Arena.Take(n * e.cfg.Dim)
	e.Score.Backward(p, dpooled, dout, n, 0)
	dy := p.Arena.Zeros(p.Rows * e.cfg.Dim)
	e.poolGrad(dy, dpooled)
	e.Trunk.Norm.Backward(p, d, dy, p.Rows)
	p.Arena.Release(before)
	e.Trunk.Backward(p, d)
	return e.b.Sync()
}

// pool computes pooled [sequences×dim] from y [rows×dim].
func (e *Encoder) pool(pooled, y tensor.Buffer) {
	if e.cfg.Pooling == FirstPooling {
		e.b.Gather(pooled, y, e.firstRows(), e.cfg.Dim)
		return
	}
	longest := 0
	for _, s := range e.pass.Segments {
		longest = max(longest, s.End-s.Start)
	}
	e.ones = e.arena.Take(longest)
	e.b.Fill(e.ones, 1)
	e.eachMean(pooled, y, func(n int, ones, row, rows tensor.Buffer) {
		e.b.MatMul(tensor.N, tensor.N, 1, e.cfg.Dim, n, 1/float32(n), ones, rows, 0, row)
	})
}

// poolGrad computes dy [rows×dim] += from dpooled [sequences×dim].
func (e *Encoder) poolGrad(dy, dpooled tensor.Buffer) {
	if e.cfg.Pooling == FirstPooling {
		e.b.ScatterAdd(dy, dpooled, e.firstRows(), e.cfg.Dim)
		return
	}
	e.eachMean(dpooled, dy, func(n int, ones, row, rows tensor.Buffer) {
		e.b.MatMul(tensor.N, tensor.N, n, e.cfg.Dim, 1, 1/float32(n), ones, row, 1, rows)
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

// firstRows lists the first row of every sequence.
func (e *Encoder) firstRows() []int32 {
	rows := make([]int32, len(e.pass.Segments))
	for i, s := range e.pass.Segments {
		rows[i] = int32(s.Start)
	}
	return rows
}

// Free releases all memory of the encoder. It must not be used afterwards.
func (e *Encoder) Free() {
	for _, p := range e.params {
		e.b.Free(p.Value)
		e.b.Free(p.Grad)
	}
	e.params = nil
	e.arena.Free()
}

// Save writes the encoder's weights in float32 and its configuration into a
// directory, which it makes if need be.
func (e *Encoder) Save(dir string) error {
	h := decoderConfig(e.cfg.Config)
	h.Architectures = nil // transformers has no such model
	h.Encoder = &hfLabels{Classes: e.cfg.Classes, Pooling: e.cfg.Pooling}
	return save(dir, e.b, e.params, h)
}

// LoadEncoder reads an encoder from a directory that Save wrote. Errors name
// the field or tensor that does not fit.
func LoadEncoder(b tensor.Backend, dir string) (*Encoder, error) {
	cfg, err := ReadEncoderConfig(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, WeightsFile)
	if err := checkFile(path, cfg.Layers, nil, func(m *maker) { _, _ = newEncoder(cfg, m) }); err != nil {
		return nil, err
	}
	e, err := newEncoder(cfg, &maker{b: b})
	if err != nil {
		return nil, err
	}
	if err := ReadParams(b, e.params, path); err != nil {
		e.Free()
		return nil, err
	}
	return e, nil
}

// ReadEncoderConfig reads an encoder's configuration from a directory that
// Save wrote, with defaults filled in. Errors name the field that is wrong.
func ReadEncoderConfig(dir string) (EncoderConfig, error) {
	path := filepath.Join(dir, ConfigFile)
	h, err := readConfig(path)
	if err != nil {
		return EncoderConfig{}, err
	}
	if h.Encoder == nil {
		return EncoderConfig{}, fmt.Errorf("model: %s is of no encoder: it has no field stepwise_encoder", path)
	}
	c, err := h.config(path)
	if err != nil {
		return EncoderConfig{}, err
	}
	cfg := EncoderConfig{Config: c, Classes: h.Encoder.Classes, Pooling: h.Encoder.Pooling}
	if err := cfg.Validate(); err != nil {
		return EncoderConfig{}, fmt.Errorf("%s: %w", path, err)
	}
	return cfg.withDefaults(), nil
}
