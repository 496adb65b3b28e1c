package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Loop is the Training of steps that depend on their number alone, such as those of
// rl.Imitation and distill.Fit: weights and number are all that it takes to continue bit
// for bit. The fields must not change between steps.
//
//	loop := &checkpoint.Loop{Weights: policy, Step: imitation.Step, Total: imitation.Steps}
//	found, err := store.Resume(ctx, loop)
//	err = loop.Run(ctx, 50, store.Save)
//
// With a stage of package rl/run, Resume and Save are the stage's.
type Loop struct {
	// Weights are what the steps train: an rl.Policy, or a student of package distill.
	Weights interface {
		Save(ctx context.Context, name string) (ref string, err error)
		Load(ctx context.Context, ref string) error
	}
	// Step takes training step i, counted from 0, and returns its metrics.
	Step func(ctx context.Context, i int) (map[string]float64, error)
	// Total is the number of training steps.
	Total int

	done    int
	saved   int // done, when Run saved last, or of Restore
	metrics map[string]float64
	unsaved bool // steps were taken since Run saved last
	midway  bool // a step, or Restore, has begun and not ended
}

var errMidway = errors.New("the last training step or Restore of the loop ended midway, and the weights may be half of two states: restore an earlier one")

var _ Training = (*Loop)(nil)

// Run takes the training steps that are left, until ctx is done. It calls save after every
// so many steps (0: never), and after the last one; a save that failed is tried again by
// the next Run. It does not save when it is interrupted, so the steps since the last save,
// up to every of them, are taken again then, as the error says; with 0 all of them are.
// After a step or a Restore that failed, Run is an error until a Restore succeeds.
func (l *Loop) Run(ctx context.Context, every int, save func(context.Context, Training) error) error {
	if l.midway {
		return errMidway
	}
	for {
		if l.unsaved && (l.done >= l.Total || every > 0 && l.done%every == 0) {
			if err := save(ctx, l); err != nil {
				return l.stopped(ctx, err)
			}
			l.saved, l.unsaved = l.done, false
		}
		if l.done >= l.Total {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return l.stopped(ctx, err)
		}
		l.midway = true
		m, err := l.Step(ctx, l.done)
		if err != nil {
			return l.stopped(ctx, err)
		}
		l.done, l.metrics, l.unsaved, l.midway = l.done+1, m, true, false
	}
}

// stopped adds to the error of a Run that ctx has ended how far it came and where it will
// go on.
func (l *Loop) stopped(ctx context.Context, err error) error {
	if ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("checkpoint: stopped after step %d of %d; resumed, the loop goes on after step %d: %w", l.done, l.Total, l.saved, err)
}

// Steps is the number of training steps done.
func (l *Loop) Steps() int64 { return int64(l.done) }

// Metrics returns those of the last training step; nil before the first and after Restore.
func (l *Loop) Metrics() map[string]float64 { return l.metrics }

// loopState is what Save returns as JSON.
type loopState struct {
	Policy string `json:"policy"`
	Done   *int   `json:"done"`
}

// Save stores the weights under name and returns the state of the loop. After a step that
// failed it is an error, because the weights may be those of half a step.
func (l *Loop) Save(ctx context.Context, name string) ([]byte, error) {
	if l.midway {
		return nil, errMidway
	}
	ref, err := l.Weights.Save(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("saving the weights: %w", err)
	}
	return json.Marshal(loopState{ref, &l.done})
}

// Restore goes back to a state that Save returned. It is an error if that has taken more
// steps than Total.
func (l *Loop) Restore(ctx context.Context, saved []byte) error {
	var s loopState
	if err := json.Unmarshal(saved, &s); err != nil {
		return fmt.Errorf("state of a loop: %w", err)
	}
	switch {
	case s.Done == nil:
		return errors.New("state of a loop: it has no field done: another training saved it")
	case *s.Done < 0 || *s.Done > l.Total:
		return fmt.Errorf("state of a loop: it has taken %d steps, want 0 to Loop.Total, %d", *s.Done, l.Total)
	}
	l.midway = true
	if err := l.Weights.Load(ctx, s.Policy); err != nil {
		return fmt.Errorf("loading the weights: %w", err)
	}
	l.done, l.saved, l.metrics, l.unsaved, l.midway = *s.Done, *s.Done, nil, false, false
	return nil
}
