package local

import (
	"context"
	"errors"
	"fmt"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/local/internal/checkpoint"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/rl"
)

// StudentConfig describes a student.
type StudentConfig struct {
	// Encoder is the classifier; the student changes its weights.
	Encoder *model.Encoder
	// Optimizer holds AdamW's settings; the zero value means
	// optim.DefaultConfig.
	Optimizer optim.Config
	// MaxRows bounds the rows (tokens) of a micro-batch; 0 means 4096. A
	// longer input is computed alone.
	MaxRows int
	// Dir is the directory in which Save makes its checkpoints; it is made
	// if need be. Without it Save is an error.
	Dir string
}

// Student is an encoder in this process with its optimiser. It implements
// distill.Student; one goroutine uses it, and its encoder, at a time.
//
// After an error of Logits, Backward or OptimStep there is no accumulated gradient
// and nothing to call Backward for, so that no later step holds half a batch.
type Student struct {
	encoder *model.Encoder
	opt     *optim.AdamW
	maxRows int
	dir     string
	version int64

	// What the next Backward is about: the inputs of the last training
	// Logits, and whether the encoder still holds their activations.
	inputs  [][]int32
	trained bool
	kept    bool

	// Of the micro-batch at hand, reused for the next.
	pack   model.Pack
	values []float32
}

var _ distill.Student = (*Student)(nil)

// NewStudent returns a student at version 0. An error names the setting that is wrong.
func NewStudent(c StudentConfig) (*Student, error) {
	if c.Encoder == nil {
		return nil, errors.New("local: StudentConfig.Encoder is nil")
	}
	if c.MaxRows < 0 {
		return nil, fmt.Errorf("local: StudentConfig.MaxRows is %d, want 0 (for %d) or more", c.MaxRows, defaultRows)
	}
	if c.MaxRows == 0 {
		c.MaxRows = defaultRows
	}
	if c.Optimizer == (optim.Config{}) {
		c.Optimizer = optim.DefaultConfig()
	}
	opt, err := optim.NewAdamW(c.Encoder.Backend(), c.Encoder.Params(), c.Optimizer)
	if err != nil {
		return nil, fmt.Errorf("local: StudentConfig.Optimizer: %w", err)
	}
	opt.ZeroGrad()
	return &Student{encoder: c.Encoder, opt: opt, maxRows: c.MaxRows, dir: c.Dir}, nil
}

// Encoder returns the encoder that the student trains.
func (s *Student) Encoder() *model.Encoder { return s.encoder }

// Version counts the optimiser steps taken.
func (s *Student) Version() int64 { return s.version }

// Free releases the optimiser's memory, but not the encoder.
func (s *Student) Free() { s.opt.Free() }

// Step implements distill.Student. A gradient that is not finite is dropped,
// and the version stays.
func (s *Student) OptimStep(ctx context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	s.trained, s.kept = false, false
	if err := ctx.Err(); err != nil {
		s.clear()
		return rl.OptimInfo{}, err
	}
	info, err := s.opt.Step(o.LR, o.MaxNorm)
	if err != nil {
		s.clear()
		return rl.OptimInfo{}, fmt.Errorf("local: %w", err)
	}
	s.opt.ZeroGrad()
	if !info.Skipped {
		s.version++
	}
	return rl.OptimInfo{Version: s.version, GradNorm: info.GradNorm, Skipped: info.Skipped}, nil
}

// clear forgets the accumulated gradient and the last training Logits. A
// sticky error of the backend, which was returned, must go first, because it
// would prevent that.
func (s *Student) clear() {
	s.trained, s.kept = false, false
	_ = s.encoder.Backend().Sync()
	s.opt.ZeroGrad()
}

// Save writes the checkpoint Dir/name: the encoder as model.Encoder.Save
// writes it, the optimiser's state, and the version with checksums of it all.
// It appears whole or not at all, and replaces one of the same name. The
// reference is its path. A name that is no plain file name is an error.
func (s *Student) Save(ctx context.Context, name string) (ref string, err error) {
	if ref, err = s.training().Save(ctx, s.dir, name, s.version); err != nil {
		return "", fmt.Errorf("local: %w", err)
	}
	return ref, nil
}

// Load restores the checkpoint at the path that Save returned, of an encoder
// of the same configuration, and clears the accumulated gradient. A missing or
// damaged file, and a field or tensor that does not fit, are errors that name
// it; the student is then as it was.
func (s *Student) Load(ctx context.Context, ref string) error {
	version, err := s.training().Load(ctx, ref)
	if err != nil {
		return fmt.Errorf("local: %w", err)
	}
	s.version, s.trained, s.kept = version, false, false
	return nil
}

func (s *Student) training() *checkpoint.Training[model.EncoderConfig] {
	return &checkpoint.Training[model.EncoderConfig]{Model: s.encoder, ReadConfig: model.ReadEncoderConfig, Optimizer: s.opt}
}
