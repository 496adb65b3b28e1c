package simulate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Settings are those of a simulated training.
type Settings struct {
	// Servers with Slots each generate as many samples at once.
	Servers, Slots int
	// Shuffle gives free slots to any waiting samples, not to those that were asked
	// for first, which a rollout.Concurrent should not do.
	Shuffle bool
	// Lengths are the tokens per sample.
	Lengths Lengths
	// Token is the time per token of a sample, with all slots in use.
	Token time.Duration
	// Fail is the share of samples that are lost, each after a random part of its
	// tokens.
	Fail float64
	// Refresh is the time in which all servers stand still to take new weights.
	Refresh time.Duration
	// Update is the time of a training step without sampling and refresh.
	Update time.Duration
	// Prompts and Group are the sizes of a collection.
	Prompts, Group int
	Async          rl.Async
	// CheckpointEvery is rl.Config's.
	CheckpointEvery int64
	// Warm is the number of training steps before the measurement, Steps of those
	// that are measured.
	Warm, Steps int
	Seed        uint64
}

// Period returns the number of prompts with which collections take so long to sample
// while all slots are in use.
func (s Settings) Period(d time.Duration) (prompts int) {
	sample := s.Lengths.Mean() * s.Token.Seconds() * (1 - s.Fail/2)
	return int(d.Seconds() * float64(s.Servers*s.Slots) / sample / float64(s.Group))
}

// Result is what a simulation measured.
type Result struct {
	// Busy is the share of the slots' time that was spent on tokens, Training the
	// share of the trainer's time that was spent on updates.
	Busy, Training float64
	// Step is the time per training step, Tokens the tokens per second of all slots.
	Step   time.Duration
	Tokens float64
	// Staleness is the mean of the completions' staleness, and Oldest the largest.
	// Mixed is the share of completions that more than one version sampled.
	Staleness, Oldest, Mixed float64
	// Collect is how long a collection took from its begin to its end, and Wait how
	// long the trainer waited for each.
	Collect, Wait time.Duration
}

// Run simulates a training.
func Run(ctx context.Context, s Settings) (Result, error) {
	var res Result
	f := &fleet{slots: s.Servers * s.Slots, lengths: s.Lengths, token: s.Token, fail: s.Fail, refresh: s.Refresh}
	if s.Shuffle {
		f.shuffle = rand.New(rand.NewPCG(s.Seed, 0))
	}
	c := rl.Config{
		Policy: &policy{update: s.Update}, Engine: f, Source: endless{s.Group},
		Objective: objective.Corrected{Objective: objective.PPO{ClipLow: 0.2, ClipHigh: 0.2}, Max: 2},
		Batching:  rl.Batching{Prompts: s.Prompts, GroupSize: s.Group},
		LR:        rl.Constant{}, Seed: s.Seed, Async: s.Async,
	}
	if c.CheckpointEvery = s.CheckpointEvery; c.CheckpointEvery > 0 {
		c.Checkpoint = func(ctx context.Context, t *rl.Trainer) error {
			_, err := t.Save(ctx, "")
			return err
		}
	}
	t, err := rl.NewTrainer(c)
	if err != nil {
		return res, err
	}
	defer t.Stop()
	for range s.Warm {
		if _, err := t.Step(ctx); err != nil {
			return res, err
		}
	}
	start := time.Now()
	busy, tokens := f.usage()
	n := float64(s.Steps)
	for range s.Steps {
		m, err := t.Step(ctx)
		if err != nil {
			return res, err
		}
		res.Staleness += m["async/staleness"] / n
		res.Oldest = max(res.Oldest, m["async/staleness_max"])
		res.Mixed += m["async/mixed"] / n
		res.Collect += seconds(m["async/collect_s"] / n)
		res.Wait += seconds((m["time/collect_s"] + m["async/drain_s"]) / n)
	}
	took := time.Since(start)
	busyAfter, tokensAfter := f.usage()
	res.Busy = (busyAfter - busy).Seconds() / took.Seconds() / float64(f.slots)
	res.Tokens = (tokensAfter - tokens) / took.Seconds()
	res.Step = took / time.Duration(s.Steps)
	res.Training = s.Update.Seconds() / res.Step.Seconds()
	return res, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// endless is a source of one problem.
type endless struct{ group int }

func (e endless) Next(context.Context) (rl.Problem, error) {
	q := rollout.Request{Prompt: []int32{0}, N: e.group, Params: rollout.Params{Temperature: 1, MaxTokens: 1}}
	return rl.NewProblem(q, func(_ context.Context, c *rollout.Completion) (float64, error) { return float64(c.Index % 2), nil }), nil
}

func (endless) State() ([]byte, error) { return []byte{}, nil }

func (endless) Restore([]byte) error { return nil }

// policy takes its time and learns nothing.
type policy struct {
	update  time.Duration
	version int64
}

func (p *policy) LogProbs(ctx context.Context, b *rl.Batch, dst [][]float64) error { return ctx.Err() }

func (p *policy) ForwardBackward(ctx context.Context, b *rl.Batch, o objective.Objective) (float64, objective.Metrics, error) {
	select {
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	case <-time.After(p.update):
	}
	b.Prepare(o.Needs())
	m := objective.Metrics{}
	loss, err := rl.EvalObjective(b, 0, len(b.Samples), o, m)
	return loss, m, err
}

func (p *policy) OptimStep(ctx context.Context, _ rl.OptimOptions) (rl.OptimInfo, error) {
	p.version++
	return rl.OptimInfo{Version: p.version}, ctx.Err()
}

func (p *policy) Publish(ctx context.Context) (rollout.Weights, error) {
	return rollout.Weights{Version: p.version}, ctx.Err()
}

func (p *policy) Save(context.Context, string) (string, error) { return fmt.Sprint(p.version), nil }

func (p *policy) Load(_ context.Context, ref string) error {
	_, err := fmt.Sscan(ref, &p.version)
	return err
}
