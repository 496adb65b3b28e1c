package local

import (
	"context"
	"errors"
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// PolicyConfig describes a policy.
type PolicyConfig struct {
	// Decoder is the model; the policy changes its weights, or only those of
	// its adapters if it has any (see model.LoRA).
	Decoder *model.Decoder
	// Optimizer holds AdamW's settings; the zero value means
	// optim.DefaultConfig.
	Optimizer optim.Config
	// MaxRows bounds the rows (tokens) of a micro-batch; 0 means 4096.
	MaxRows int
	// Dir is the directory in which Save makes its checkpoints; it is made
	// if need be. Without it Save is an error.
	Dir string
}

// Policy is a decoder in this process with its optimiser. It implements
// rl.Policy, rl.Publisher and rl.Supporter.
type Policy struct {
	*LogProber
	opt     *optim.AdamW
	dir     string
	version int64

	// Of the micro-batch at hand, reused for the next.
	entropy, dlogp, dentropy []float32
}

var (
	_ rl.Policy    = (*Policy)(nil)
	_ rl.Publisher = (*Policy)(nil)
	_ rl.Supporter = (*Policy)(nil)
)

// NewPolicy returns a policy at version 0. An error names the setting that is wrong.
func NewPolicy(c PolicyConfig) (*Policy, error) {
	if c.Decoder == nil {
		return nil, errors.New("local: PolicyConfig.Decoder is nil")
	}
	if c.MaxRows < 0 {
		return nil, fmt.Errorf("local: PolicyConfig.MaxRows is %d, want 0 (for %d) or more", c.MaxRows, defaultRows)
	}
	if c.Optimizer == (optim.Config{}) {
		c.Optimizer = optim.DefaultConfig()
	}
	opt, err := optim.NewAdamW(c.Decoder.Backend(), c.Decoder.Params(), c.Optimizer)
	if err != nil {
		return nil, fmt.Errorf("local: PolicyConfig.Optimizer: %w", err)
	}
	p := &Policy{LogProber: NewLogProber(c.Decoder, c.MaxRows), opt: opt, dir: c.Dir}
	p.opt.ZeroGrad()
	return p, nil
}

// Version counts the optimiser steps taken.
func (p *Policy) Version() int64 { return p.version }

// Free releases the optimiser's memory, but not the decoder.
func (p *Policy) Free() { p.opt.Free() }

// Supports returns an error for candidates, which this policy does not compute.
func (p *Policy) Supports(n objective.Inputs) error {
	if n&objective.InputCandidates != 0 {
		return errors.New("local: this policy does not compute the log-probs of candidates")
	}
	return nil
}

// ForwardBackward implements rl.Policy. Besides the objective's errors it
// returns those of LogProbs. The context is looked at between micro-batches.
func (p *Policy) ForwardBackward(ctx context.Context, b *rl.Batch, o objective.Objective) (loss float64, m objective.Metrics, err error) {
	defer func() {
		if err != nil {
			loss, m = 0, nil
			p.clearAfterError()
		}
	}()
	needs := o.Needs()
	if err := p.Supports(needs); err != nil {
		return 0, nil, err
	}
	b.Prepare(needs)
	m = objective.Metrics{}
	err = p.each(ctx, b, func(from, to int) error {
		l, err := p.microBatch(b, from, to, o, m)
		loss += l
		return err
	})
	return loss, m, err
}

// microBatch computes samples [from, to) of b, which are packed: log-probs,
// the objective, gradients.
func (p *Policy) microBatch(b *rl.Batch, from, to int, o objective.Objective, m objective.Metrics) (loss float64, err error) {
	n := len(p.logp)
	var entropy, dentropy []float32
	if o.Needs()&objective.InputEntropy != 0 {
		p.entropy, p.dentropy = sized(p.entropy, n), sized(p.dentropy, n)
		entropy, dentropy = p.entropy, p.dentropy
	}
	if n > 0 {
		if err := p.decoder.Forward(&p.pack, &p.targets, p.logp, entropy); err != nil {
			return 0, err
		}
	}
	samples := b.Samples[from:to]
	spread(p.logp, samples, func(s *rl.Sample) []float64 { return s.LogP })
	if entropy != nil {
		spread(entropy, samples, func(s *rl.Sample) []float64 { return s.Entropy })
	}
	if loss, err = rl.EvalObjective(b, from, to, o, m); err != nil {
		return 0, err
	}
	p.dlogp = sized(p.dlogp, n)
	live := collect(p.dlogp, samples, func(s *rl.Sample) []float64 { return s.Grad })
	if dentropy != nil {
		live = collect(dentropy, samples, func(s *rl.Sample) []float64 { return s.EntropyGrad }) || live
	}
	if !live { // as of groups whose advantages are all zero
		return loss, nil
	}
	return loss, p.decoder.Backward(p.dlogp, dentropy)
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
// whether any is not zero.
func collect(values []float32, samples []rl.Sample, of func(*rl.Sample) []float64) (live bool) {
	n := 0
	for i := range samples {
		for _, v := range of(&samples[i]) {
			values[n] = float32(v)
			live = live || v != 0
			n++
		}
	}
	return live
}

// Step implements rl.Policy. A gradient that is not finite is dropped, and the
// version stays.
func (p *Policy) OptimStep(ctx context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	if err := ctx.Err(); err != nil {
		return rl.OptimInfo{}, err
	}
	info, err := p.opt.Step(o.LR, o.MaxNorm)
	if err != nil {
		p.clearAfterError()
		return rl.OptimInfo{}, fmt.Errorf("local: %w", err)
	}
	p.opt.ZeroGrad()
	if !info.Skipped {
		p.version++
	}
	return rl.OptimInfo{Version: p.version, GradNorm: info.GradNorm, Skipped: info.Skipped}, nil
}

// clearAfterError clears the accumulated gradient. The backend's error, which
// was returned, must go first, because it would prevent that.
func (p *Policy) clearAfterError() {
	_ = p.decoder.Backend().Sync()
	p.opt.ZeroGrad()
}

// Publish hands the decoder itself to an engine in this process: Weights.Local
// is the *model.Decoder. The engine sees every later step at once; the
// version is that of now.
func (p *Policy) Publish(ctx context.Context) (rollout.Weights, error) {
	return rollout.Weights{Version: p.version, Local: p.decoder}, ctx.Err()
}
