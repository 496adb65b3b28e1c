package rl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Trainer trains a policy: Run is Step until the end, and Step is the
// exported stages in a row. A trainer of one's own can call the stages itself.
type Trainer struct {
	c       Config
	step    int64 // collections done
	opt     int64 // optimiser steps done
	between bool  // a step has begun and not ended
	last    map[string]float64
	log     *slog.Logger
}

// NewTrainer checks the configuration; errors name every field that is wrong.
// It publishes the policy's weights to the engine on the first Step.
func NewTrainer(c Config) (*Trainer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Batching = c.Batching.withDefaults()
	t := &Trainer{c: c, log: c.Logger}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.log.Info("batch arithmetic", "counts", c.Batching.String())
	if d := c.Dynamic; d.Rounds > 0 {
		t.log.Info("dynamic sampling", "rounds_at_most", d.Rounds, "first_round_prompts", d.draws(c.Batching.Prompts))
	}
	return t, nil
}

// Steps is the number of collections done.
func (t *Trainer) Steps() int64 { return t.step }

// Metrics returns those of the last step, with its eval's once that is done;
// nil before the first step and after Restore. It is not to be changed.
func (t *Trainer) Metrics() map[string]float64 { return t.last }

// Run takes steps until Config.Steps are done, the source ends, or ctx does. A
// source that ends early is no error, and a warning in the log; one that has
// not enough problems for a single collection is an error. A step that ctx
// interrupts is lost (see Step); a run that is to end on a signal with a
// checkpoint calls Step itself.
func (t *Trainer) Run(ctx context.Context) error {
	for t.c.Steps == 0 || t.step < t.c.Steps {
		_, err := t.Step(ctx)
		switch {
		case errors.Is(err, io.EOF) && t.step == 0:
			return fmt.Errorf("rl: the source has not the %d problems of a single collection", t.c.Batching.Prompts)
		case errors.Is(err, io.EOF):
			if t.c.Steps > 0 {
				t.log.Warn("the source ended before the last step", "steps", t.step, "of", t.c.Steps)
			}
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// Step does one collection and its updates, and returns the step's metrics.
// It returns io.EOF, and does nothing, if the source has fewer problems left
// than a collection takes. Steps are counted from 1 wherever their number is
// passed on or reported.
//
// The metrics are those of Summarize, and
//
//	credit/<step>/masked     share of the step's tokens that credit masked
//	credit/<step>/mass_kept  Σ|advantage| of its tokens after credit, by before
//	credit/fully_masked      share of completions without a kept token
//	group/live               share of groups that the estimator gives an advantage
//	loss, grad_norm          means over the optimiser steps
//	optimizer_steps, skipped how many there were, and how many of them were
//	                         not taken, because the gradient was not finite
//	objective/<name>         the objective's own metrics, by the mean
//	objective/engine_mismatch
//	                         mean |log-prob of the engine − of the policy| per
//	                         token, before any update
//	objective/engine_mismatch_over_01
//	                         share of tokens where that is over 0.1
//	reward_kl                divergence per token, with Config.RewardKL;
//	                         reward_kl/beta its coefficient, if adaptive
//	dynamic/…                what dynamic sampling did (DynamicInfo)
//	lr                       of the last optimiser step
//	time/collect_s, time/update_s
//	eval/<name>              those of Config.Eval, after its steps
//
// A step that fails midway, as when ctx is done, has drawn problems and may have
// changed the policy, so Save refuses until the trainer is restored or a
// further step has been taken. To stop between steps, look at one context
// before each and give Step another (context.WithoutCancel).
func (t *Trainer) Step(ctx context.Context) (map[string]float64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t.between = true
	problems, err := t.draw(ctx)
	if err != nil {
		t.between = !errors.Is(err, io.EOF)
		return nil, err
	}
	if err := t.publish(ctx); err != nil {
		return nil, err
	}
	start := time.Now()
	r, err := t.collect(ctx, problems)
	if err != nil {
		return nil, err
	}
	sampled := r.Sampled()
	if o, ok := t.c.Source.(Observer); ok {
		if err := o.Observe(sampled.Problems, sampled.Groups); err != nil {
			return nil, fmt.Errorf("rl: the source observing step %d: %w", t.step+1, err)
		}
	}
	if r.Failed > 0 && sampled.samples() == 0 {
		return nil, fmt.Errorf("rl: all %d samples of step %d failed; the first: %w", r.Failed, t.step+1, r.FirstFailure)
	}
	if r.Failed > 0 {
		t.log.Warn("samples failed", "step", t.step+1, "failed", r.Failed, "first", r.FirstFailure)
	}
	collected := time.Now()
	kl, err := t.shape(ctx, r)
	if err != nil {
		return nil, err
	}
	stats, err := r.Assign(t.c.Estimator, t.c.Credit)
	if err != nil {
		return nil, err
	}
	if t.c.OnRollouts != nil {
		if err := t.c.OnRollouts(t.step+1, r); err != nil {
			return nil, err
		}
	}
	info, err := t.update(ctx, r)
	if err != nil {
		return nil, err
	}
	if info.Skipped > 0 {
		t.log.Warn("optimiser steps skipped: the gradient was not finite", "step", t.step+1, "skipped", info.Skipped)
	}
	t.step++
	m := Summarize(sampled)
	if len(sampled.Groups) > 0 {
		m["group/live"] = sampled.LiveShare(t.c.Estimator)
	}
	if r.Dynamic != nil {
		r.Dynamic.metrics(m, len(r.Groups))
	}
	creditMetrics(m, stats)
	info.metrics(m)
	if kl.Count > 0 {
		m["reward_kl"] = kl.Mean()
	}
	m["lr"] = t.c.LR.At(max(t.opt-1, 0))
	m["time/collect_s"] = collected.Sub(start).Seconds()
	m["time/update_s"] = time.Since(collected).Seconds()
	if err := t.adapt(kl, r, m); err != nil {
		return nil, err
	}
	t.between = false
	return m, t.finish(ctx, m)
}

// shape pays the KL penalty in the reward, if there is one.
func (t *Trainer) shape(ctx context.Context, r *Rollouts) (objective.Sum, error) {
	if t.c.RewardKL == nil || r.samples() == 0 {
		return objective.Sum{}, nil
	}
	k := *t.c.RewardKL
	if t.c.AdaptiveKL != nil {
		k.Beta = t.c.AdaptiveKL.Beta
	}
	return r.ShapeKL(ctx, t.c.Policy, t.c.Reference, k)
}

// adapt moves the penalty's coefficient and notes what it was.
func (t *Trainer) adapt(kl objective.Sum, r *Rollouts, m map[string]float64) error {
	if t.c.AdaptiveKL == nil || kl.Count == 0 {
		return nil
	}
	m["reward_kl/beta"] = t.c.AdaptiveKL.Beta
	if err := t.c.AdaptiveKL.Update(kl.Mean(), r.samples()); err != nil {
		return fmt.Errorf("rl: %w", err)
	}
	return nil
}

// draw takes the problems of a collection's first round of sampling.
func (t *Trainer) draw(ctx context.Context) ([]Problem, error) {
	want := t.c.Batching.Prompts
	problems, err := draw(ctx, t.next, t.c.Dynamic.draws(want))
	switch {
	case err != nil:
		return nil, err
	case len(problems) >= want:
		return problems, nil
	case len(problems) > 0:
		t.log.Info("the source ended within a collection", "problems_left", len(problems))
	}
	return nil, io.EOF
}

func (t *Trainer) next(ctx context.Context) (Problem, error) {
	p, err := t.c.Source.Next(ctx)
	if err != nil {
		return nil, err
	}
	q := p.Request()
	if err := t.c.checkGroup(&q); err != nil {
		return nil, fmt.Errorf("rl: problem %q: %w", q.ID, err)
	}
	return p, nil
}

// collect samples the problems, and with dynamic sampling further ones.
func (t *Trainer) collect(ctx context.Context, problems []Problem) (*Rollouts, error) {
	stream := [2]uint64{t.c.Seed, uint64(t.step)}
	if t.c.Dynamic.Rounds == 0 {
		return Collect(ctx, t.c.Engine, problems, stream)
	}
	var shape func(*Rollouts) error
	if f, ok := t.c.Estimator.(advantage.ShapingFolder); ok && f.FoldsShaping() {
		shape = func(r *Rollouts) error {
			_, err := t.shape(ctx, r)
			return err
		}
	}
	return collectLive(ctx, t.c.Engine, problems, t.next, t.c.Batching.Prompts, t.c.Estimator, shape, t.c.Dynamic, stream)
}

// publish hands the policy's weights to the engine, if both can.
func (t *Trainer) publish(ctx context.Context) error {
	p, ok1 := t.c.Policy.(Publisher)
	e, ok2 := t.c.Engine.(rollout.Refresher)
	if !ok1 || !ok2 {
		return nil
	}
	w, err := p.Publish(ctx)
	if err != nil {
		return fmt.Errorf("rl: publishing weights: %w", err)
	}
	if err := e.Refresh(ctx, w); err != nil {
		return fmt.Errorf("rl: refreshing the engine's weights: %w", err)
	}
	return nil
}

// update goes through the collection Epochs times in MiniBatches parts.
func (t *Trainer) update(ctx context.Context, r *Rollouts) (UpdateInfo, error) {
	parts, err := t.minibatches(ctx, r)
	if err != nil {
		return UpdateInfo{}, err
	}
	var total UpdateInfo
	for epoch := range t.c.Batching.Epochs {
		for i, b := range parts {
			lr := t.c.LR.At(t.opt)
			if !(lr >= 0) || math.IsInf(lr, 1) {
				return UpdateInfo{}, fmt.Errorf("rl: the schedule's rate of optimiser step %d is %v, want a finite number of at least 0", t.opt, lr)
			}
			info, err := Update(ctx, t.c.Policy, b, t.c.Objective, t.c.Batching.Accumulate, OptimOptions{LR: lr, MaxNorm: t.c.MaxNorm})
			if err != nil {
				return UpdateInfo{}, err
			}
			t.opt++
			if epoch == 0 && i == 0 {
				mismatch(b, info.Metrics)
			}
			total.merge(info)
		}
	}
	return total, nil
}

// mismatch adds how far the engine's log-probs are from those of the policy
// that it should have sampled from: "engine_mismatch", the mean |difference|,
// and "engine_mismatch_over_01", the share of tokens over 0.1. b has been
// through its forward pass, and nothing was updated before.
func mismatch(b *Batch, m objective.Metrics) {
	for i := range b.Samples {
		s := &b.Samples[i]
		for t, w := range s.Weight {
			if w == 0 || len(s.Rollout) != len(s.LogP) {
				continue
			}
			d := math.Abs(s.LogP[t] - s.Rollout[t])
			m.Add("engine_mismatch", d, 1)
			over := 0.0
			if d > 0.1 {
				over = 1
			}
			m.Add("engine_mismatch_over_01", over, 1)
		}
	}
}

// minibatches makes the batches with fixed weights, Old and Ref filled in
// before the first update changes the policy. One without a live token (all
// masked, truncated or failed) is left out.
func (t *Trainer) minibatches(ctx context.Context, r *Rollouts) ([]*Batch, error) {
	n, groups := t.c.Batching.MiniBatches, len(r.Groups)
	parts := make([]*Batch, 0, n)
	for p := range n {
		from, to := p*groups/n, (p+1)*groups/n
		if from == to {
			continue // dynamic sampling found fewer live groups
		}
		sub := r.Subset(from, to)
		b := sub.Batch()
		switch err := b.Weigh(t.c.Aggregation, sub.Included(t.c.MaskTruncated)); {
		case errors.Is(err, objective.ErrNoTokens):
			t.log.Warn("a mini-batch has no token to train on, and is skipped", "step", t.step+1, "mini_batch", p)
			continue
		case err != nil:
			return nil, fmt.Errorf("rl: %w", err)
		}
		if err := t.fill(ctx, b); err != nil {
			return nil, err
		}
		parts = append(parts, b)
	}
	return parts, nil
}

// fill fills in Old, if there will be more than one update, and Ref, if the
// objective needs it.
func (t *Trainer) fill(ctx context.Context, b *Batch) error {
	var old, ref LogProber
	switch {
	case t.c.Batching.OptimSteps() == 1:
		for i := range b.Samples {
			b.Samples[i].Old = nil // those of the update itself stand in
		}
	case t.c.TrustRollout:
		for i := range b.Samples {
			b.Samples[i].Old = b.Samples[i].Rollout
		}
	default:
		old = t.c.Policy
	}
	if t.c.Objective.Needs()&objective.InputRef != 0 {
		ref = t.c.Reference
	}
	if err := b.fillMissing(ctx, old, ref); err != nil {
		return fmt.Errorf("rl: log-probs before the update: %w", err)
	}
	return nil
}

// finish runs what comes after a step: eval, metrics, checkpoint.
func (t *Trainer) finish(ctx context.Context, m map[string]float64) error {
	t.last = m
	if t.c.Eval != nil && t.c.EvalEvery > 0 && t.step%t.c.EvalEvery == 0 {
		if err := t.publish(ctx); err != nil {
			return err
		}
		e, err := t.c.Eval(ctx, t.step)
		if err != nil {
			return fmt.Errorf("rl: eval after step %d: %w", t.step, err)
		}
		for k, v := range e {
			m["eval/"+k] = v
		}
	}
	if t.c.Recorder != nil {
		if err := t.c.Recorder.Record(t.step, m); err != nil {
			return fmt.Errorf("rl: recording step %d: %w", t.step, err)
		}
	}
	if t.c.Checkpoint != nil && t.c.CheckpointEvery > 0 && t.step%t.c.CheckpointEvery == 0 {
		if err := t.c.Checkpoint(ctx, t); err != nil {
			return fmt.Errorf("rl: checkpoint after step %d: %w", t.step, err)
		}
	}
	return nil
}
