package rl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// Recorder receives a trainer's metrics: one flat map per step.
type Recorder interface {
	Record(step int64, metrics map[string]float64) error
}

// RecorderFunc makes a Recorder of a function.
type RecorderFunc func(step int64, metrics map[string]float64) error

// Record calls f.
func (f RecorderFunc) Record(step int64, metrics map[string]float64) error { return f(step, metrics) }

// Config is all that a Trainer needs. Policy, Engine, Source, Estimator,
// Credit, Objective, Aggregation, Batching and LR are required.
type Config struct {
	Policy Policy
	Engine rollout.Engine
	Source Source
	// Reference is the frozen policy that KL terms compare with; required if
	// the objective needs objective.InputRef or RewardKL is in use.
	Reference LogProber

	Estimator advantage.Estimator
	// Credit is the step credit; sam.Outcome{} for none.
	Credit      sam.Rule
	Objective   objective.Objective
	Aggregation objective.Aggregation

	// RewardKL, if not nil, pays a KL penalty to the reference in the reward,
	// after step credit. KL in the loss is a term of Objective.
	RewardKL *objective.RewardKL
	// AdaptiveKL, if not nil, decides RewardKL.Beta; every step moves it.
	AdaptiveKL *objective.AdaptiveKL

	Batching Batching
	// Dynamic replaces dead groups by further sampling; the zero value does
	// not.
	Dynamic DynamicSampling
	// LR is the learning rate of each optimiser step, counted from 0.
	LR func(step int64) float64
	// MaxNorm clips the global gradient norm; 0 = no clipping.
	MaxNorm float64
	// Steps is the number of collections after which Run ends; 0 = when the
	// source does.
	Steps int64
	// Seed is the run's seed; with step, prompt and sample it is each
	// completion's random stream.
	Seed uint64
	// TrustRollout uses the engine's log-probs as Old instead of computing
	// them before the first of several updates. It saves a pass and turns a
	// mismatch between engine and policy into off-policy error.
	TrustRollout bool
	// MaskTruncated leaves completions that reached the length limit out of
	// the loss (overlong filtering, DAPO arXiv:2503.14476).
	MaskTruncated bool

	// Eval is called after every EvalEvery-th step; its metrics are recorded
	// with the step's under "eval/". See EvaluateProblems.
	Eval      func(ctx context.Context, step int64) (map[string]float64, error)
	EvalEvery int64
	// Checkpoint, if set, is called after every CheckpointEvery-th step;
	// usually it calls Trainer.Save.
	Checkpoint      func(ctx context.Context, t *Trainer) error
	CheckpointEvery int64
	// OnRollouts, if set, sees every collection after credit was assigned
	// and before the update. It must not change or keep it. With dynamic
	// sampling it is what is trained on; see Rollouts.Sampled for the rest.
	OnRollouts func(step int64, r *Rollouts) error

	// Recorder receives each step's metrics; nil = none.
	Recorder Recorder
	// Logger receives start-up facts and warnings; nil = none.
	Logger *slog.Logger
}

// checkSettings returns what is wrong with the settings of objective,
// estimator, credit and aggregation. Estimator and credit say so of an empty
// batch, before anything is sampled.
func (c *Config) checkSettings() (errs []error) {
	add := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("rl: Config.%s: %w", field, err))
		}
	}
	if c.Objective != nil {
		add("Objective", c.Objective.Validate())
	}
	if c.Estimator != nil {
		add("Estimator", c.Estimator.Estimate(nil))
	}
	if c.Credit != nil {
		_, err := c.Credit.Credit(nil)
		add("Credit", err)
	}
	if c.Aggregation != nil {
		add("Aggregation", c.Aggregation.Validate())
	}
	return errs
}

func (c *Config) validate() error {
	var errs []error
	for _, f := range []struct {
		name    string
		missing bool
	}{
		{"Policy", c.Policy == nil}, {"Engine", c.Engine == nil}, {"Source", c.Source == nil},
		{"Estimator", c.Estimator == nil}, {"Credit", c.Credit == nil}, {"Objective", c.Objective == nil},
		{"Aggregation", c.Aggregation == nil}, {"LR", c.LR == nil},
	} {
		if f.missing {
			errs = append(errs, fmt.Errorf("rl: Config.%s is missing", f.name))
		}
	}
	if err := c.Batching.Validate(); err != nil {
		errs = append(errs, err)
	}
	if err := c.Dynamic.validate(); err != nil {
		errs = append(errs, err)
	}
	for _, f := range []struct {
		name string
		bad  bool
	}{
		{"MaxNorm", c.MaxNorm < 0}, {"Steps", c.Steps < 0}, {"EvalEvery", c.EvalEvery < 0}, {"CheckpointEvery", c.CheckpointEvery < 0},
	} {
		if f.bad {
			errs = append(errs, fmt.Errorf("rl: Config.%s must not be negative", f.name))
		}
	}
	switch k := c.RewardKL; {
	case k == nil && c.AdaptiveKL != nil:
		errs = append(errs, errors.New("rl: Config.AdaptiveKL needs Config.RewardKL, whose Beta it decides"))
	case k != nil && c.Reference == nil:
		errs = append(errs, errors.New("rl: Config.RewardKL needs Config.Reference"))
	case k != nil && k.Validate() != nil:
		errs = append(errs, fmt.Errorf("rl: Config.RewardKL: %w", k.Validate()))
	}
	if a := c.AdaptiveKL; a != nil {
		if err := a.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("rl: Config.AdaptiveKL: %w", err))
		} else if n := c.Batching.Prompts * c.Batching.GroupSize; float64(n) > a.Horizon {
			errs = append(errs, fmt.Errorf("rl: Config.AdaptiveKL: Horizon is %v, want at least the %d samples of a collection", a.Horizon, n))
		}
	}
	if (c.Eval != nil) != (c.EvalEvery > 0) {
		errs = append(errs, errors.New("rl: Config.Eval and Config.EvalEvery need each other"))
	}
	if (c.Checkpoint != nil) != (c.CheckpointEvery > 0) {
		errs = append(errs, errors.New("rl: Config.Checkpoint and Config.CheckpointEvery need each other"))
	}
	errs = append(errs, c.checkSettings()...)
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	needs := c.Objective.Needs()
	if needs&objective.InputRef != 0 && c.Reference == nil {
		return errors.New("rl: the objective needs reference log-probs, but Config.Reference is missing")
	}
	if s, ok := c.Policy.(Supporter); ok {
		if err := s.Supports(needs); err != nil {
			return fmt.Errorf("rl: the policy does not support the objective: %w", err)
		}
	}
	return nil
}
