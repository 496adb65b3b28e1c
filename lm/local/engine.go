package local

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/sample"
)

// EngineOptions bound an engine's memory. Each 0 means its default.
type EngineOptions struct {
	// EOS are the end-of-text tokens: a completion ends with the first.
	EOS []int32
	// Sequences is how many completions run at once; 0 means 128. The engine
	// holds as many rows of logits.
	Sequences int
	// StepRows is how many tokens go through the model in one pass, those of
	// prompts included; 0 means 512. It is at least Sequences. The context is
	// looked at after every pass.
	StepRows int
	// CacheRows is how many tokens' keys and values are held at most; 0 means
	// 65536. The engine allocates as many as its requests can use.
	CacheRows int
	// Static says that the decoder's weights change only before a Refresh.
	// What is computed of them once (model.Decoder.Pack) is then kept between
	// calls, in as much memory as they take. It is for decoders that are not
	// trained meanwhile, such as a teacher: Forward of one that is packed
	// panics, and so does another engine's Generate.
	Static bool
	// Weights is how the decoder's weights are held while it samples, by a
	// backend that lays them out for that: tensor.Float32 (the default), or
	// tensor.BFloat16, which reads half as much memory for every token. Then
	// samples, and their log-probs, are of a model with rounded weights, not
	// of the one that is trained. A backend that is no tensor.Packer has
	// Float32 only.
	Weights tensor.Format
	// OnToken, if not nil, is called with every token as soon as it is drawn,
	// for a sample to be read while it grows: by the request's place in the
	// call, the sample's index and the token's id. Calls are serial, those of
	// emit included, which follows a sample's last token. A sample that fails
	// may have had tokens. An error ends the call and is returned.
	OnToken func(request, index int, token int32) error
}

// withDefaults returns the options with defaults filled in, or an error that
// names the one that is wrong.
func (o EngineOptions) withDefaults(vocab int) (EngineOptions, error) {
	for _, id := range o.EOS {
		if id < 0 || int(id) >= vocab {
			return o, fmt.Errorf("EngineOptions.EOS has id %d, want 0 to %d", id, vocab-1)
		}
	}
	if o.Weights != tensor.FormatFloat32 && o.Weights != tensor.FormatBFloat16 {
		return o, fmt.Errorf("EngineOptions.Weights is %d, want tensor.Float32 or tensor.BFloat16", o.Weights)
	}
	for _, f := range []struct {
		name  string
		value *int
		zero  int
	}{{"Sequences", &o.Sequences, 128}, {"StepRows", &o.StepRows, max(512, o.Sequences)}, {"CacheRows", &o.CacheRows, 65536}} {
		if *f.value < 0 {
			return o, fmt.Errorf("EngineOptions.%s is %d, want 0 (for %d) or more", f.name, *f.value, f.zero)
		}
		if *f.value == 0 {
			*f.value = f.zero
		}
	}
	if o.StepRows < o.Sequences {
		return o, fmt.Errorf("EngineOptions.StepRows is %d, want at least Sequences, %d", o.StepRows, o.Sequences)
	}
	o.EOS = slices.Clone(o.EOS)
	return o, nil
}

// Engine samples from a decoder. It implements rollout.Engine and
// rollout.Refresher. Calls from several goroutines wait for each other; emit
// must therefore not call the engine.
type Engine struct {
	opts  EngineOptions
	vocab sample.Vocab
	turn  chan struct{} // holds one token, the caller's whose turn it is

	decoder *model.Decoder
	packed  bool // decoder is, by this engine
	version int64

	// Kept from call to call.
	cache    *model.Cache
	step     model.Step
	spans    []tensor.Range
	logits   []float32
	draws    []draw
	samplers []*sample.Sampler // one for each goroutine that draws
}

var (
	_ rollout.Engine    = (*Engine)(nil)
	_ rollout.Refresher = (*Engine)(nil)
)

// NewEngine returns an engine at weights version 0. It uses the decoder during calls
// only, so that a trainer can use it between them. v gives the bytes of the
// decoder's tokens, to several goroutines at a time; *tokenizer.Tokenizer does.
// An error names the option that is wrong.
func NewEngine(d *model.Decoder, v sample.Vocab, o EngineOptions) (*Engine, error) {
	if d == nil || v == nil {
		return nil, errors.New("local: an engine needs a decoder and a vocabulary")
	}
	o, err := o.withDefaults(d.Config().Vocab)
	if err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	if _, ok := d.Backend().(tensor.Packer); !ok && o.Weights != tensor.FormatFloat32 {
		return nil, fmt.Errorf("local: EngineOptions.Weights is not tensor.Float32, but backend %s lays out no weights (tensor.Packer)", d.Backend().Name())
	}
	return &Engine{
		opts:    o,
		vocab:   v,
		turn:    make(chan struct{}, 1),
		decoder: d,
	}, nil
}

// Generate implements rollout.Engine. A request is invalid, besides what
// rollout.Validate names, if a token id is outside the decoder's vocabulary,
// or if the prompt and MaxTokens together exceed the decoder's MaxSeq or the
// cache. A sample whose logits are not finite fails alone.
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
		e.decoder.Pack(e.opts.Weights)
		e.packed = true
	}
	if !e.opts.Static {
		defer e.unpack()
	}
	g := generation{Engine: e, ctx: ctx, reqs: reqs, emit: emit, rows: newRows(e.cache.Rows())}
	return g.run()
}

// Refresh implements rollout.Refresher: later samples carry w.Version. w.Local
// is the *model.Decoder to sample from, as lm/local publishes it: the engine's
// own, whose weights have changed in place, or another one of the same
// configuration. Anything else is an error and changes nothing.
func (e *Engine) Refresh(ctx context.Context, w rollout.Weights) error {
	if err := e.acquire(ctx); err != nil {
		return err
	}
	defer e.release()
	d, ok := w.Local.(*model.Decoder)
	switch {
	case !ok || d == nil:
		return fmt.Errorf("local: Weights.Local is %T, want the *model.Decoder to sample from", w.Local)
	case d.Config() != e.decoder.Config():
		return errors.New("local: Weights.Local is a decoder of another configuration")
	}
	e.unpack()
	if d != e.decoder {
		e.free() // the cache belongs to the decoder's backend
		e.decoder = d
	}
	e.version = w.Version
	return nil
}

// Free releases the cache and what EngineOptions.Static keeps, but not the decoder.
// The next call allocates what it needs. Free panics while another call uses
// the engine.
func (e *Engine) Free() {
	select {
	case e.turn <- struct{}{}:
		defer e.release()
		e.unpack()
		e.free()
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

// Check implements rollout.Checker: it returns an error if the decoder or the cache
// cannot do a request.
func (e *Engine) Check(r *rollout.Request) error {
	cfg := e.decoder.Config()
	for i, id := range r.Prompt {
		if int(id) >= cfg.Vocab {
			return fmt.Errorf("Prompt[%d] is %d, want an id below %d", i, id, cfg.Vocab)
		}
	}
	n := len(r.Prompt) + r.Params.MaxTokens
	if n > cfg.MaxSeq || n < 0 {
		return fmt.Errorf("%d prompt tokens and MaxTokens %d exceed the model's MaxSeq, %d", len(r.Prompt), r.Params.MaxTokens, cfg.MaxSeq)
	}
	if n > e.opts.CacheRows {
		return fmt.Errorf("%d prompt tokens and MaxTokens %d exceed EngineOptions.CacheRows, %d", len(r.Prompt), r.Params.MaxTokens, e.opts.CacheRows)
	}
	return nil
}

// reserve makes the cache large enough for the requests: for all of them, or
// for as many sequences as may run at once, but no larger than it may be.
func (e *Engine) reserve(reqs []rollout.Request) {
	all, longest := 0, 0
	for i := range reqs {
		prompt, own := wholeBlocks(len(reqs[i].Prompt)), wholeBlocks(ownRows(&reqs[i]))
		longest = max(longest, prompt+own)
		if all < e.opts.CacheRows {
			all += prompt + min(reqs[i].N, e.opts.Sequences)*own
		}
	}
	n := min(all, longest*e.opts.Sequences, e.opts.CacheRows)
	if e.cache == nil || e.cache.Rows() < n {
		e.free()
		e.cache = e.decoder.NewCache(n)
	}
}
