package rl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"time"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Trainer trains a policy. Run calls Step until the end; Step calls the exported
// stages one after the other (see the package comment).
type Trainer struct {
	c      Config
	step   int64 // training steps done
	opt    int64 // optimiser steps done
	midway bool  // a training step has begun and not ended
	last   map[string]float64
	saved  int64              // the training steps of the last checkpoint, or of Restore
	warned map[string]float64 // of a metric, the share last warned about
	ruined bool               // warnRuined has warned
	whole  bool               // most completions have been whole
	log    *slog.Logger

	pending []*pending // collections that have been drawn, the next first

	// With Async:
	asked              int // samples, by the problems drawn last
	sampling           sampling
	handed             []handover // to the engine, the newest last
	drained, refreshed time.Duration
}

// NewTrainer returns a trainer, or the error of Config.Validate.
func NewTrainer(c Config) (*Trainer, error) {
	c, took := c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	t := &Trainer{c: c, log: c.Logger, warned: map[string]float64{}}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if len(took) > 0 {
		t.log.Info("defaults", "took", took)
	}
	t.log.Info("batch arithmetic", "counts", c.Batching.String())
	if d := c.Dynamic; d.Rounds > 0 {
		t.log.Info("dynamic sampling", "rounds_at_most", d.Rounds, "first_round_prompts", d.draws(c.Batching.Prompts))
	}
	if n := c.Steps * int64(c.Batching.OptimSteps()); n > 1 && c.LR.At(n-2) == 0 {
		t.log.Warn("the learning rate is 0 before the run ends: a schedule counts optimiser steps", "optimiser_steps", n)
	}
	if c.singles() {
		t.log.Warn("groups of a single completion get no advantage from this estimator: nothing is learned from outcomes", "estimator", fmt.Sprintf("%T", c.Estimator))
	}
	for _, w := range c.Teacher.warnings(c.Objective) {
		t.log.Warn(w)
	}
	if a := c.Async; a.Staleness > 0 {
		t.log.Info("sampling ahead of training", "staleness", a.Staleness, "partial", a.Partial)
		if c.CheckpointEvery == 1 && !a.Partial {
			t.log.Warn("nothing is sampled ahead of a checkpoint: with one after every training step, sampling and training never overlap")
		}
	}
	return t, nil
}

// Steps is the number of training steps done.
func (t *Trainer) Steps() int64 { return t.step }

// Metrics returns the metrics of the last training step, with those of its
// evaluation once that is done; nil before the first step and after Restore. The
// caller must not change it.
func (t *Trainer) Metrics() map[string]float64 { return t.last }

// Run takes training steps until Config.Steps steps have been taken, the source
// is exhausted, or ctx is done. A source that runs out early is only logged as a
// warning, unless it has too few problems for a single collection, which is an
// error. Config.Checkpoint is called after the last step, whatever its number. A
// step that ctx interrupts is lost, and so is a checkpoint: the run goes on from the
// one before, as the error says. To end a run on a signal with a checkpoint, call Step
// yourself, as the comment of package rl/run shows.
func (t *Trainer) Run(ctx context.Context) error {
	defer t.Stop()
	for t.c.Steps == 0 || t.step < t.c.Steps {
		_, err := t.Step(ctx)
		switch { // an engine's io.EOF is wrapped, and an error
		case err == io.EOF && t.step == 0:
			return fmt.Errorf("rl: the source has fewer problems than the %d of a single collection", t.c.Batching.Prompts)
		case err == io.EOF:
			if t.c.Steps > 0 {
				t.log.Warn("the source ended before the last training step", "steps", t.step, "of", t.c.Steps)
			}
			return t.stopped(ctx, t.checkpoint(ctx))
		case err != nil:
			return t.stopped(ctx, err)
		}
	}
	return t.stopped(ctx, t.checkpoint(ctx))
}

// stopped adds to the error of a run that ctx has ended how far it came and where it
// will go on.
func (t *Trainer) stopped(ctx context.Context, err error) error {
	if ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
		return err
	}
	goesOn := ""
	if t.c.Checkpoint != nil {
		goesOn = fmt.Sprintf("; resumed, the run goes on after step %d", t.saved)
	}
	return fmt.Errorf("rl: stopped after training step %d%s: %w", t.step, goesOn, err)
}

// checkpoint calls Config.Checkpoint, unless it was called after the last step.
func (t *Trainer) checkpoint(ctx context.Context) error {
	if t.saved == t.step || t.c.Checkpoint == nil {
		return nil
	}
	if err := t.c.Checkpoint(ctx, t); err != nil {
		return fmt.Errorf("rl: checkpoint after training step %d: %w", t.step, err)
	}
	t.saved = t.step
	return nil
}

// Step takes one training step: one collection and the updates on it. It returns
// the step's metrics, or io.EOF, having done nothing, if the source has fewer
// problems left than a collection takes. Training steps are counted from 1
// wherever their number is passed on or reported. Every step, the first included,
// publishes the policy's weights to the engine before it samples.
//
// The metrics are those of Summarize, and
//
//	credit/<step>/masked     share of the step's tokens that credit masked
//	credit/<step>/mass_kept  Σ|advantage| of its tokens after credit, by before
//	credit/fully_masked      share of completions without a kept token
//	group/live               share of live groups (Rollouts.LiveShare)
//	loss, grad_norm          means over the optimiser steps
//	optimizer_steps, skipped how many there were, and how many of them were
//	                         not taken because the gradient was not finite
//	objective/<name>         the objective's own metrics, as means
//	objective/engine_mismatch
//	                         mean |log-prob of the engine − of the policy| per
//	                         token, before any update; with Config.Reject of all
//	                         tokens, those that it rejects too
//	objective/engine_mismatch_over_01
//	                         share of tokens where that is over 0.1
//	objective/rejected       share of tokens that Config.Reject excluded
//	objective/entropy_threshold
//	                         entropy from which Config.TopEntropy keeps tokens
//	objective/kept           with Config.TopEntropy, the share of tokens that it and
//	                         Config.Credit leave in the policy loss
//	objective/entropy_coef   with Config.AdaptiveEntropy, its Coef after the optimiser
//	                         steps, as TRL has it: also while the bonus is off
//	objective/entropy_bonus_on
//	                         share of the optimiser steps that had the bonus
//	reward_kl                divergence per token, with Config.RewardKL
//	reward_kl/beta           its coefficient, with Config.AdaptiveKL
//	dynamic/…                what dynamic sampling did (see DynamicSampling)
//	async/…                  how far sampling was ahead (see Async)
//	lr                       of the last optimiser step
//	time/collect_s, time/update_s
//	eval/<name>              metrics of Config.Eval, every EvalEvery steps
//
// A training step that fails midway, because ctx is done for example, has drawn
// problems and may have changed the policy. Save then refuses until the trainer
// is restored or another step has been taken. To stop between steps, check one
// context before each step and pass Step another (context.WithoutCancel). With
// Config.Async, collections are sampled on after Step has returned; see Stop.
func (t *Trainer) Step(ctx context.Context) (map[string]float64, error) {
	if t.c.Async.Staleness > 0 {
		return t.stepAsync(ctx)
	}
	return t.train(ctx)
}

// train takes one training step.
func (t *Trainer) train(ctx context.Context) (map[string]float64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	before := t.midway
	t.midway = true
	if err := t.drawPending(ctx); err != nil {
		t.midway = before || err != io.EOF
		return nil, err
	}
	if err := t.publish(ctx); err != nil {
		return nil, err
	}
	start := time.Now()
	r, async, err := t.take(ctx)
	if err != nil {
		return nil, err
	}
	sampled := r.Sampled()
	if o, ok := t.c.Source.(Observer); ok {
		if err := o.Observe(sampled.Problems, sampled.Groups); err != nil {
			return nil, fmt.Errorf("rl: the source observing training step %d: %w", t.step+1, err)
		}
	}
	if lost := r.Failed + r.Unjudged; lost > 0 && sampled.samples() == 0 {
		return nil, fmt.Errorf("rl: all %d samples of training step %d failed or could not be judged; the first: %w", lost, t.step+1, errors.Join(r.FirstFailure, r.FirstUnjudged))
	}
	if r.Failed > 0 {
		t.log.Warn("samples failed", "step", t.step+1, "failed", r.Failed, "first", r.FirstFailure)
	}
	if r.Unjudged > 0 {
		t.log.Warn("samples dropped: they could not be judged", "step", t.step+1, "unjudged", r.Unjudged, "first", r.FirstUnjudged)
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
			return nil, fmt.Errorf("rl: OnRollouts of training step %d: %w", t.step+1, err)
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
	t.warnUnscorable(m, sampled)
	t.warnRuined(m)
	if len(sampled.Groups) > 0 {
		m["group/live"] = sampled.LiveShare(t.c.Estimator)
	}
	if r.Dynamic != nil {
		r.Dynamic.metrics(m, len(r.Groups))
	}
	maps.Copy(m, async)
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
	t.midway = false
	return m, t.finish(ctx, m)
}

// warnRuined warns once of a training step with hardly a completion that is whole, which
// looks as a run does that learns nothing: all rewards are the same.
func (t *Trainer) warnRuined(m map[string]float64) {
	const nearlyAll = .9
	ruined := max(m["truncated"], m["malformed"])
	if t.ruined || ruined < nearlyAll {
		t.whole = t.whole || ruined < .5
		return
	}
	t.ruined = true
	why := "from which a policy learns little if only whole ones count: does the engine know its end-of-text token, is MaxTokens enough, and did a warm-up teach the policy the format?"
	if t.whole {
		why = "which they were not before: training has unlearned the format. Try a lower learning rate, less entropy bonus, an outcome that asks for the format, or step credit if there is none: to it a broken step is a wrong one"
	}
	t.log.Warn("nearly all completions are truncated or malformed, "+why, "step", t.step, "truncated", m["truncated"], "malformed", m["malformed"])
}

// shape puts the KL penalty into the reward, if there is one.
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

// adapt changes the coefficient of the penalty and records its old value.
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
	q, err := request(p)
	if err == nil {
		err = t.c.checkRequest(&q)
	}
	if err != nil {
		return nil, fmt.Errorf("rl: problem %q: %w", q.ID, err)
	}
	t.asked += q.N
	return p, nil
}

// collect samples the problems of a training step, counted from 0, and with dynamic
// sampling further ones.
func (t *Trainer) collect(ctx context.Context, e rollout.Engine, problems []Problem, step int64) (*Rollouts, error) {
	stream := [2]uint64{t.c.Seed, uint64(step)}
	o := collectOptions{judges: t.c.Judges}
	if t.c.Dynamic.Rounds == 0 {
		return collect(ctx, e, problems, stream, 0, o)
	}
	var shape func(*Rollouts) error
	if f, ok := t.c.Estimator.(advantage.ShapingFolder); ok && f.FoldsShaping() {
		shape = func(r *Rollouts) error {
			_, err := t.shape(ctx, r)
			return err
		}
	}
	return collectLive(ctx, e, problems, t.next, t.c.Batching.Prompts, t.c.Estimator, shape, t.c.Dynamic, stream, o)
}

// publish hands the policy's weights to the engine, if both can.
func (t *Trainer) publish(ctx context.Context) error {
	p, ok1 := t.c.Policy.(Publisher)
	e, ok2 := t.c.Engine.(rollout.Refresher)
	async := t.c.Async.Staleness > 0
	if !ok1 || !ok2 || async && t.hasWeights() {
		return nil
	}
	start := time.Now()
	w, err := p.Publish(ctx)
	if err != nil {
		return fmt.Errorf("rl: publishing weights: %w", err)
	}
	published := time.Now()
	if async && !t.c.Async.Partial {
		if err := t.drain(ctx); err != nil {
			return err
		}
	}
	drained := time.Now()
	if err := e.Refresh(ctx, w); err != nil {
		return fmt.Errorf("rl: refreshing the engine's weights: %w", err)
	}
	if async {
		t.handOver(w.Version)
		t.drained, t.refreshed = drained.Sub(published), published.Sub(start)+time.Since(drained)
	}
	return nil
}

// update goes through the collection Epochs times in MiniBatches parts.
func (t *Trainer) update(ctx context.Context, r *Rollouts) (UpdateInfo, error) {
	chosen := objective.Metrics{}
	parts, err := t.minibatches(ctx, r, chosen)
	if err != nil {
		return UpdateInfo{}, err
	}
	total := UpdateInfo{Metrics: chosen}
	for epoch := range t.c.Batching.Epochs {
		for i, b := range parts {
			opt := OptimOptions{LR: t.c.LR.At(t.opt), MaxNorm: t.c.MaxNorm}
			info, err := Update(ctx, t.c.Policy, b, t.c.loss(), t.c.Batching.Accumulate, opt)
			if err == nil {
				err = t.adaptEntropy(info.Metrics)
			}
			if err != nil {
				return UpdateInfo{}, fmt.Errorf("rl: optimiser step %d: %w", t.opt+1, err)
			}
			t.opt++
			if epoch == 0 && i == 0 && len(t.c.Reject) == 0 { // else measured before them
				mismatch(b, info.Metrics)
			}
			total.merge(info)
		}
	}
	return total, nil
}

// adaptEntropy changes the coefficient of the entropy bonus after an optimiser step with
// metrics m, to which it adds the coefficient and whether the step had the bonus.
func (t *Trainer) adaptEntropy(m objective.Metrics) error {
	a := t.c.AdaptiveEntropy
	if a == nil || m["entropy"].Count == 0 {
		return nil
	}
	m.Add("entropy_bonus_on", oneIf(a.On), 1)
	if err := a.Update(m["entropy"].Mean()); err != nil {
		return err
	}
	m.Add("entropy_coef", a.Coef, 1)
	return nil
}

// mismatch adds the engine_mismatch metrics to m. b is the first batch of a
// collection and has been through its forward pass, so that its LogP are those of
// the policy that the engine should have sampled from.
func mismatch(b *Batch, m objective.Metrics) {
	for i := range b.Samples {
		s := &b.Samples[i]
		for t, w := range s.Weight {
			if w != 0 && len(s.Rollout) == len(s.LogP) {
				addMismatch(m, s.LogP[t], s.Rollout[t])
			}
		}
	}
}

func addMismatch(m objective.Metrics, policy, engine float64) {
	d := math.Abs(policy - engine)
	m.Add("engine_mismatch", d, 1)
	m.Add("engine_mismatch_over_01", oneIf(d > 0.1), 1)
}

func oneIf(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}

// minibatches makes the batches, with weights fixed, and Old and Ref filled in
// before the first update changes the policy. A batch without any token that
// counts (all masked, excluded or failed) is left out. What chooses tokens adds its
// metrics to m.
func (t *Trainer) minibatches(ctx context.Context, r *Rollouts, m objective.Metrics) ([]*Batch, error) {
	n, groups := t.c.Batching.MiniBatches, len(r.Groups)
	parts := make([]*Batch, 0, n)
	for p := range n {
		from, to := p*groups/n, (p+1)*groups/n
		if from == to {
			continue // dynamic sampling found fewer groups than mini-batches
		}
		sub := r.Subset(from, to)
		b := sub.Batch()
		if t.c.Teacher != nil { // who has something to say without a reward, too
			for i := range b.Samples {
				b.Samples[i].Excluded = false
			}
		}
		if t.c.ExcludeTruncated {
			sub.each(b, func(s *Sample, _ rollout.Group, c *rollout.Completion) {
				if c.Finish == rollout.FinishLength {
					s.Include = make([]bool, len(s.Tokens))
				}
			})
		}
		if err := t.choose(ctx, b, m); err != nil {
			return nil, err
		}
		switch err := b.Weigh(t.c.Aggregation); {
		case errors.Is(err, objective.ErrNoTokens):
			t.log.Warn("a mini-batch has no token to train on, and is skipped", "step", t.step+1, "mini_batch", p)
			continue
		case err != nil:
			return nil, fmt.Errorf("rl: %w", err)
		}
		if t.c.ExcludeDeadKL {
			sub.each(b, func(s *Sample, g rollout.Group, _ *rollout.Completion) {
				if t.c.Estimator.Dead(g) != "" {
					s.KLWeight = make([]float64, len(s.Tokens))
				}
			})
		}
		if err := t.fill(ctx, b, sub.Problems); err != nil {
			return nil, err
		}
		parts = append(parts, b)
	}
	return parts, nil
}

// choose takes tokens out of b: what Config.Reject does not accept, and what
// Config.TopEntropy masks.
func (t *Trainer) choose(ctx context.Context, b *Batch, m objective.Metrics) error {
	if len(t.c.Reject) > 0 {
		if err := b.fillMissing(ctx, t.c.Policy, nil); err != nil {
			return fmt.Errorf("rl: log-probs for Config.Reject: %w", err)
		}
		for i, in := range b.layout().Include {
			for t, included := range in {
				if s := &b.Samples[i]; included {
					addMismatch(m, s.Old[t], s.Rollout[t])
				}
			}
		}
		rejected, err := b.Reject(t.c.Reject...)
		if err != nil {
			return fmt.Errorf("rl: Config.Reject: %w", err)
		}
		m.Add("rejected", rejected.Sum, rejected.Count)
	}
	if t.c.TopEntropy > 0 {
		if err := b.FillEntropy(ctx, t.c.Policy, t.c.Batching.Accumulate); err != nil {
			return fmt.Errorf("rl: entropies for Config.TopEntropy: %w", err)
		}
		threshold, err := b.MaskLowEntropy(t.c.TopEntropy)
		if err != nil {
			return fmt.Errorf("rl: Config.TopEntropy: %w", err)
		}
		m.Add("entropy_threshold", threshold, 1)
		l := b.layout()
		for i, in := range l.Include {
			for t, included := range in {
				if included {
					m.Add("kept", oneIf(l.Keep[i][t]), 1)
				}
			}
		}
	}
	return nil
}

// each calls f with every sample of b, the batch of r, and its completion.
func (r *Rollouts) each(b *Batch, f func(s *Sample, g rollout.Group, c *rollout.Completion)) {
	i := 0
	for _, g := range r.Groups {
		for k := range g {
			f(&b.Samples[i], g, &g[k])
			i++
		}
	}
}

// fill fills in Old, if there will be more than one update, and what the objective
// needs of reference, teacher and ranks.
func (t *Trainer) fill(ctx context.Context, b *Batch, problems []Problem) error {
	var old, ref LogProber
	switch {
	case t.c.Batching.OptimSteps() == 1:
		for i := range b.Samples {
			b.Samples[i].Old = nil // objectives then take LogP
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
	if t.c.Objective.Needs()&objective.InputCovRank != 0 {
		if err := b.FillCovRank(); err != nil {
			return fmt.Errorf("rl: %w", err)
		}
	}
	if t.c.Teacher == nil {
		return nil
	}
	if err := t.c.Teacher.fill(ctx, b, problems, t.c.Policy, t.c.Objective.Needs()); err != nil {
		return fmt.Errorf("rl: log-probs of the teacher: %w", err)
	}
	return nil
}

// finish does what comes after a training step: evaluation, metrics, checkpoint.
func (t *Trainer) finish(ctx context.Context, m map[string]float64) error {
	t.last = m
	if n := t.c.EvalEvery; n > 0 && t.step%n == 0 {
		if err := t.publish(ctx); err != nil {
			return err
		}
		e, err := t.c.Eval(ctx, t.step)
		if err != nil {
			return fmt.Errorf("rl: eval after training step %d: %w", t.step, err)
		}
		for k, v := range e {
			m["eval/"+k] = v
		}
	}
	if t.c.Recorder != nil {
		if err := t.c.Recorder.Record(t.step, m); err != nil {
			return fmt.Errorf("rl: recording training step %d: %w", t.step, err)
		}
	}
	if n := t.c.CheckpointEvery; n > 0 && t.step%n == 0 {
		return t.checkpoint(ctx)
	}
	return nil
}
