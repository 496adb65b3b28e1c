package rl

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/rollout"
)

// MixedEngine samples some collections from the policy and the others from another
// engine, such as one over the teacher or over completions that are given: GKD's
// mixture of on-policy and off-policy batches (Agarwal et al., arXiv:2306.13649,
// algorithm 1). The draw depends on a request's seed and training step alone, so all
// requests of a collection have the same engine, and a resumed run draws the same.
//
// It is for objectives that do not need old log-probs (ForwardKL, ReverseKL, JSD). The
// others take all samples for the policy's, and are refused unless they correct for who
// sampled (objective.Corrected). On a collection that is not the policy's, metric
// objective/engine_mismatch is the distance to whoever sampled it, and rewards, steps and
// what an [Observer] sees are theirs; EvaluateProblems samples from the policy alone. With
// Async it is refused.
type MixedEngine struct {
	// Policy samples from the policy, and gets its new weights.
	Policy rollout.Engine
	// Given samples the other collections. It has the policy's tokenizer.
	Given rollout.Engine
	// Lambda is the share of collections that the policy samples, from 0 to 1.
	Lambda float64
}

// Validate returns an error that names the first invalid field.
func (e *MixedEngine) Validate() error {
	switch {
	case e.Policy == nil || e.Given == nil:
		return errors.New("rl: MixedEngine needs both Policy and Given")
	case !(e.Lambda >= 0 && e.Lambda <= 1):
		return fmt.Errorf("rl: MixedEngine.Lambda is %v, want 0 to 1", e.Lambda)
	}
	return nil
}

// Generate implements rollout.Engine.
func (e *MixedEngine) Generate(ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if len(reqs) == 0 {
		return ctx.Err()
	}
	for i := range reqs {
		if a, b := reqs[i].Stream, reqs[0].Stream; a[0] != b[0] || a[1] != b[1] {
			return fmt.Errorf("rl: MixedEngine: request %d is of another collection than request 0", i)
		}
	}
	return e.of(reqs[0].Stream).Generate(ctx, reqs, emit)
}

// of returns the engine of a collection.
func (e *MixedEngine) of(stream [3]uint64) rollout.Engine {
	if rand.New(rand.NewPCG(stream[0], ^stream[1])).Float64() < e.Lambda {
		return e.Policy
	}
	return e.Given
}

// Check implements rollout.Checker: a request must suit both engines.
func (e *MixedEngine) Check(r *rollout.Request) error {
	if err := e.Validate(); err != nil {
		return err
	}
	for _, of := range []struct {
		engine rollout.Engine
		name   string
	}{{e.Policy, "Policy"}, {e.Given, "Given (which must have the policy's tokenizer)"}} {
		if c, ok := of.engine.(rollout.Checker); ok {
			if err := c.Check(r); err != nil {
				return fmt.Errorf("rl: MixedEngine.%s: %w", of.name, err)
			}
		}
	}
	return nil
}

// Refresh implements rollout.Refresher: the weights are for Policy. It is an error if
// that is no Refresher.
func (e *MixedEngine) Refresh(ctx context.Context, w rollout.Weights) error {
	r, ok := e.Policy.(rollout.Refresher)
	if !ok {
		return fmt.Errorf("rl: MixedEngine.Policy (%T) is no rollout.Refresher, so it would never get the trained weights", e.Policy)
	}
	return r.Refresh(ctx, w)
}
