package rl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Async lets the engine sample the collections of later training steps while the
// policy is trained. The zero value is off: every collection is sampled with the
// weights that are then trained.
//
// The staleness of a completion is the number of training steps between the weights
// that sampled its first token and those that are trained on it. The bound is kept by
// waiting, on both sides: collection k is not begun before the engine has the weights
// of training step k−Staleness, and training step k begins when the last sample of
// collection k has ended. So collections keep their order, and long completions are not
// left out in favour of short ones. (AReaL, arXiv:2505.24298, has the same bound on
// what may be begun, but trains on what ends first.)
//
// Stale samples are off-policy. NewTrainer wants the objective to correct them by
// importance weights (objective.Corrected, which can also drop what is too far off
// and counts it, or objective.FromRollout), or TrustRollout with several optimiser
// steps. objective.Gated around it leaves out mistakes that the policy has moved away
// from. A completion beyond the bound, which only an engine makes that samples with
// weights that it should have replaced, is dropped and counted; it is in no group.
//
// The policy must be a [Publisher] and the engine a rollout.Concurrent: one that
// samples from the policy's own memory would see weights that are half updated. (In one
// process it is lm/local.AsyncEngine, on a backend of its own.) Each collection in flight
// judges Config.Judges completions at once, and estimator and GroupFilter are asked about
// several collections at once. Dynamic sampling is limited to one round, with Oversample
// for reserves, because later rounds would draw problems in an order that depends on time.
// An [Observer] learns from a collection when it is trained on, after those behind it have
// been drawn.
//
// # How the engine gets new weights
//
// Without Partial, the trainer waits for the samples in flight before it refreshes the
// engine. Then each collection is sampled with a single version of the weights, and
// while one is trained on, the next is sampled ("one step off"). A Staleness above 1
// would gain nothing and is an error. Servers idle while the last samples of each
// collection end. With Partial they do not: the engine takes the new weights while it
// samples, and goes on with the completions in flight, whose FirstVersion and
// LastVersion then differ.
//
// # Checkpoints, and what is reproducible
//
// A trainer that restores a state trains on exactly the problems that had not been
// trained on, in the same order and with the same random streams: Trainer.Save takes
// the source's state from before they were drawn, and what was in flight is sampled
// again. If the source is an [Observer], that state lacks what it learned since then,
// from the last Staleness collections at most, and further draws may differ.
//
// Without Partial, moreover, no collection is begun before a checkpoint that is due
// (CheckpointEvery) and trained on after it. So nothing is in flight then, and observers
// have seen everything. Collection k is sampled with the weights of training step k−1,
// or of step k at the start of a run and after such a checkpoint, whatever takes how
// long. If policy and engine are deterministic, the run is so bit for bit, and so is one
// that continues from such a checkpoint. With Partial, versions depend on how long
// things take, and the bits with them.
//
// # Metrics
//
//	async/staleness      mean over the completions that are trained on
//	async/staleness_max  the largest of them
//	async/mixed          share of them that more than one version sampled
//	async/dropped        completions dropped as beyond the bound
//	async/ready          queue length: collections that were complete, besides the
//	                     one trained on, when training began
//	async/collections    collections that were not, and
//	async/samples        samples of them that had not ended
//	async/collect_s      time from the start of the collection to its end
//	async/drain_s        time waited for samples in flight before the refresh
//	async/refresh_s      time to publish and refresh, without that
//	async/idle_s         time since the last training began in which no collection
//	                     was being sampled
//
// time/collect_s is then the time that the trainer waited for the collection, and
// objective/engine_mismatch includes what the policy has learned since it was sampled.
type Async struct {
	// Staleness is the bound, in training steps; 0 turns Async off.
	Staleness int `json:"staleness"`
	// Partial refreshes the engine while it samples, which it must allow
	// (rollout.Concurrent).
	Partial bool `json:"partial"`
}

// Validate returns an error that names the first invalid setting.
func (a Async) Validate() error {
	switch {
	case a.Staleness < 0:
		return fmt.Errorf("rl: Async.Staleness is %d, must not be negative", a.Staleness)
	case a.Staleness == 0 && a != Async{}:
		return errors.New("rl: Async has settings, but Staleness is 0, which turns it off")
	case a.Staleness > 1 && !a.Partial:
		return fmt.Errorf("rl: Async.Staleness is %d, but without Partial an engine never gets more than 1 ahead", a.Staleness)
	}
	return nil
}

// validateAsync checks that the parts allow sampling and training at once.
func (c *Config) validateAsync() error {
	a := c.Async
	if a.Staleness == 0 {
		return nil
	}
	_, publishes := c.Policy.(Publisher)
	e, concurrent := c.Engine.(rollout.Concurrent)
	f, folds := c.Estimator.(advantage.ShapingFolder)
	switch {
	case !publishes:
		return fmt.Errorf("rl: Config.Async needs a policy that is a Publisher, which %T is not", c.Policy)
	case !concurrent:
		return fmt.Errorf("rl: Config.Async needs an engine that is a rollout.Concurrent, with weights of its own, which %T is not: it cannot sample while the policy is trained", c.Engine)
	case a.Partial && !e.RefreshInFlight():
		return fmt.Errorf("rl: Config.Async.Partial needs an engine that takes new weights while it samples, which this %T does not", c.Engine)
	case !readsRollout(c.Objective) && !(c.TrustRollout && c.Batching.OptimSteps() > 1):
		return fmt.Errorf("rl: Config.Async.Staleness is %d, but the objective does not correct for stale samples: wrap it in objective.Corrected or objective.FromRollout", a.Staleness)
	case c.Dynamic.Rounds > 1:
		return fmt.Errorf("rl: Config.Async allows one round of dynamic sampling, not %d: use Dynamic.Oversample", c.Dynamic.Rounds)
	case c.Dynamic.Rounds > 0 && c.RewardKL != nil && folds && f.FoldsShaping():
		return fmt.Errorf("rl: Config.Async excludes dynamic sampling with RewardKL and %T, which needs the policy's log-probs to tell live groups", c.Estimator)
	}
	return nil
}

// pending is a collection whose problems have been drawn and that has not been
// trained on.
type pending struct {
	problems []Problem
	samples  int    // that they ask for
	source   []byte // with Async, the source's state before they were drawn

	// With Async, from the start of the sampling on. r, err and took are written
	// before done is closed.
	done   chan struct{} // nil before
	cancel context.CancelFunc
	ended  atomic.Int64 // samples
	r      *Rollouts
	err    error
	began  time.Time
	took   time.Duration
}

// complete reports whether the sampling has ended.
func (p *pending) complete() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// handover is the weights that the engine had for a training step.
type handover struct{ step, version int64 }

// sampling is what the collections in flight share with the trainer.
type sampling struct {
	mu      sync.Mutex
	abort   context.CancelFunc // of the training step in progress
	err     error              // of the first collection that failed
	running int                // collections
	since   time.Time          // running is 0 since then
	idle    time.Duration      // while running was 0, until then
}

// begin counts a collection whose sampling begins.
func (s *sampling) begin(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == 0 && !s.since.IsZero() {
		s.idle += now.Sub(s.since)
	}
	s.running++
}

// end counts one whose sampling has ended; err, if not nil, ends the training step.
func (s *sampling) end(now time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running--; s.running == 0 {
		s.since = now
	}
	if err != nil && s.err == nil {
		s.err = err
		s.abort()
	}
}

// enter begins a training step, which abort ends, and returns the error of a
// collection that has failed before.
func (s *sampling) enter(abort context.CancelFunc) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abort = abort
	return s.err
}

// failure returns the error of the first collection that has failed, and forgets it.
func (s *sampling) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.err
	s.err = nil
	return err
}

// idled returns the time without a collection in flight since it was called last.
func (s *sampling) idled(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	idle := s.idle
	if s.running == 0 && !s.since.IsZero() {
		idle += now.Sub(s.since)
		s.since = now
	}
	s.idle = 0
	return idle
}

// counted is an engine that counts the samples that have ended.
type counted struct {
	rollout.Engine
	ended *atomic.Int64
}

func (e counted) Generate(ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	return e.Engine.Generate(ctx, reqs, func(c rollout.Completion) error {
		e.ended.Add(1)
		return emit(c)
	})
}

// stepAsync is Step with Async: a failed collection ends the training step, and a
// failed training step the collections in flight.
func (t *Trainer) stepAsync(ctx context.Context) (map[string]float64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, abort := context.WithCancel(ctx)
	defer abort()
	err := t.sampling.enter(abort)
	var m map[string]float64
	if err == nil {
		m, err = t.train(ctx)
	}
	if err == nil || err == io.EOF { // not an engine's, which would be wrapped
		return m, err
	}
	if cause := t.sampling.failure(); cause != nil {
		err = cause
	}
	t.Stop()
	return nil, err
}

// Stop ends the sampling that Config.Async has begun for later training steps, and
// returns when it has ended. Their problems are not lost: the next Step samples them
// again. Run calls Stop when it ends; a loop of your own over Step must. Without
// Async there is nothing to stop.
func (t *Trainer) Stop() {
	for _, p := range t.pending {
		if p.done != nil {
			p.cancel()
		}
	}
	for _, p := range t.pending {
		if p.done != nil {
			<-p.done
		}
		p.done = nil
	}
	t.handed = nil           // the next training step hands the weights over: one that failed may have changed them
	_ = t.sampling.failure() // of what will be sampled again
}

// drawPending draws the problems of the next collection, and of those that may be
// sampled ahead of it.
func (t *Trainer) drawPending(ctx context.Context) error {
	for len(t.pending) == 0 || t.mayDraw(int64(len(t.pending))) {
		p := &pending{}
		var err error
		if t.c.Async.Staleness > 0 {
			if p.source, err = t.c.Source.State(); err != nil {
				return fmt.Errorf("rl: the source's state: %w", err)
			}
		}
		t.asked = 0
		p.problems, err = t.draw(ctx)
		p.samples = t.asked
		switch {
		case err == io.EOF && len(t.pending) > 0:
			return nil
		case err != nil:
			return err
		}
		t.pending = append(t.pending, p)
	}
	return nil
}

// mayDraw reports whether the collection that is ahead by so many training steps may
// be drawn: it is within the bound, within the run, and, without Partial, no checkpoint
// is due before it.
func (t *Trainer) mayDraw(ahead int64) bool {
	step := t.step + ahead
	if n := t.c.CheckpointEvery; n > 0 && !t.c.Async.Partial && step >= (t.step/n+1)*n {
		return false
	}
	return ahead <= int64(t.c.Async.Staleness) && (t.c.Steps == 0 || step < t.c.Steps)
}

// begin begins to sample all collections that have been drawn.
func (t *Trainer) begin(ctx context.Context) {
	for i, p := range t.pending {
		if p.done != nil {
			continue
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		step := t.step + int64(i)
		p.done, p.cancel, p.began = make(chan struct{}), cancel, time.Now()
		p.ended.Store(0)
		t.sampling.begin(p.began)
		go func() {
			defer close(p.done)
			defer cancel()
			r, err := t.collect(ctx, counted{t.c.Engine, &p.ended}, p.problems, step)
			p.r, p.err, p.took = r, err, time.Since(p.began)
			if err != nil {
				err = fmt.Errorf("rl: sampling for training step %d: %w", step+1, err)
			}
			if ctx.Err() != nil {
				err = nil // Stop
			}
			t.sampling.end(time.Now(), err)
		}()
	}
}

// drain waits for all samples in flight.
func (t *Trainer) drain(ctx context.Context) error {
	for _, p := range t.pending {
		if p.done == nil {
			continue
		}
		select {
		case <-p.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// take waits for the next collection and returns it without the completions that are
// too stale, and its metrics.
func (t *Trainer) take(ctx context.Context) (*Rollouts, map[string]float64, error) {
	if t.c.Async.Staleness == 0 {
		p := t.pending[0]
		t.pending = nil
		r, err := t.collect(ctx, t.c.Engine, p.problems, t.step)
		return r, nil, err
	}
	t.begin(ctx)
	p := t.pending[0]
	select {
	case <-p.done:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if p.err != nil {
		return nil, nil, p.err
	}
	m := map[string]float64{
		"async/collect_s": p.took.Seconds(), "async/drain_s": t.drained.Seconds(), "async/refresh_s": t.refreshed.Seconds(),
		"async/idle_s": t.sampling.idled(time.Now()).Seconds(), "async/ready": 0, "async/collections": 0, "async/samples": 0,
	}
	t.drained, t.refreshed = 0, 0
	t.pending = t.pending[1:]
	for _, q := range t.pending {
		if q.complete() {
			m["async/ready"]++
		} else {
			m["async/collections"]++
			m["async/samples"] += float64(q.samples) - float64(q.ended.Load())
		}
	}
	return p.r, m, t.dropStale(p.r, m)
}

// staleness returns how many training steps old the first token of a completion is.
func (t *Trainer) staleness(c *rollout.Completion) (int64, error) {
	for _, h := range slices.Backward(t.handed) {
		if h.version == c.FirstVersion {
			return t.step - h.step, nil
		}
	}
	oldest, newest := t.handed[0], t.handed[len(t.handed)-1]
	if c.FirstVersion > oldest.version {
		return 0, fmt.Errorf("was sampled with weights of version %d, but the engine was only given versions such as %d and %d", c.FirstVersion, oldest.version, newest.version)
	}
	return t.step - oldest.step + 1, nil // or more
}

// dropStale removes the completions that are too stale and adds the metrics of
// staleness to m.
func (t *Trainer) dropStale(r *Rollouts, m map[string]float64) error {
	var age, mixed mean
	oldest, dropped := int64(0), 0
	for g := range r.Groups {
		var failed error
		r.Groups[g] = slices.DeleteFunc(r.Groups[g], func(c rollout.Completion) bool {
			a, err := t.staleness(&c)
			if err != nil {
				failed = fmt.Errorf("rl: sample %d of %s %w", c.Index, r.name(g), err)
				return false
			}
			if a > int64(t.c.Async.Staleness) {
				dropped++
				return true
			}
			oldest = max(oldest, a)
			age.add(float64(a))
			mixed.addBool(c.FirstVersion != c.LastVersion)
			return false
		})
		if failed != nil {
			return failed
		}
	}
	m["async/dropped"] = float64(dropped)
	if age.n > 0 {
		m["async/staleness"], m["async/staleness_max"], m["async/mixed"] = age.sum/age.n, float64(oldest), mixed.sum/mixed.n
	} else if dropped > 0 {
		return fmt.Errorf("rl: all %d completions of training step %d are more than %d training steps old: the engine does not take new weights", dropped, t.step+1, t.c.Async.Staleness)
	}
	return nil
}

// handOver records that the engine has the weights of the present training step.
func (t *Trainer) handOver(version int64) {
	oldest := t.step - int64(t.c.Async.Staleness)
	t.handed = slices.DeleteFunc(t.handed, func(h handover) bool { return h.step < oldest })
	t.handed = append(t.handed, handover{t.step, version})
}

// hasWeights reports whether the engine has the weights of the present training step.
func (t *Trainer) hasWeights() bool {
	n := len(t.handed)
	return n > 0 && t.handed[n-1].step == t.step
}
