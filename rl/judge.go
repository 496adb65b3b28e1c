package rl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rollout"
)

// GroupJudge is a Problem that compares its completions with one another, for
// example because its judge ranks them. Problems of package task are GroupJudges
// for rules that are a reward.GroupRule.
type GroupJudge interface {
	// JudgeGroup completes what Judge wrote. It is called once, after Judge has
	// been called for each completion; completions that failed or could not be
	// judged are not in the group. It may be called concurrently for different
	// groups. Its errors are as Judge's, and reward.ErrDrop drops the whole
	// group.
	JudgeGroup(ctx context.Context, g rollout.Group) error
}

// CollectOption changes how Collect, CollectLive and EvaluateProblems work.
type CollectOption func(*collectOptions)

type collectOptions struct{ judges int }

// WithJudges sets how many completions, and then groups, are judged at once. The
// default, which 0 stands for, is 64: more than there are cores, because a rule may
// wait for a service. Set more for a service that answers slowly and in parallel.
func WithJudges(n int) CollectOption { return func(o *collectOptions) { o.judges = n } }

func newCollectOptions(opts []CollectOption) (collectOptions, error) {
	var o collectOptions
	for _, set := range opts {
		set(&o)
	}
	if o.judges < 0 {
		return o, fmt.Errorf("rl: WithJudges(%d), must not be negative", o.judges)
	}
	return o, nil
}

// limit returns a group that runs as many goroutines at once as may judge.
func (o collectOptions) limit(ctx context.Context) (*errgroup.Group, context.Context) {
	judges, ctx := errgroup.WithContext(ctx)
	judges.SetLimit(cmp.Or(o.judges, 64))
	return judges, ctx
}

// judgeGroups lets the problems that are GroupJudges judge their groups, and
// drops the groups whose judgement asks for it.
func (r *Rollouts) judgeGroups(ctx context.Context, o collectOptions) error {
	judges, ctx := o.limit(ctx)
	for i, p := range r.Problems {
		j, ok := p.(GroupJudge)
		if !ok || len(r.Groups[i]) == 0 {
			continue
		}
		judges.Go(func() error {
			err := judgeGroup(ctx, j, r.Groups[i])
			if !errors.Is(err, reward.ErrDrop) {
				if err != nil {
					err = fmt.Errorf("rl: judging the group of %s: %w", r.name(i), err)
				}
				return err
			}
			for k := range r.Groups[i] {
				r.Groups[i][k].Err = err
			}
			return nil
		})
	}
	if err := judges.Wait(); err != nil {
		return err
	}
	r.dropFailed()
	return nil
}

// judgeGroup is j.JudgeGroup, whose panic is an error, with its rewards checked.
func judgeGroup(ctx context.Context, j GroupJudge, g rollout.Group) (err error) {
	defer recoverTo(&err, "JudgeGroup")
	if err := j.JudgeGroup(ctx, g); err != nil {
		return err
	}
	for i := range g {
		if err := checkJudged(&g[i]); err != nil {
			return fmt.Errorf("completion %d: %w", i, err)
		}
	}
	return nil
}

// warnUnscorable warns of every share of unknown steps or unscorable rewards that
// exceeds the one last warned about, at first 0, by more than
// Config.WarnUnscorable, and says the first cause. Once a share is below half of that, it
// starts at 0 again.
func (t *Trainer) warnUnscorable(m map[string]float64, r *Rollouts) {
	limit := cmp.Or(t.c.WarnUnscorable, 0.1)
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !(strings.HasPrefix(name, "step/") && strings.HasSuffix(name, "/unknown")) &&
			!(strings.HasPrefix(name, "reward/") && strings.HasSuffix(name, "/unscorable")) {
			continue
		}
		switch share := m[name]; {
		case share > t.warned[name]+limit:
			t.log.Warn("a share could not be judged", "step", t.step, "metric", name, "share", share, "last_warned_at", t.warned[name], "first", r.firstCause(name))
			t.warned[name] = share
		case share < limit/2:
			delete(t.warned, name)
		}
	}
}

// firstCause is the first cause of what a metric of Summarize counts as unknown or
// unscorable.
func (r *Rollouts) firstCause(metric string) error {
	for g := range r.Groups {
		for i := range r.Groups[g] {
			c := &r.Groups[g][i]
			for k, cause := range c.Causes {
				if cause != nil && metric == "reward/"+rewardName(r.Problems, g, k)+"/unscorable" {
					return cause
				}
			}
			for _, s := range c.Steps {
				if s.Cause != nil && metric == "step/"+s.Label()+"/unknown" {
					return s.Cause
				}
			}
		}
	}
	return errors.New("the problem's judge gives no cause")
}
