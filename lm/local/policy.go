package local

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/sample"
)

// PolicyConfig holds the settings of a policy.
type PolicyConfig struct {
	// Decoder is the model. The policy trains its weights, or only its
	// adapters if it has any (see model.LoRA), and frees it in the end.
	Decoder *model.Decoder
	// Optimizer holds AdamW's settings; the zero value means
	// optim.DefaultConfig.
	Optimizer optim.Config
	// MaxRows bounds the rows (tokens) of a micro-batch; 0 means 4096. A
	// completion that is longer is computed alone.
	MaxRows int
	// Dir is the directory of checkpoints, which Save makes if need be.
	// Without it Save returns an error.
	Dir string
}

// Validate returns an error that names the first invalid setting.
func (c PolicyConfig) Validate() error {
	if c.Decoder == nil {
		return errors.New("local: PolicyConfig.Decoder is nil")
	}
	if !trained(c.Decoder.Params()) {
		return errors.New("local: PolicyConfig.Decoder is frozen, and so are its adapters if it has any, so that nothing would be trained: load it without model.Frozen, or add adapters (a decoder whose adapters were merged is saved and loaded again)")
	}
	return checkTraining("PolicyConfig", c.Optimizer, c.MaxRows)
}

// Policy is a decoder in this process with its optimiser. It implements
// rl.Policy, rl.Publisher and rl.Supporter. One goroutine uses a policy, its
// engine and its decoder at a time.
type Policy struct {
	*LogProber
	training
	engines []*Engine // made by NewEngine

	// Of the current micro-batch; the next one uses their memory again.
	entropy, dlogp, dentropy []float32
}

var (
	_ rl.Policy    = (*Policy)(nil)
	_ rl.Publisher = (*Policy)(nil)
	_ rl.Supporter = (*Policy)(nil)
)

// NewPolicy returns a policy at version 0. The error is c.Validate's.
func NewPolicy(c PolicyConfig) (*Policy, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	p := newPolicy(c)
	if err := p.start(c.Decoder.Params(), c.Optimizer); err != nil {
		return nil, err
	}
	return p, nil
}

// newPolicy returns a policy without an optimiser.
func newPolicy(c PolicyConfig) *Policy {
	p := &Policy{LogProber: NewLogProber(c.Decoder, c.MaxRows), training: decoderTraining(c.Decoder, c.Dir)}
	p.failed = p.dropGradient
	return p
}

// NewEngine returns an engine that samples from the policy's decoder, at the
// policy's version. Policy.Free frees it. Arguments and errors are those of the
// function NewEngine. EngineConfig.Static is an error too, because the decoder is
// trained between calls.
func (t *Policy) NewEngine(v sample.Vocab, c EngineConfig) (*Engine, error) {
	if c.Static {
		return nil, errors.New("local: EngineConfig.Static is set, but the policy trains the decoder")
	}
	e, err := NewEngine(t.decoder, v, c)
	if err != nil {
		return nil, err
	}
	e.version, e.trained = t.version, true
	t.engines = append(t.engines, e)
	return e, nil
}

// Free releases the memory of the policy's engines, Reference, optimiser and decoder, none
// of which may be used afterwards. It panics while an engine is in use. Before
// that, free everything that shares the decoder's weights, such as LoRA.Base.
func (t *Policy) Free() {
	for _, e := range t.engines {
		e.Free()
	}
	if t.reference != nil {
		t.reference.free()
	}
	t.opt.Free()
	t.decoder.Free()
}

// Supports implements rl.Supporter: everything.
func (t *Policy) Supports() rl.Capabilities { return rl.CapAll }

// Publish returns weights whose Local is the *model.Decoder itself, for an
// engine in this process, and whose version is the current one. The engine sees
// every later optimiser step at once.
func (t *Policy) Publish(ctx context.Context) (rollout.Weights, error) {
	return rollout.Weights{Version: t.version, Local: t.decoder}, ctx.Err()
}

// ForwardBackward implements rl.Policy. Besides the objective's errors it
// returns those of LogProbs. The context is checked between micro-batches.
func (t *Policy) ForwardBackward(ctx context.Context, b *rl.Batch, o objective.Objective) (loss float64, m objective.Metrics, err error) {
	defer func() {
		if err != nil {
			loss, m = 0, nil
			t.dropGradient()
		}
	}()
	if err := checkCandidates(b, o.Needs()); err != nil {
		return 0, nil, err
	}
	b.Prepare(o.Needs())
	m = objective.Metrics{}
	err = t.each(ctx, b, func(from, to int) error {
		l, err := t.microBatch(b, from, to, o, m)
		loss += l
		return err
	})
	return loss, m, err
}

// microBatch computes log-probs, objective and gradients of samples [from, to)
// of b, which are packed.
func (t *Policy) microBatch(b *rl.Batch, from, to int, o objective.Objective, m objective.Metrics) (loss float64, err error) {
	n := len(t.logp)
	var entropy, dentropy []float32
	if o.Needs()&objective.InputEntropy != 0 {
		t.entropy, t.dentropy = sized(t.entropy, n), sized(t.dentropy, n)
		entropy, dentropy = t.entropy, t.dentropy
	}
	cand := n > 0 && o.Needs()&objective.InputCandidates != 0
	if cand {
		t.candidates(b.Samples[from:to])
	}
	if n > 0 {
		if err := t.decoder.Forward(&t.pack, &t.targets, t.logp, entropy); err != nil {
			return 0, &rl.SampleError{From: from, To: to, Err: err}
		}
	}
	samples := b.Samples[from:to]
	spread(t.logp, samples, func(s *rl.Sample) []float64 { return s.LogP })
	if entropy != nil {
		spread(entropy, samples, func(s *rl.Sample) []float64 { return s.Entropy })
	}
	if cand {
		eachCandidates(samples, func(c *objective.Candidates, at int) { copy(c.LogP, t.cand.LogP[at:]) })
	}
	if loss, err = rl.EvalObjective(b, from, to, o, m); err != nil {
		return 0, err
	}
	t.dlogp = sized(t.dlogp, n)
	some := collect(t.dlogp, samples, func(s *rl.Sample) []float64 { return s.Grad })
	if dentropy != nil {
		some = collect(dentropy, samples, func(s *rl.Sample) []float64 { return s.EntropyGrad }) || some
	}
	if cand {
		eachCandidates(samples, func(c *objective.Candidates, at int) {
			copy(t.cand.Grad[at:], c.Grad)
			some = some || slices.ContainsFunc(c.Grad, func(g float64) bool { return g != 0 })
		})
	}
	if !some { // as in groups whose advantages are all zero
		return loss, nil
	}
	return loss, t.decoder.Backward(t.dlogp, dentropy)
}

// checkCandidates returns an error if candidates are needed and not all samples with
// tokens have some for each, and equally many.
func checkCandidates(b *rl.Batch, needs objective.Inputs) error {
	if needs&objective.InputCandidates == 0 {
		return nil
	}
	k := 0
	for i := range b.Samples {
		s := &b.Samples[i]
		if len(s.Tokens) == 0 {
			continue
		}
		if s.Cand == nil {
			return fmt.Errorf("local: sample %d has no Cand, but the objective needs candidates", i)
		}
		if k == 0 {
			k = s.Cand.K
		}
		if s.Cand.K != k || k < 1 || len(s.Cand.IDs) != k*len(s.Tokens) {
			return fmt.Errorf("local: sample %d has %d candidates at each position and %d ids for %d tokens, want as many at each position of the batch (%d)", i, s.Cand.K, len(s.Cand.IDs), len(s.Tokens), k)
		}
	}
	return nil
}

// candidates makes the samples' candidates those of the micro-batch.
func (t *Policy) candidates(samples []rl.Sample) {
	i := slices.IndexFunc(samples, func(s rl.Sample) bool { return len(s.Tokens) > 0 })
	t.makeCandidates(samples[i].Cand.K)
	ids := t.cand.IDs[:0]
	for i := range samples {
		if len(samples[i].Tokens) > 0 {
			ids = append(ids, samples[i].Cand.IDs...)
		}
	}
	t.targets.Candidates = &t.cand
	t.cand.Grad = slices.Grow(t.cand.Grad[:0], len(t.cand.LogP))[:len(t.cand.LogP)]
}

// eachCandidates calls f with the candidates of each sample, and where its log-probs
// begin in those of the micro-batch.
func eachCandidates(samples []rl.Sample, f func(c *objective.Candidates, at int)) {
	at := 0
	for i := range samples {
		if c := samples[i].Cand; len(samples[i].Tokens) > 0 {
			f(c, at)
			at += len(c.LogP)
		}
	}
}

// spread copies values, end to end, into the samples' slices.
func spread(values []float32, samples []rl.Sample, of func(*rl.Sample) []float64) {
	for i := range samples {
		dst := of(&samples[i])
		for t := range dst {
			dst[t] = float64(values[t])
		}
		values = values[len(dst):]
	}
}

// collect copies the samples' slices into values, end to end, and reports
// whether some value is not zero.
func collect(values []float32, samples []rl.Sample, of func(*rl.Sample) []float64) (some bool) {
	n := 0
	for i := range samples {
		for _, v := range of(&samples[i]) {
			values[n] = float32(v)
			some = some || v != 0
			n++
		}
	}
	return some
}
