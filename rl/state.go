package rl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// state is what Save returns as JSON.
type state struct {
	Format int    `json:"format"`
	Step   int64  `json:"step"`
	Opt    int64  `json:"optimiser_step"`
	Seed   uint64 `json:"seed"`
	Policy string `json:"policy"`
	Source []byte `json:"source"`
	// Beta is AdaptiveKL's, if there is one.
	Beta *float64 `json:"adaptive_kl_beta,omitempty"`
	// Entropy is the changing part of AdaptiveEntropy, if there is one.
	Entropy *entropyState `json:"adaptive_entropy,omitempty"`
}

type entropyState struct {
	Coef float64 `json:"coef"`
	On   bool    `json:"on"`
}

const stateFormat = 2

// ErrMidway is returned by Trainer.Save after a Step that failed midway.
var ErrMidway = errors.New("rl: the last training step ended midway; a state saved now would lose its problems")

// Save stores the policy under name and returns the state of the whole trainer, a
// small JSON object, for the caller to keep; package rl/checkpoint keeps it in
// files. A trainer with the same configuration that restores it continues bit for
// bit, if policy, engine and source do (with Config.Async, see there). The source's
// position is that after the last problem trained on, or, after io.EOF, its end, where
// problems too few for a collection are left behind. After a Step that failed midway
// Save returns ErrMidway.
func (t *Trainer) Save(ctx context.Context, name string) ([]byte, error) {
	if t.midway {
		return nil, ErrMidway
	}
	ref, err := t.c.Policy.Save(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("rl: saving the policy: %w", err)
	}
	var src []byte
	if len(t.pending) > 0 {
		src = t.pending[0].source
	} else if src, err = t.c.Source.State(); err != nil {
		return nil, fmt.Errorf("rl: the source's state: %w", err)
	}
	s := state{Format: stateFormat, Step: t.step, Opt: t.opt, Seed: t.c.Seed, Policy: ref, Source: src}
	if t.c.AdaptiveKL != nil {
		s.Beta = &t.c.AdaptiveKL.Beta
	}
	if a := t.c.AdaptiveEntropy; a != nil {
		s.Entropy = &entropyState{a.Coef, a.On}
	}
	return json.Marshal(s)
}

// Restore goes back to a state that Save returned. It is an error if the trainer has
// another seed or problems than the one that was saved, or only one of the two has
// AdaptiveKL or AdaptiveEntropy: it would not be the same run.
//
// After an error of the source or the policy Save refuses, because one of them may
// have been restored and the other not.
func (t *Trainer) Restore(ctx context.Context, saved []byte) error {
	var s state
	if err := json.Unmarshal(saved, &s); err != nil {
		return fmt.Errorf("rl: trainer state: %w", err)
	}
	if err := t.checkState(&s); err != nil {
		return fmt.Errorf("rl: trainer state: %w", err)
	}
	t.midway = true
	t.Stop()
	t.pending = nil
	if err := t.c.Source.Restore(s.Source); err != nil {
		return fmt.Errorf("rl: restoring the source: %w", err)
	}
	if err := t.c.Policy.Load(ctx, s.Policy); err != nil {
		return fmt.Errorf("rl: loading the policy: %w", err)
	}
	t.step, t.opt, t.last, t.midway, t.saved = s.Step, s.Opt, nil, false, s.Step
	if t.c.AdaptiveKL != nil {
		t.c.AdaptiveKL.Beta = *s.Beta
	}
	if a := t.c.AdaptiveEntropy; a != nil {
		a.Coef, a.On = s.Entropy.Coef, s.Entropy.On
	}
	return nil
}

// checkState returns an error unless the state is one of this trainer's.
func (t *Trainer) checkState(s *state) error {
	switch {
	case s.Format != stateFormat || s.Step < 0 || s.Opt < 0:
		return fmt.Errorf("it has format %d, step %d, optimiser step %d; want format %d and no negative steps", s.Format, s.Step, s.Opt, stateFormat)
	case s.Seed != t.c.Seed:
		return fmt.Errorf("it is of a run with seed %d, Config.Seed is %d", s.Seed, t.c.Seed)
	case s.Beta == nil && t.c.AdaptiveKL != nil:
		return errors.New("it has no adaptive_kl_beta, but Config.AdaptiveKL is set")
	case s.Beta != nil && t.c.AdaptiveKL == nil:
		return fmt.Errorf("it has adaptive_kl_beta %v, but Config.AdaptiveKL is not set", *s.Beta)
	case s.Beta != nil && !(*s.Beta > 0 && *s.Beta <= math.MaxFloat64):
		return fmt.Errorf("adaptive_kl_beta is %v, want a positive number", *s.Beta)
	case s.Entropy == nil && t.c.AdaptiveEntropy != nil:
		return errors.New("it has no adaptive_entropy, but Config.AdaptiveEntropy is set")
	case s.Entropy != nil && t.c.AdaptiveEntropy == nil:
		return errors.New("it has adaptive_entropy, but Config.AdaptiveEntropy is not set")
	case s.Entropy != nil && !(s.Entropy.Coef >= t.c.AdaptiveEntropy.Min && s.Entropy.Coef <= t.c.AdaptiveEntropy.Max):
		return fmt.Errorf("adaptive_entropy.coef is %v, want %v to %v, as Config.AdaptiveEntropy says", s.Entropy.Coef, t.c.AdaptiveEntropy.Min, t.c.AdaptiveEntropy.Max)
	}
	return nil
}

// PolicyRef returns the field "policy" of a state of Trainer.Save: the reference
// that Policy.Save returned.
func PolicyRef(saved []byte) (string, error) {
	var s struct {
		Policy *string `json:"policy"`
	}
	if err := json.Unmarshal(saved, &s); err != nil {
		return "", fmt.Errorf("rl: trainer state: %w", err)
	}
	if s.Policy == nil {
		return "", errors.New("rl: trainer state has no field policy")
	}
	return *s.Policy, nil
}

// WithPolicyRef returns the state with another reference to the policy, for
// files that were moved. Everything else stays as it is.
func WithPolicyRef(saved []byte, ref string) ([]byte, error) {
	if _, err := PolicyRef(saved); err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(saved, &fields); err != nil {
		return nil, fmt.Errorf("rl: trainer state: %w", err)
	}
	text, err := json.Marshal(ref)
	if err != nil {
		return nil, fmt.Errorf("rl: trainer state: %w", err)
	}
	fields["policy"] = text
	return json.Marshal(fields)
}
