package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/sample"
)

// EngineConfig holds the settings of an engine. They bound its memory; 0 means
// the default.
type EngineConfig struct {
	// EOS are the end-of-text tokens: a completion ends with the first. Nil means the
	// decoder's (model.Decoder.EOS), which must then name some; an empty list is none:
	// every completion without a stop string has MaxTokens tokens.
	EOS []int32
	// Sequences is the number of completions that run at once; 0 means 128. The
	// engine holds as many rows of logits.
	Sequences int
	// PassRows is the number of tokens, those of prompts included, that go
	// through the model in one pass; 0 means 512, or Sequences if that is more.
	// It is at least Sequences. The context is checked after every pass.
	PassRows int
	// CacheRows is the largest number of tokens whose keys and values are held; 0
	// means 65536. The engine allocates no more than its requests can use.
	CacheRows int
	// Static promises that the decoder's weights change only before a Refresh.
	// The layout made for sampling (model.Decoder.Pack) is then kept between
	// calls, in as much memory as the weights take. It is for decoders that
	// are not trained meanwhile, such as a teacher: until a Refresh or Free,
	// the decoder's Forward panics, and so does another engine's Generate.
	Static bool
	// Weights is the format of the weights laid out for sampling:
	// tensor.FormatFloat32 (the default), or tensor.FormatBFloat16, which reads
	// half as much memory for every token. Samples and their log-probs are then
	// those of a model with rounded weights, not of the one that is trained; with
	// Static, so is what a LogProber of the decoder computes while the layout is
	// kept. A backend that is no tensor.Packer has Float32 only.
	Weights tensor.Format
	// OnToken, if not nil, is called with every token as soon as it is drawn,
	// so that a sample can be read while it grows: with the request's index in
	// the call, the sample's index and the token's id. It is never called
	// concurrently with itself or with emit, which follows a sample's last
	// token. A sample that fails may have had tokens. An error ends the call
	// and is returned.
	OnToken func(request, index int, token int32) error
}

func (c EngineConfig) withDefaults() EngineConfig {
	c.PassRows = cmp.Or(c.PassRows, max(512, c.Sequences))
	c.Sequences = cmp.Or(c.Sequences, 128)
	c.CacheRows = cmp.Or(c.CacheRows, 65536)
	return c
}

// Validate returns an error that names the first invalid setting. Whether the
// decoder has the EOS tokens, and its backend the format of Weights, NewEngine
// finds out.
func (c EngineConfig) Validate() error {
	for _, id := range c.EOS {
		if id < 0 {
			return fmt.Errorf("local: EngineConfig.EOS has id %d, want 0 or more", id)
		}
	}
	if c.Weights != tensor.FormatFloat32 && c.Weights != tensor.FormatBFloat16 {
		return fmt.Errorf("local: EngineConfig.Weights is %d, want tensor.FormatFloat32 or tensor.FormatBFloat16", c.Weights)
	}
	defaults := EngineConfig{}.withDefaults()
	for _, f := range []struct {
		name        string
		value, zero int
	}{
		{"Sequences", c.Sequences, defaults.Sequences},
		{"PassRows", c.PassRows, defaults.PassRows},
		{"CacheRows", c.CacheRows, defaults.CacheRows},
	} {
		if f.value < 0 {
			return fmt.Errorf("local: EngineConfig.%s is %d, want 0 (for %d) or more", f.name, f.value, f.zero)
		}
	}
	if d := c.withDefaults(); d.PassRows < d.Sequences {
		return fmt.Errorf("local: EngineConfig.PassRows is %d, want at least Sequences, %d", d.PassRows, d.Sequences)
	}
	return nil
}

// Engine samples from a decoder. It implements rollout.Engine, rollout.Refresher
// and rollout.Checker. Calls from several goroutines wait for each other, so emit
// must not call the engine.
type Engine struct {
	config EngineConfig // with defaults filled in
	vocab  sample.Vocab
	turn   chan struct{} // holds one token while a call uses the engine

	shape   model.Config // of every decoder that it samples from
	decoder *model.Decoder
	trained bool // a policy trains the decoder, see Policy.NewEngine
	own     bool // the decoder gets copies of others' weights, see AsyncEngine
	packed  bool // the decoder is, by this engine
	version int64

	// Kept from call to call.
	cache *model.Cache
	scratch
}

// scratch is an engine's memory on the host.
type scratch struct {
	pass     model.CacheBatch
	ranges   []tensor.Range
	logits   []float32
	draws    []draw
	samplers []*sample.Sampler // one for each goroutine that draws
	device   tensor.Draws      // for a backend that draws
	drawn    []float32         // what it has drawn
}

var (
	_ rollout.Engine    = (*Engine)(nil)
	_ rollout.Refresher = (*Engine)(nil)
	_ rollout.Checker   = (*Engine)(nil)
)

// NewEngine returns an engine at weights version 0 that samples from d, which
// stays the caller's to free and, between the engine's calls, to use. v gives the
// bytes of d's tokens and must be safe for concurrent use; a *tokenizer.Tokenizer
// is. For a policy's decoder use [Policy.NewEngine]. An error names the setting
// that is invalid, or says that no token ends a text.
func NewEngine(d *model.Decoder, v sample.Vocab, c EngineConfig) (*Engine, error) {
	if d == nil || v == nil {
		return nil, errors.New("local: an engine needs a decoder and a vocabulary")
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.EOS == nil {
		if c.EOS = d.EOS(); len(c.EOS) == 0 {
			return nil, errors.New("local: no token ends a text: EngineConfig.EOS is nil, and neither the decoder's folder (eos_token_id) nor Decoder.SetEOS names one; " +
				"name it in either, or give an empty list if every completion is to run to MaxTokens")
		}
	}
	vocab := d.Config().Vocab
	for _, id := range c.EOS {
		if int(id) >= vocab {
			return nil, fmt.Errorf("local: EngineConfig.EOS has id %d, want 0 to %d", id, vocab-1)
		}
	}
	if _, ok := d.Backend().(tensor.Packer); !ok && c.Weights != tensor.FormatFloat32 {
		return nil, fmt.Errorf("local: EngineConfig.Weights is not tensor.FormatFloat32, but backend %s lays out no weights (tensor.Packer)", d.Backend().Name())
	}
	c = c.withDefaults()
	c.EOS = slices.Clone(c.EOS)
	return &Engine{config: c, vocab: v, turn: make(chan struct{}, 1), shape: d.Config(), decoder: d}, nil
}

// Generate implements rollout.Engine. Besides the checks of rollout.Validate, a
// request is invalid if a token id is outside the decoder's vocabulary, or if the
// prompt and MaxTokens together exceed the decoder's MaxSeq or CacheRows. A
// sample whose logits are not finite fails alone.
func (e *Engine) Generate(ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	if err := e.acquire(ctx); err != nil {
		return err
	}
	defer e.release()
	if err := rollout.Validate(reqs, e.Check); err != nil {
		return err
	}
	if len(reqs) == 0 {
		return nil
	}
	e.reserve(reqs)
	if !e.packed {
		e.decoder.Pack(e.config.Weights)
		e.packed = true
	}
	if !e.config.Static {
		defer e.unpack()
	}
	g := generation{Engine: e, ctx: ctx, reqs: reqs, emit: emit, rows: newCacheRows(e.cache.Rows())}
	return g.run()
}

// Refresh implements rollout.Refresher: later samples carry w.Version. w.Local
// is the *model.Decoder to sample from, as Policy.Publish returns it: the
// engine's own, whose weights have changed in place, or another one of the same
// configuration. Or w is a folder of adapters (rollout.FormAdapter), from a policy on a
// training server: the engine's decoder gets them in place of those that it had, unless
// it is a policy's. After an error of reading adapters it has none; anything else is an
// error that changes nothing. An AsyncEngine copies the weights of w.Local; after an
// error of a backend they may be half copied.
func (e *Engine) Refresh(ctx context.Context, w rollout.Weights) error {
	if err := e.acquire(ctx); err != nil {
		return err
	}
	defer e.release()
	if w.Form == rollout.FormAdapter {
		if e.trained {
			return errors.New("local: Weights are a folder of adapters, but a policy trains those of the engine's decoder: want what Policy.Publish returns")
		}
		return e.adapt(w)
	}
	d, ok := w.Local.(*model.Decoder)
	switch {
	case !ok || d == nil:
		return fmt.Errorf("local: Weights of form %v with Weights.Local %T, want the *model.Decoder to sample from, or adapters", w.Form, w.Local)
	case d.Config() != e.decoder.Config():
		return fmt.Errorf("local: Weights.Local is a decoder of the configuration %+v, want %+v", d.Config(), e.decoder.Config())
	}
	if e.own {
		return e.copy(d, w.Version)
	}
	e.unpack()
	if d != e.decoder {
		e.free() // the cache belongs to the decoder's backend
		e.decoder = d
	}
	e.version = w.Version
	return nil
}

// adapt replaces the decoder's adapters.
func (e *Engine) adapt(w rollout.Weights) error {
	e.unpack()
	if old := e.decoder.LoRA(); old != nil {
		old.Free()
	}
	if _, err := e.decoder.LoadLoRA(w.Ref, model.Frozen()); err != nil {
		return fmt.Errorf("local: adapters of version %d: %w", w.Version, err)
	}
	e.version = w.Version
	return nil
}

// Free releases the cache, rows of logits and what EngineConfig.Static keeps, but not
// the decoder. A later call allocates what it needs again. Free panics while
// another call uses the engine.
func (e *Engine) Free() {
	select {
	case e.turn <- struct{}{}:
		defer e.release()
		e.unpack()
		e.free()
		e.scratch = scratch{} // a policy may hold on to the engine for long
	default:
		panic("local: Free of an engine that is in use")
	}
}

func (e *Engine) unpack() {
	if e.packed {
		e.decoder.Unpack()
		e.packed = false
	}
}

func (e *Engine) free() {
	if e.cache != nil {
		e.cache.Free()
		e.cache = nil
	}
}

// acquire waits until no other call uses the engine.
func (e *Engine) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case e.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Engine) release() { <-e.turn }

// Check implements rollout.Checker: it returns an error if a request does not fit
// the decoder or the cache.
func (e *Engine) Check(r *rollout.Request) error {
	cfg := e.shape
	for i, id := range r.Prompt {
		if int(id) >= cfg.Vocab {
			return fmt.Errorf("Prompt[%d] is %d, want an id below %d%s", i, id, cfg.Vocab, checkTokenizer)
		}
	}
	n := len(r.Prompt) + r.Params.MaxTokens
	if n > cfg.MaxSeq || n < 0 {
		return fmt.Errorf("%d prompt tokens and MaxTokens %d exceed the model's MaxSeq, %d", len(r.Prompt), r.Params.MaxTokens, cfg.MaxSeq)
	}
	if n > e.config.CacheRows {
		return fmt.Errorf("%d prompt tokens and MaxTokens %d exceed EngineConfig.CacheRows, %d", len(r.Prompt), r.Params.MaxTokens, e.config.CacheRows)
	}
	return nil
}

// reserve makes the cache large enough for all requests, or for as many
// sequences as may run at once if that is less, within CacheRows.
func (e *Engine) reserve(reqs []rollout.Request) {
	all, longest := 0, 0
	for i := range reqs {
		prompt, own := wholeBlocks(len(reqs[i].Prompt)), wholeBlocks(ownRows(&reqs[i]))
		longest = max(longest, prompt+own)
		if all < e.config.CacheRows {
			all += prompt + min(reqs[i].N, e.config.Sequences)*own
		}
	}
	n := min(all, longest*e.config.Sequences, e.config.CacheRows)
	if e.cache == nil || e.cache.Rows() < n {
		e.free()
		e.cache = e.decoder.NewCache(n)
	}
}
