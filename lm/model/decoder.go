package model

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// Decoder is a causal language model of the Llama family. One goroutine uses a
// decoder at a time.
type Decoder struct {
	// Recompute saves memory: only the input of each block is kept from
	// Forward to Backward, which computes the rest again. That takes about a
	// third more time and gives the same bits.
	Recompute bool

	trunk  *trunk
	head   *head
	cfg    Config
	b      tensor.Backend
	params []*tensor.Param // without the adapters'
	arena  *arena
	lora   *LoRA // nil = none
	shared bool  // the parameters are another decoder's
	wanted wanted
	read   []float32 // scratch
	origin origin

	// Of the last Forward, for Backward.
	pass    pass
	targets int
	dx      tensor.Buffer // room for the gradient of the trunk's output
	atHead  arenaMark     // the arena before the head's forward pass
}

// Targets are the tokens whose log-probs are wanted.
type Targets struct {
	// Rows[i] is the row of the pack that predicts the token IDs[i], which
	// follows it. Several targets may follow one row.
	Rows, IDs []int32
	// Temperature divides the logits; 0 means 1.
	Temperature float64
	// Candidates, if not nil, are further tokens that may follow Rows[i]. Forward
	// and Score fill in their LogP.
	Candidates *Candidates
}

// NewDecoder returns a decoder with random weights. The same seed gives the same bits on
// every backend. Tell it with SetEOS which tokens end a text. The error is cfg.Validate's,
// or the backend's as far as it is known by then, such as tensor.ErrOutOfMemory.
func NewDecoder(b tensor.Backend, cfg Config, seed uint64) (*Decoder, error) {
	m := &maker{b: b, seed: seed, random: true, later: true}
	d, err := newDecoder(cfg, m)
	if err == nil {
		err = m.failed()
	}
	if err != nil {
		return nil, err
	}
	m.drawAll()
	return d, nil
}

func newDecoder(cfg Config, m *maker) (*Decoder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	d := &Decoder{cfg: cfg, b: m.b, arena: newArena(m.b)}
	d.trunk = newTrunk(&cfg, m)
	out := &linear{W: d.trunk.Embed.W}
	if !cfg.TieEmbeddings {
		out.W = m.matrix("lm_head.weight", cfg.Vocab, cfg.Dim, embeddingStd(cfg.Dim))
	}
	d.head = newHead(m.b, d.trunk.Norm, out)
	d.params = m.params
	return d, nil
}

// Config returns the decoder's configuration, with defaults filled in.
func (d *Decoder) Config() Config { return d.cfg }

// EOS returns the tokens that end a text: those of SetEOS, or else of the folder that the
// decoder was loaded from, which are eos_token_id of its generation_config.json, or if
// that has none of its config.json. It is empty if nobody has named any.
func (d *Decoder) EOS() []int32 { return slices.Clone(d.origin.ends) }

// SetEOS sets the tokens that end a text. A decoder that NewDecoder made has none until
// then. Save and Export write them as eos_token_id, so that whoever loads the folder
// ends there too; they change no number here. An id that the decoder has no output for
// is an error that changes nothing.
func (d *Decoder) SetEOS(ids ...int32) error {
	for _, id := range ids {
		if id < 0 || int(id) >= d.cfg.Vocab {
			return fmt.Errorf("model: SetEOS: token id %d, want 0 to %d", id, d.cfg.Vocab-1)
		}
	}
	d.origin.eos, d.origin.ends = null, slices.Clone(ids)
	return nil
}

// Backend returns the backend that the decoder computes on.
func (d *Decoder) Backend() tensor.Backend { return d.b }

// Params returns the decoder's parameters in a fixed order, named as in Hugging
// Face checkpoints, and then those of its adapters, if it has any. A tied
// embedding is in the list once.
func (d *Decoder) Params() []*tensor.Param {
	if d.lora == nil {
		return d.params
	}
	return slices.Concat(d.params, d.lora.params)
}

// Forward writes the log-prob of every target into logp and, unless entropy is
// nil, the entropy (in nats) of the distribution it comes from into entropy.
// Both have one entry per target. It keeps p, t and what Backward needs until
// the next use of the decoder. An error names the invalid row, segment or
// target, or is the backend's. It panics if the decoder is packed.
func (d *Decoder) Forward(p *Pack, t *Targets, logp, entropy []float32) error {
	d.mustBeUnpacked("Forward")
	return d.forward(p, t, logp, entropy, true)
}

// Score is Forward without a Backward to follow; it needs less memory.
func (d *Decoder) Score(p *Pack, t *Targets, logp, entropy []float32) error {
	return d.forward(p, t, logp, entropy, false)
}

func (d *Decoder) forward(p *Pack, t *Targets, logp, entropy []float32, keep bool) error {
	if err := p.check(&d.cfg, 1); err != nil {
		return err
	}
	if err := t.check(p.Rows(), d.cfg.Vocab); err != nil {
		return err
	}
	if c := t.Candidates; c != nil {
		if err := c.check(len(t.IDs), d.cfg.Vocab, true, keep); err != nil {
			return err
		}
	}
	if len(logp) != len(t.IDs) || entropy != nil && len(entropy) != len(t.IDs) {
		panic(fmt.Sprintf("model: %d targets, but room for %d log-probs and %d entropies", len(t.IDs), len(logp), len(entropy)))
	}
	d.begin(p, keep)
	var rows []int32
	d.pass.Wanted, rows = d.wanted.of(t.Rows, p.Rows())
	x := d.trunk.Forward(&d.pass, p.Tokens)
	if keep {
		d.dx = d.arena.Take(x.Len())
	}
	d.atHead = d.arena.Mark()
	out := d.head.Forward(&d.pass, x, rows, t.IDs, inverse(t.Temperature), entropy != nil, t.Candidates)
	d.read = slices.Grow(d.read[:0], out.Len())[:out.Len()]
	if err := d.b.Read(d.read, out); err != nil {
		return fmt.Errorf("model: forward pass over %d tokens: %w", p.Rows(), err)
	}
	copy(logp, d.read)
	copy(entropy, d.read[len(logp):])
	if t.Candidates != nil {
		if err := d.head.readCandidates(&d.pass, len(t.IDs)); err != nil {
			return err
		}
	}
	if keep {
		d.targets = len(t.IDs)
	}
	return nil
}

// inverse returns 1/temperature, but nothing infinite; 0 stands for 1.
func inverse(temperature float64) float32 {
	if temperature == 0 {
		return 1
	}
	return float32(min(1/temperature, math.MaxFloat32))
}

// begin starts a pass over p.
func (d *Decoder) begin(p *Pack, keep bool) {
	d.targets = 0
	d.arena.Reset()
	d.pass = pass{
		Backend:   d.b,
		Arena:     d.arena,
		Rows:      p.Rows(),
		Pos:       p.Pos,
		Segments:  p.Segments,
		Causal:    true,
		Keep:      keep,
		Recompute: d.Recompute,
	}
}

// Backward adds to the gradient of every parameter, given the gradients of a
// loss with respect to the log-probs and entropies of the last Forward, and those
// in its candidates' Grad; dentropy may be nil. It does not wait for the backend: an
// error is one that the backend knows of by now, and others are returned by what reads
// next, such as the optimiser step. It panics if it does not follow a Forward.
func (d *Decoder) Backward(dlogp, dentropy []float32) error {
	if d.targets == 0 {
		panic("model: Decoder.Backward without a Forward before it")
	}
	if len(dlogp) != d.targets || dentropy != nil && len(dentropy) != d.targets {
		panic(fmt.Sprintf("model: %d targets, but gradients of %d log-probs and %d entropies", d.targets, len(dlogp), len(dentropy)))
	}
	d.targets = 0
	p := &d.pass
	d.b.Fill(d.dx, 0)
	d.head.Backward(p, d.dx, dlogp, dentropy)
	p.Arena.Release(d.atHead)
	d.trunk.Backward(p, d.dx)
	return backwardError(d.b, p)
}

// backwardError is what is known to have failed at the end of a backward pass.
func backwardError(b tensor.Backend, p *pass) error {
	if err := tensor.Err(b); err != nil {
		return fmt.Errorf("model: backward pass over %d tokens: %w", p.Rows, err)
	}
	return nil
}

// Logits writes the logits after the given rows of the pack into logits
// [len(rows)×Vocab].
func (d *Decoder) Logits(p *Pack, rows []int32, logits []float32) error {
	if err := p.check(&d.cfg, 1); err != nil {
		return err
	}
	if err := checkRows(rows, p.Rows()); err != nil {
		return err
	}
	if len(logits) != len(rows)*d.cfg.Vocab {
		panic(fmt.Sprintf("model: %d rows of %d logits, but room for %d logits", len(rows), d.cfg.Vocab, len(logits)))
	}
	d.begin(p, false)
	d.pass.Wanted, rows = d.wanted.of(rows, p.Rows())
	x := d.trunk.Forward(&d.pass, p.Tokens)
	return d.head.Logits(&d.pass, x, rows, logits)
}

// TopK writes the c.K most likely tokens after each of the given rows of the pack
// into c.IDs, in falling order, of equally likely ones that of the smaller id first,
// and their log-probs and the rest's into c.LogP. The temperature divides the logits;
// 0 means 1. Logits that are not finite are an error, and so is a K that is not 1 to
// the size of the vocabulary. It panics if the slices do not fit.
func (d *Decoder) TopK(p *Pack, rows []int32, temperature float64, c *Candidates) error {
	if err := p.check(&d.cfg, 1); err != nil {
		return err
	}
	if err := checkRows(rows, p.Rows()); err != nil {
		return err
	}
	if err := checkTemperature(temperature); err != nil {
		return err
	}
	if err := c.check(len(rows), d.cfg.Vocab, false, false); err != nil {
		return err
	}
	d.begin(p, false)
	d.pass.Wanted, rows = d.wanted.of(rows, p.Rows())
	x := d.trunk.Forward(&d.pass, p.Tokens)
	return d.head.TopK(&d.pass, x, rows, inverse(temperature), c)
}

// ActivationBytes returns the most memory, in bytes, that a pass of the decoder
// has needed so far for activations and their gradients. Parameters and caches
// are not included.
func (d *Decoder) ActivationBytes() int { return d.arena.bytes() }

// Freeze frees the gradients of all parameters, for a model that is not
// trained: a reference policy or a teacher. Do not call Backward afterwards.
func (d *Decoder) Freeze() {
	for _, p := range d.Params() {
		if p.Grad != nil {
			d.b.Free(p.Grad)
			p.Grad = nil
		}
	}
}

// Free releases all memory of the decoder and of its adapters. It must not be
// used afterwards.
func (d *Decoder) Free() {
	d.Unpack()
	if d.lora != nil {
		d.lora.Free()
	}
	d.Freeze()
	for _, p := range d.params {
		if !d.shared {
			d.b.Free(p.Value)
		}
	}
	d.params = nil
	d.arena.Free()
}

// Clone returns a frozen copy of the decoder on the same backend. It panics if
// the decoder has adapters; [LoRA.Base] is then a frozen decoder that takes no
// memory. If there is no memory for it, the backend's error sticks, and the next pass
// returns it. Two decoders of one backend cannot work at once.
func (d *Decoder) Clone() *Decoder {
	d.mustBePlain("Clone")
	c, err := newDecoder(d.cfg, &maker{b: d.b, frozen: true})
	if err != nil {
		panic("model: Clone: " + err.Error()) // the configuration was valid once
	}
	copyByName(d.b, c.params, d.params)
	c.origin = d.origin
	return c
}

// CopyFrom sets the parameters to those of src, a decoder of the same configuration,
// bit for bit. If src is on another backend, they go through the host's memory in parts.
// Another configuration, and so other shapes, is an error that changes nothing. After an
// error of a backend the parameters may be half copied. It panics if either decoder has
// adapters, or if d is packed or a LoRA.Base.
func (d *Decoder) CopyFrom(src *Decoder) error {
	d.mustBePlain("CopyFrom")
	src.mustBePlain("CopyFrom")
	d.mustBeUnpacked("CopyFrom")
	d.mustOwnWeights("CopyFrom")
	if d.cfg != src.cfg {
		return fmt.Errorf("model: CopyFrom a decoder of the configuration %+v, want %+v", src.cfg, d.cfg)
	}
	var failed error
	for i := 0; failed == nil && i < len(d.params); i++ {
		failed = copyValues(d.b, d.params[i].Value, src.b, src.params[i].Value)
	}
	if err := cmp.Or(failed, d.b.Sync()); err != nil {
		return fmt.Errorf("model: CopyFrom: %w", err)
	}
	return nil
}

// mustOwnWeights panics if the decoder's weights are another's, which would change too.
func (d *Decoder) mustOwnWeights(what string) {
	if d.shared {
		panic("model: " + what + " would change the weights of the decoder that this one is the base of (LoRA.Base)")
	}
}

// mustBePlain panics if the decoder has adapters.
func (d *Decoder) mustBePlain(what string) {
	if d.lora != nil {
		panic("model: " + what + " of a decoder with adapters would leave them out")
	}
}

// check returns an error that names the first invalid target.
func (t *Targets) check(rows, vocab int) error {
	if len(t.Rows) != len(t.IDs) {
		return fmt.Errorf("model: targets have %d rows for %d ids", len(t.Rows), len(t.IDs))
	}
	if err := checkTemperature(t.Temperature); err != nil {
		return err
	}
	for i, id := range t.IDs {
		if id < 0 || int(id) >= vocab {
			return fmt.Errorf("model: target %d is token id %d, want 0 to %d", i, id, vocab-1)
		}
	}
	return checkRows(t.Rows, rows)
}

func checkTemperature(t float64) error {
	if !(t >= 0) || math.IsInf(t, 0) {
		return fmt.Errorf("model: targets have temperature %g, want 0 (for 1) or a positive number", t)
	}
	return nil
}

// checkRows returns an error unless idx are one or more indices of rows.
func checkRows(idx []int32, rows int) error {
	if len(idx) == 0 {
		return fmt.Errorf("model: no row of the pack is asked for")
	}
	for i, r := range idx {
		if r < 0 || int(r) >= rows {
			return fmt.Errorf("model: target %d is of row %d, want 0 to %d", i, r, rows-1)
		}
	}
	return nil
}
