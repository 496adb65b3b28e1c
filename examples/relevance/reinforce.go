package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/task"
)

// stream is an rl.Source of training examples from index next on.
type stream struct {
	src  *rows.Source
	task *task.Task[rows.Example]
	next int
}

func (s *stream) Next(context.Context) (rl.Problem, error) {
	s.next++
	return s.task.Bind(s.src.Train(s.next - 1)), nil
}

func (s *stream) State() ([]byte, error)     { return json.Marshal(s.next) }
func (s *stream) Restore(state []byte) error { return json.Unmarshal(state, &s.next) }

// reinforce returns a stage that goes on from the warm-up with one kind of
// step credit. All such stages see the same examples and random streams.
func (p *pipeline) reinforce(name, credit string) func(context.Context) (*stageResult, error) {
	return func(ctx context.Context) (*stageResult, error) {
		stage, err := p.f.Stage(name)
		if err != nil {
			return nil, err
		}
		pol, engine, err := p.newPolicy(stage.Checkpoints().Dir)
		if err != nil {
			return nil, err
		}
		defer pol.Free()
		t, err := p.newTrainer(stage, credit, pol, engine)
		if err != nil {
			return nil, err
		}
		l := p.newLeg(stage)
		l.trainer = t
		found, err := l.resume(ctx)
		if err == nil && !found {
			err = p.startFrom(ctx, pol, "warmup")
		}
		if err != nil {
			return nil, err
		}
		if err := p.train(ctx, l); err != nil {
			return nil, err
		}
		r := l.result()
		r.Numbers = map[string]float64{"last_reward": lastMean(l.Rewards)}
		return r, p.evaluatePolicy(ctx, engine, r)
	}
}

// startFrom loads the weights that a stage ended with.
func (p *pipeline) startFrom(ctx context.Context, pol *local.Policy, stage string) error {
	last, err := p.f.Checkpoints(stage).Latest(ctx)
	if err != nil {
		return fmt.Errorf("the weights of stage %s: %w", stage, err)
	}
	return pol.Load(ctx, last.Ref)
}

func (p *pipeline) newTrainer(stage *run.Stage, credit string, pol *local.Policy, engine *local.Engine) (*rl.Trainer, error) {
	assign, err := creditOf(credit)
	if err != nil {
		return nil, err
	}
	return rl.NewTrainer(rl.Config{
		Policy:      pol,
		Engine:      engine,
		Source:      &stream{p.src, p.task, p.firstRL()},
		Estimator:   estimator,
		Credit:      assign,
		Objective:   objective.PPO{ClipLow: 0.2, ClipHigh: 0.28},
		Aggregation: objective.TokenMean{},
		Batching:    rl.Batching{Prompts: p.s.Prompts, GroupSize: p.s.Group},
		LR:          rl.WarmupLinear{LR: p.s.RLLR, Warmup: int64(min(5, p.s.RLSteps)), Total: int64(p.s.RLSteps), Final: 0.2 * p.s.RLLR},
		MaxNorm:     1,
		Seed:        p.o.Seed,
		OnRollouts: func(step int64, r *rl.Rollouts) error {
			if step%int64(p.s.SampleEvery) != 0 {
				return nil
			}
			return p.writeRollouts(stage, step, r.Subset(0, p.s.SamplePrompts))
		},
	})
}

// train takes the steps that are left.
func (p *pipeline) train(ctx context.Context, l *leg) error {
	bar := newProgress(p.w, l.stage.Name(), l.Step, p.s.RLSteps, p.s.ReportEvery)
	return l.run(ctx, p.s.RLSteps, p.s.CheckpointEvery, func(ctx context.Context) (int, error) {
		m, err := l.trainer.Step(ctx)
		if err != nil {
			return 0, err
		}
		tokens := 2 * int(m["tokens"]) // sampled, then trained on
		l.Rewards = append(l.Rewards, m["reward/label"])
		bar.step(l.Step+1, float64(tokens), "reward %.2f  steps %.2f  live %.2f  right with a wrong step %.2f",
			m["reward/label"], p.meanStep(m), m["group/live"], m["right_answer_wrong_step"])
		return tokens, l.stage.Record(int64(l.Step+1), m)
	})
}

// meanStep is the mean share of right steps before the label.
func (p *pipeline) meanStep(m map[string]float64) float64 {
	sum, n := 0.0, 0.0
	for _, s := range p.src.Steps[:len(p.src.Steps)-1] {
		if v, ok := m["step/"+s.Name+"/correct"]; ok {
			sum, n = sum+v, n+1
		}
	}
	return sum / max(n, 1)
}

// lastMean is the mean of the last fifth.
func lastMean(x []float64) float64 {
	x = x[len(x)-max(len(x)/5, 1):]
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}
