package rl

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// Rollouts is what one collection brought: for every problem its group of
// judged completions. Groups[g][i] judges Completions[g][i].
type Rollouts struct {
	Problems    []Problem
	Requests    []rollout.Request
	Completions [][]rollout.Completion
	Groups      []advantage.Group
	// Failed counts the samples for which there is no completion, because the
	// engine could not sample them. FirstFailure is the first one's error.
	Failed       int
	FirstFailure error
	// Dynamic says how dynamic sampling came to these groups; nil without it.
	Dynamic *DynamicInfo
}

// Collect samples every problem's completions and judges them, while the
// engine goes on sampling. stream is the run's seed and the step: with the
// problem's number it is each request's random stream. A sample that the engine
// could not deliver is counted and left out of its group; an error of Judge
// ends the call.
func Collect(ctx context.Context, e rollout.Engine, problems []Problem, stream [2]uint64) (*Rollouts, error) {
	return collect(ctx, e, problems, stream, 0)
}

// collect is Collect with the problems numbered from first.
func collect(ctx context.Context, e rollout.Engine, problems []Problem, stream [2]uint64, first int) (*Rollouts, error) {
	r := &Rollouts{
		Problems:    problems,
		Requests:    make([]rollout.Request, len(problems)),
		Completions: make([][]rollout.Completion, len(problems)),
		Groups:      make([]advantage.Group, len(problems)),
	}
	for i, p := range problems {
		q := p.Request()
		q.Stream = [3]uint64{stream[0], stream[1], uint64(first + i)}
		r.Requests[i] = q
		r.Completions[i] = make([]rollout.Completion, q.N)
		r.Groups[i] = make(advantage.Group, q.N)
	}
	arrived := make([][]bool, len(problems))
	for i := range arrived {
		arrived[i] = make([]bool, r.Requests[i].N)
	}

	judges, jctx := errgroup.WithContext(ctx)
	judges.SetLimit(runtime.GOMAXPROCS(0))
	err := e.Generate(jctx, r.Requests, func(c rollout.Completion) error {
		if c.Request < 0 || c.Request >= len(problems) || c.Index < 0 || c.Index >= r.Requests[c.Request].N {
			return fmt.Errorf("rl: the engine emitted sample %d of request %d, which nobody asked for", c.Index, c.Request)
		}
		if arrived[c.Request][c.Index] {
			return fmt.Errorf("rl: the engine emitted sample %d of request %d twice", c.Index, c.Request)
		}
		if c.Err == nil {
			if err := checkCompletion(&c); err != nil {
				return err
			}
		}
		arrived[c.Request][c.Index] = true
		slot := &r.Completions[c.Request][c.Index]
		*slot = c
		if c.Err != nil {
			return nil
		}
		judges.Go(func() error {
			j, err := problems[c.Request].Judge(jctx, slot)
			if err != nil {
				return fmt.Errorf("rl: judging sample %d of request %d: %w", c.Index, c.Request, err)
			}
			if j.Tokens != len(c.Tokens) {
				return fmt.Errorf("rl: judging sample %d of request %d: judged %d tokens, the completion has %d", c.Index, c.Request, j.Tokens, len(c.Tokens))
			}
			r.Groups[c.Request][c.Index] = j
			return nil
		})
		return nil
	})
	// A failed judge cancels the engine: its error is then the cause.
	if jerr := judges.Wait(); jerr != nil && (err == nil || errors.Is(err, context.Canceled) && ctx.Err() == nil) {
		err = jerr
	}
	if err != nil {
		return nil, err
	}
	for i := range arrived {
		for n, ok := range arrived[i] {
			if !ok {
				return nil, fmt.Errorf("rl: the engine never emitted sample %d of request %d", n, i)
			}
		}
	}
	r.dropFailed()
	return r, nil
}

func checkCompletion(c *rollout.Completion) error {
	n := len(c.Tokens)
	for _, f := range []struct {
		name string
		have int
	}{{"Ends", len(c.Ends)}, {"LogP", len(c.LogP)}} {
		if f.have != n {
			return fmt.Errorf("rl: sample %d of request %d has %d tokens but %d %s", c.Index, c.Request, n, f.have, f.name)
		}
	}
	return nil
}

func (r *Rollouts) dropFailed() {
	for g, cs := range r.Completions {
		var keepC []rollout.Completion
		var keepJ advantage.Group
		for i := range cs {
			if cs[i].Err != nil {
				if r.Failed == 0 {
					r.FirstFailure = fmt.Errorf("rl: sample %d of request %d: %w", i, g, cs[i].Err)
				}
				r.Failed++
				continue
			}
			keepC = append(keepC, cs[i])
			keepJ = append(keepJ, r.Groups[g][i])
		}
		r.Completions[g], r.Groups[g] = keepC, keepJ
	}
}

// Assign gives every token its advantage: the estimator from the outcome
// rewards, then step credit, then any shaping rewards.
func (r *Rollouts) Assign(est advantage.Estimator, credit sam.Rule) (sam.Stats, error) {
	if err := est.Estimate(r.Groups); err != nil {
		return sam.Stats{}, fmt.Errorf("rl: %w", err)
	}
	stats, err := credit.Credit(r.Groups)
	if err != nil {
		return sam.Stats{}, fmt.Errorf("rl: %w", err)
	}
	if err := advantage.AddShaping(est, r.Groups); err != nil {
		return sam.Stats{}, fmt.Errorf("rl: %w", err)
	}
	return stats, nil
}

// Batch makes the training batch of the rollouts, in the order of the groups.
// Adv and Keep are shared with Groups, so Batch may be called before Assign
// only if their slices exist already; usually it follows it.
func (r *Rollouts) Batch() *Batch {
	b := &Batch{}
	for g, cs := range r.Completions {
		b.Prompts = append(b.Prompts, r.Requests[g].Prompt)
		for i := range cs {
			c, j := &cs[i], &r.Groups[g][i]
			b.Samples = append(b.Samples, Sample{
				Prompt: g,
				Tokens: c.Tokens,
				Sequence: objective.Sequence{
					Rollout: c.LogP,
					Adv:     j.Adv,
					Keep:    j.Keep,
				},
			})
		}
	}
	if len(r.Requests) > 0 {
		b.Temperature = r.Requests[0].Params.Temperature
	}
	return b
}

// Subset returns groups [from, to) as rollouts of their own; slices are shared.
func (r *Rollouts) Subset(from, to int) *Rollouts {
	return &Rollouts{
		Problems:    r.Problems[from:to],
		Requests:    r.Requests[from:to],
		Completions: r.Completions[from:to],
		Groups:      r.Groups[from:to],
	}
}
