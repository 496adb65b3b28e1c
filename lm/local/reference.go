package local

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// ReferenceConfig says how a Reference follows its policy.
type ReferenceConfig struct {
	// Every is the number of optimiser steps after which the policy is mixed into the
	// reference, again and again.
	Every int
	// Mix is the policy's share in that, above 0: the reference becomes
	// Mix·policy + (1−Mix)·reference. With 1 it becomes the policy, bit for bit.
	Mix float64
}

// Validate returns an error that names the first invalid setting.
func (c ReferenceConfig) Validate() error {
	switch {
	case c.Every < 1:
		return fmt.Errorf("local: ReferenceConfig.Every is %d, want at least 1; for a reference that stays, take NewLogProber of a Decoder.Clone or a LoRA.Base", c.Every)
	case !(c.Mix > 0 && c.Mix <= 1):
		return fmt.Errorf("local: ReferenceConfig.Mix is %v, want more than 0 and at most 1", c.Mix)
	}
	return nil
}

// Reference is a reference policy that follows a policy (TR-DPO, arXiv:2404.09656). It
// has weights of its own, on the policy's first backend, which Policy.OptimStep changes
// and Policy.Save and Policy.Load keep with the policy's. With small steps
// (ReferenceConfig{Every: 1, Mix: .05}) it is the moving average of the policy, and as an
// rl.Teacher's LogProber a teacher for it.
//
// Of a policy with adapters it has adapters of its own, and shares the rest until
// LoRA.Merge. A and B are mixed each, so that unless Mix is 1 their product, which is what
// they add to the weights, is not the mix of the products.
type Reference struct {
	*LogProber
	kept   kept
	c      ReferenceConfig
	policy []*tensor.Param // that kept's follow, in the same order
	spare  tensor.Buffer   // nil if nothing is mixed
	steps  int64           // of the policy, since NewReference
}

// NewReference returns a reference with the policy's present weights, which follows it
// from here on: make it when a warm-up is done, and before a checkpoint is loaded that
// holds a reference. A step that was skipped does not count. Policy.Free frees it. The
// error is c.Validate's or the backend's, such as tensor.ErrOutOfMemory, or that the
// policy has a reference already. A checkpoint with a reference also loads into a policy
// without, for an evaluation, but Policy.OptimStep is an error then.
func (t *Policy) NewReference(c ReferenceConfig) (*Reference, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if t.reference != nil {
		return nil, errors.New("local: the policy has a Reference already")
	}
	b := t.decoder.Backend()
	var d *model.Decoder
	if l := t.decoder.LoRA(); l == nil {
		d = t.decoder.Clone()
	} else {
		d = l.Base()
		own, err := d.AddLoRA(l.Config(), 0)
		if err != nil {
			d.Free()
			return nil, fmt.Errorf("local: a reference: %w", err)
		}
		d.Freeze()
		for i, p := range own.Params() {
			b.Copy(p.Value, l.Params()[i].Value)
		}
	}
	r := &Reference{LogProber: NewLogProber(d, t.maxRows), kept: decoderKept(d), c: c, policy: t.model.Params()}
	if c.Mix < 1 {
		largest := 0
		for _, p := range r.policy {
			largest = max(largest, p.Len())
		}
		r.spare = b.Alloc(min(largest, exchangeBlock))
	}
	if err := b.Sync(); err != nil {
		r.free()
		return nil, fmt.Errorf("local: a reference: %w", err)
	}
	t.reference = r
	return r, nil
}

// free releases the reference's memory.
func (r *Reference) free() {
	if r.spare != nil {
		r.decoder.Backend().Free(r.spare)
	}
	r.decoder.Free()
}

// follow counts an optimiser step of the policy, and after every so many of them mixes it
// in: r += Mix·(p − r), which leaves what is not trained as it is, bit for bit.
func (r *Reference) follow() error {
	r.steps++
	if r.steps%int64(r.c.Every) != 0 {
		return nil
	}
	b := r.decoder.Backend()
	for i, own := range r.kept.model.Params() {
		p := r.policy[i]
		if r.spare == nil {
			b.Copy(own.Value, p.Value)
			continue
		}
		for from := 0; from < p.Len(); from += r.spare.Len() {
			to := min(from+r.spare.Len(), p.Len())
			part, d := b.Slice(own.Value, from, to), b.Slice(r.spare, 0, to-from)
			b.Copy(d, b.Slice(p.Value, from, to))
			b.Axpy(d, -1, part)
			b.Axpy(part, float32(r.c.Mix), d)
		}
	}
	if err := b.Sync(); err != nil {
		return fmt.Errorf("local: the reference: %w", err)
	}
	return nil
}

// referenceDir is the folder of a checkpoint that holds the reference's model.
const referenceDir = "reference"

// files are the reference's files in a checkpoint.
func (r *Reference) files() []string {
	return []string{path.Join(referenceDir, r.kept.configFile), path.Join(referenceDir, r.kept.weightsFile)}
}

// write writes the files into a checkpoint.
func (r *Reference) write(ctx context.Context, dir string) error {
	sub := filepath.Join(dir, referenceDir)
	if err := r.kept.write(ctx, sub); err != nil {
		return err
	}
	return durable.Sync(sub)
}

// check returns an error unless a checkpoint with that state has the files of this
// reference.
func (r *Reference) check(ctx context.Context, dir string, s *state) error {
	if s.ReferenceSteps == nil {
		return fmt.Errorf("%s holds no Reference, but the policy has one: it was saved without one. Drop NewReference, or begin another run from this checkpoint and call NewReference after Load", dir)
	}
	if err := checkSums(ctx, dir, s, r.files()...); err != nil {
		return err
	}
	return r.kept.checkConfig(filepath.Join(dir, referenceDir))
}

// read reads what check has looked at.
func (r *Reference) read(dir string, s *state) error {
	if err := r.kept.read(filepath.Join(dir, referenceDir)); err != nil {
		return err
	}
	r.steps = *s.ReferenceSteps
	return nil
}
