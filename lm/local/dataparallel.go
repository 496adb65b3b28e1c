package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// DataParallel is a Policy that computes each batch on several backends at once, such
// as cuda:0 and cuda:1: each has a copy of the decoder and a part of the prompts, with
// their samples. Before an optimiser step the gradients are summed in host memory, in
// a fixed order; the first policy takes the step and hands the weights to the others.
// So moments and checkpoints are the first's alone, as are engines.
//
// The tokens' weights are those of the whole batch, so sums of gradients are what one
// backend would compute, but for float rounding. An optimiser step copies as
// many values as there are trainable parameters from each backend and to each, and once
// more from the first, which suits large batches, and adapters.
type DataParallel struct {
	*Policy
	replicas []*Policy
	host     [][]float32 // of each policy: a part of a tensor
}

var (
	_ rl.Policy    = (*DataParallel)(nil)
	_ rl.Publisher = (*DataParallel)(nil)
	_ rl.Supporter = (*DataParallel)(nil)
)

// exchangeBlock is how many elements of each backend are in host memory at once.
const exchangeBlock = 1 << 22

// NewDataParallel returns a policy at version 0 that trains c.Decoder with the help of
// replicas, at least one, each on a backend of its own. They have c.Decoder's
// configuration, and its adapters if it has any; their weights become c.Decoder's. The
// policy frees them all in Free. The error is c.Validate's, names what differs, or
// is a backend's; the decoders are then still the caller's.
func NewDataParallel(c PolicyConfig, replicas ...*model.Decoder) (*DataParallel, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if len(replicas) == 0 {
		return nil, errors.New("local: NewDataParallel without a replica; NewPolicy trains on one backend")
	}
	seen := map[tensor.Backend]bool{c.Decoder.Backend(): true}
	for i, d := range replicas {
		switch {
		case d == nil:
			return nil, fmt.Errorf("local: replica %d is nil", i)
		case seen[d.Backend()]:
			return nil, fmt.Errorf("local: replica %d is on the backend of another decoder", i)
		case d.Config() != c.Decoder.Config():
			return nil, fmt.Errorf("local: replica %d has the configuration %+v, want %+v", i, d.Config(), c.Decoder.Config())
		}
		seen[d.Backend()] = true
		have, want := d.Params(), c.Decoder.Params()
		if len(have) != len(want) {
			return nil, fmt.Errorf("local: replica %d has %d parameters, want %d: give it the same adapters", i, len(have), len(want))
		}
		for k, p := range want {
			if h := have[k]; h.Name != p.Name || h.Len() != p.Len() || (h.Grad == nil) != (p.Grad == nil) {
				return nil, fmt.Errorf("local: replica %d has %s %v, want %s %v, and trained alike", i, h.Name, h.Shape, p.Name, p.Shape)
			}
		}
		if have, want := adapters(d), adapters(c.Decoder); have != want {
			return nil, fmt.Errorf("local: replica %d has the adapters %+v, want %+v", i, have, want)
		}
	}
	first, err := NewPolicy(c)
	if err != nil {
		return nil, err
	}
	t := &DataParallel{Policy: first, host: make([][]float32, 1+len(replicas))}
	for _, d := range replicas {
		r := newPolicy(PolicyConfig{Decoder: d, MaxRows: c.MaxRows})
		r.zeroGrad()
		t.replicas = append(t.replicas, r)
	}
	for _, p := range append([]*Policy{first}, t.replicas...) {
		p.failed = func() {} // one alone must not drop its part of the gradient
	}
	if err := t.broadcast(false); err != nil {
		first.opt.Free() // the decoders remain the caller's
		return nil, err
	}
	return t, nil
}

// adapters is the configuration of a decoder's adapters, which says more than their
// shapes: what they are multiplied by. It is the zero value if there are none.
func adapters(d *model.Decoder) (c model.LoRAConfig) {
	if l := d.LoRA(); l != nil {
		c = l.Config()
		c.Base = "" // which is for people
	}
	return c
}

// Free releases the memory of the policy, its engines, and all decoders.
func (t *DataParallel) Free() {
	for _, r := range t.replicas {
		r.decoder.Free()
	}
	t.Policy.Free()
}

// share is the part of a batch that a policy computes.
type share struct {
	policy *Policy
	batch  *rl.Batch
	index  []int // of its samples, in the whole batch
}

// shares divides a batch by its prompts into parts with about as many of them.
func (t *DataParallel) shares(b *rl.Batch) []share {
	policies := append([]*Policy{t.Policy}, t.replicas...)
	parts := make([]share, 0, len(policies))
	for i, p := range policies {
		from, to := i*len(b.Prompts)/len(policies), (i+1)*len(b.Prompts)/len(policies)
		s := share{policy: p, batch: &rl.Batch{Prompts: b.Prompts[from:to], Temperature: b.Temperature}}
		for k := range b.Samples {
			if x := b.Samples[k]; from <= x.Prompt && x.Prompt < to {
				x.Prompt -= from
				s.batch.Samples = append(s.batch.Samples, x)
				s.index = append(s.index, k)
			}
		}
		parts = append(parts, s)
	}
	return parts
}

// together calls f for every share at once, and returns the error of the first of
// them that fails, which names samples by their place in the whole batch.
func together(parts []share, f func(i int, s share) error) error {
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, s := range parts {
		wg.Go(func() { errs[i] = f(i, s) })
	}
	wg.Wait()
	for i, err := range errs {
		if e, ok := errors.AsType[*rl.SampleError](err); ok {
			return &rl.SampleError{From: parts[i].index[e.From], To: parts[i].index[e.To-1] + 1, Err: e.Err}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// LogProbs implements rl.LogProber, as Policy does. Errors name samples by their
// place in the batch; after one of a backend, or the context's, the accumulated gradients
// of all backends are cleared.
func (t *DataParallel) LogProbs(ctx context.Context, b *rl.Batch, dst [][]float64) error {
	if err := t.check(b); err != nil || len(dst) != len(b.Samples) {
		return t.Policy.LogProbs(ctx, b, dst) // which says what is wrong
	}
	err := together(t.shares(b), func(_ int, s share) error {
		own := make([][]float64, len(s.index))
		for i, k := range s.index {
			own[i] = dst[k]
		}
		return s.policy.LogProbs(ctx, s.batch, own)
	})
	if err != nil {
		t.dropGradients() // a backend may have lost its part
	}
	return err
}

// TopLogProbs implements rl.TopLogProber on the first backend. After an error of it the
// accumulated gradients of all are cleared.
func (t *DataParallel) TopLogProbs(ctx context.Context, b *rl.Batch, k int, dst []rl.Top) error {
	return t.dropAfter(t.Policy.TopLogProbs(ctx, b, k, dst))
}

// CandidateLogProbs implements rl.CandidateProber, as TopLogProbs its interface.
func (t *DataParallel) CandidateLogProbs(ctx context.Context, b *rl.Batch, k int, dst []rl.Top) error {
	return t.dropAfter(t.Policy.CandidateLogProbs(ctx, b, k, dst))
}

// dropAfter returns err, and clears the gradients if it is of the first backend.
func (t *DataParallel) dropAfter(err error) error {
	if err != nil && tensor.Err(t.decoder.Backend()) != nil {
		t.dropGradients()
	}
	return err
}

// ForwardBackward implements rl.Policy. The objective is evaluated on one sample at a
// time, in the order of the batch within each backend's part. After an error the
// accumulated gradients of all backends are cleared.
func (t *DataParallel) ForwardBackward(ctx context.Context, b *rl.Batch, o objective.Objective) (loss float64, m objective.Metrics, err error) {
	if err := cmp.Or(t.check(b), checkCandidates(b, o.Needs())); err != nil {
		t.dropGradients()
		return 0, nil, err
	}
	b.Prepare(o.Needs()) // so that the parts share the slices of the whole
	parts := t.shares(b)
	losses, metrics := make([]float64, len(parts)), make([]objective.Metrics, len(parts))
	one := &oneAtATime{Objective: o}
	err = together(parts, func(i int, s share) (err error) {
		losses[i], metrics[i], err = s.policy.ForwardBackward(ctx, s.batch, one)
		return err
	})
	if err != nil {
		t.dropGradients()
		return 0, nil, err
	}
	m = objective.Metrics{}
	for i := range parts {
		loss += losses[i]
		m.Merge(metrics[i])
	}
	return loss, m, nil
}

// oneAtATime evaluates an objective on one goroutine at a time.
type oneAtATime struct {
	objective.Objective
	mu sync.Mutex
}

func (o *oneAtATime) Eval(s *objective.Sequence, m objective.Metrics) (float64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Objective.Eval(s, m)
}

// OptimStep implements rl.Policy, as Policy does, with the sum of all gradients.
func (t *DataParallel) OptimStep(ctx context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	if err := ctx.Err(); err != nil {
		t.dropGradients()
		return rl.OptimInfo{}, err
	}
	if err := t.reduce(); err != nil {
		t.dropGradients()
		return rl.OptimInfo{}, fmt.Errorf("local: sum of gradients: %w", err)
	}
	info, err := t.Policy.OptimStep(ctx, o)
	if err == nil && !info.Skipped {
		err = t.broadcast(true)
	}
	for _, r := range t.replicas {
		r.zeroGrad()
	}
	if err != nil {
		t.dropGradients()
		return rl.OptimInfo{}, err
	}
	return info, nil
}

// Load restores a checkpoint, as Policy does, on all backends.
func (t *DataParallel) Load(ctx context.Context, ref string) error {
	if err := t.Policy.Load(ctx, ref); err != nil {
		return err
	}
	for _, r := range t.replicas {
		r.dropGradient()
	}
	return t.broadcast(true)
}

func (t *DataParallel) dropGradients() {
	t.Policy.dropGradient()
	for _, r := range t.replicas {
		r.dropGradient()
	}
}

// reduce makes the first policy's gradient the sum of all.
func (t *DataParallel) reduce() error {
	return t.blocks(true, func(param, from, to int) error {
		policies := append([]*Policy{t.Policy}, t.replicas...)
		errs := make([]error, len(policies))
		var wg sync.WaitGroup
		for i, p := range policies {
			wg.Go(func() {
				b := p.decoder.Backend()
				t.host[i] = sized(t.host[i], to-from)
				errs[i] = b.Read(t.host[i], b.Slice(p.params[param].Grad, from, to))
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		sum := t.host[0]
		for _, part := range t.host[1:] {
			for i, v := range part {
				sum[i] += v
			}
		}
		b := t.decoder.Backend()
		b.Write(b.Slice(t.params[param].Grad, from, to), sum)
		return nil
	})
}

// broadcast gives the replicas the first policy's weights, or only those trained.
func (t *DataParallel) broadcast(trained bool) error {
	err := t.blocks(trained, func(param, from, to int) error {
		t.host[0] = sized(t.host[0], to-from)
		b := t.decoder.Backend()
		if err := b.Read(t.host[0], b.Slice(t.params[param].Value, from, to)); err != nil {
			return err
		}
		var wg sync.WaitGroup
		for _, r := range t.replicas {
			wg.Go(func() {
				b := r.decoder.Backend()
				b.Write(b.Slice(r.params[param].Value, from, to), t.host[0])
			})
		}
		wg.Wait()
		return nil
	})
	for _, r := range t.replicas {
		err = errors.Join(err, r.decoder.Backend().Sync())
	}
	if err != nil {
		return fmt.Errorf("local: weights of the replicas: %w", err)
	}
	return nil
}

// blocks calls f for all parts of the parameters, or of those that are trained.
func (t *DataParallel) blocks(trained bool, f func(param, from, to int) error) error {
	for i, p := range t.params {
		if trained && p.Grad == nil {
			continue
		}
		for from := 0; from < p.Len(); from += exchangeBlock {
			if err := f(i, from, min(from+exchangeBlock, p.Len())); err != nil {
				return err
			}
		}
	}
	return nil
}
