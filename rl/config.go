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
	Credit      sam.Credit
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
	LR Schedule
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

// Validate returns an error that names every field that is missing or invalid,
// before anything is sampled. If the source is a [Lister], its first problems are
// asked for their requests, which must fit Batching and the engine.
func (c *Config) Validate() error {
	var errs []error
	add := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("rl: Config.%s: %w", field, err))
		}
	}
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
	if c.Estimator != nil {
		add("Estimator", c.Estimator.Validate())
	}
	if c.Credit != nil {
		add("Credit", c.Credit.Validate())
	}
	if c.Objective != nil {
		add("Objective", c.Objective.Validate())
	}
	if c.Aggregation != nil {
		add("Aggregation", c.Aggregation.Validate())
	}
	if c.LR != nil {
		add("LR", c.LR.Validate())
	}
	if !(c.MaxNorm >= 0) {
		errs = append(errs, fmt.Errorf("rl: Config.MaxNorm is %v, want 0 (no clipping) or a positive number", c.MaxNorm))
	}
	for _, f := range []struct {
		name string
		v    int64
	}{{"Steps", c.Steps}, {"EvalEvery", c.EvalEvery}, {"CheckpointEvery", c.CheckpointEvery}} {
		if f.v < 0 {
			errs = append(errs, fmt.Errorf("rl: Config.%s is %d, must not be negative", f.name, f.v))
		}
	}
	errs = append(errs, c.Batching.Validate(), c.Dynamic.Validate(), c.validateKL())
	if (c.Eval != nil) != (c.EvalEvery > 0) {
		errs = append(errs, errors.New("rl: Config.Eval and Config.EvalEvery need each other"))
	}
	if (c.Checkpoint != nil) != (c.CheckpointEvery > 0) {
		errs = append(errs, errors.New("rl: Config.Checkpoint and Config.CheckpointEvery need each other"))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return errors.Join(c.validateNeeds(), c.validateRequests())
}

// validateKL checks the KL penalty in the reward.
func (c *Config) validateKL() error {
	switch k, a := c.RewardKL, c.AdaptiveKL; {
	case k == nil && a != nil:
		return errors.New("rl: Config.AdaptiveKL needs Config.RewardKL, whose Beta it decides")
	case k == nil:
		return nil
	case c.Reference == nil:
		return errors.New("rl: Config.RewardKL needs Config.Reference")
	case k.Validate() != nil:
		return fmt.Errorf("rl: Config.RewardKL: %w", k.Validate())
	case a != nil && a.Validate() != nil:
		return fmt.Errorf("rl: Config.AdaptiveKL: %w", a.Validate())
	case a != nil:
		return c.checkHorizon(c.Batching.GroupSize)
	}
	return nil
}

// checkHorizon returns an error unless a collection with groups of that size, 0
// for unknown, is within the horizon of AdaptiveKL.
func (c *Config) checkHorizon(group int) error {
	if n := c.Batching.Prompts * group; float64(n) > c.AdaptiveKL.Horizon {
		return fmt.Errorf("rl: Config.AdaptiveKL: Horizon is %v, want at least the %d samples of a collection", c.AdaptiveKL.Horizon, n)
	}
	return nil
}

// validateNeeds checks that the objective gets what it reads.
func (c *Config) validateNeeds() error {
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

// listed is how many of a Lister's problems are looked at.
const listed = 1000

// validateRequests checks the requests of problems that are known beforehand.
func (c *Config) validateRequests() error {
	l, ok := c.Source.(Lister)
	if !ok {
		return nil
	}
	problems := l.List()
	largest := 0
	for i, p := range problems[:min(len(problems), listed)] {
		q := p.Request()
		largest = max(largest, q.N)
		err := q.Validate()
		if err == nil {
			err = c.checkGroup(&q)
		}
		if k, ok := c.Engine.(rollout.Checker); err == nil && ok {
			err = k.Check(&q)
		}
		if err != nil {
			return fmt.Errorf("rl: Config.Source: problem %d (%q): %w", i, q.ID, err)
		}
	}
	if c.AdaptiveKL != nil {
		return c.checkHorizon(largest)
	}
	return nil
}

// checkGroup returns an error if a problem asks for another number of
// completions than Batching.GroupSize.
func (c *Config) checkGroup(q *rollout.Request) error {
	if n := c.Batching.GroupSize; n > 0 && q.N != n {
		return fmt.Errorf("it asks for %d completions, Batching.GroupSize is %d", q.N, n)
	}
	return nil
}
