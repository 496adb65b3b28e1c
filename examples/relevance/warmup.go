package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// newPolicy makes a policy with fresh weights, whose checkpoints are in a directory,
// and the engine that samples from it. The policy's Free frees both.
func (p *pipeline) newPolicy(dir string) (*local.Policy, *local.Engine, error) {
	d, err := model.NewDecoder(p.backend, p.s.Teacher, streamOf(initStream, p.o.Seed, 0).Uint64())
	if err != nil {
		return nil, nil, err
	}
	pol, err := local.NewPolicy(local.PolicyConfig{
		Decoder:   d,
		Optimizer: optim.Config{Beta1: 0.9, Beta2: 0.98, Eps: 1e-8, WeightDecay: 0.01},
		Dir:       dir,
	})
	if err != nil {
		return nil, nil, err
	}
	end, _ := p.tok.ID(endOfText)
	engine, err := pol.NewEngine(p.tok, local.EngineConfig{EOS: []int32{end}})
	return pol, engine, err
}

// trace writes one trace of an example's teacher as a completion's text.
func trace(t *prompt.Template[rows.Example], e rows.Example, rng *rand.Rand) string {
	var steps []prompt.Written
	for _, th := range e.Teach(rng) {
		steps = append(steps, prompt.Written(th))
	}
	text, err := t.Write(steps)
	if err != nil {
		panic("the teacher wrote what the template does not allow: " + err.Error())
	}
	return text
}

// demonstration returns what the warm-up imitates for training example i.
func (p *pipeline) demonstration(i int) (rl.Demonstration, error) {
	e := p.src.Train(i)
	q, err := p.task.Bind(e).Request()
	text := trace(p.task.Template(), e, streamOf(warmupStream, p.o.Seed, uint64(i)))
	return rl.Demonstration{Prompt: q.Prompt, Tokens: p.encodeDemonstration(text)}, err
}

// encodeDemonstration encodes a completion that the policy is to imitate. It may quote
// a text from outside, so the marks of steps are tokens, but special tokens are text.
func (p *pipeline) encodeDemonstration(text string) []int32 {
	return p.tok.EncodeExcept(text, p.tok.Markup(text, true))
}

// imitation returns the warm-up's training in so many steps.
func (p *pipeline) imitation(pol rl.Policy, steps int, lr rl.Schedule) *rl.Imitation {
	end, _ := p.tok.ID(endOfText)
	return &rl.Imitation{
		Policy: pol, Demonstrations: p.demonstration, End: []int32{end},
		Batch: p.s.WarmupBatch, Steps: steps, LR: lr, MaxNorm: 1,
	}
}

// warmup teaches format and habits by supervised learning.
func (p *pipeline) warmup(ctx context.Context) (*stageResult, error) {
	const name = "warmup"
	stage, err := p.f.Stage(name)
	if err != nil {
		return nil, err
	}
	pol, engine, err := p.newPolicy(stage.Checkpoints().Dir)
	if err != nil {
		return nil, err
	}
	defer pol.Free()
	l := p.newLeg(stage)
	l.weights = pol
	if _, err := l.resume(ctx); err != nil {
		return nil, err
	}
	total := p.s.WarmupSteps
	imitation := p.imitation(pol, total, rl.WarmupCosine{
		LR: p.s.WarmupLR, Warmup: int64(total / 20), Total: int64(total), Final: 0.05 * p.s.WarmupLR,
	})
	bar := newProgress(p.w, name, l.Step, total, p.s.ReportEvery*5)
	err = l.run(ctx, total, p.s.CheckpointEvery*4, func(ctx context.Context) (int, error) {
		m, err := imitation.Step(ctx, l.Step)
		if err != nil {
			return 0, err
		}
		tokens := int(m["prompt_tokens"] + m["tokens"])
		bar.step(l.Step+1, float64(tokens), "loss %.3f", m["loss"])
		return tokens, stage.Record(int64(l.Step+1), m)
	})
	if err != nil {
		return nil, err
	}
	r := l.result()
	if err := p.probe(ctx, engine, r); err != nil {
		return nil, err
	}
	return r, p.evaluatePolicy(ctx, engine, r)
}

// probe samples as reinforcement learning will, and notes what it would find.
func (p *pipeline) probe(ctx context.Context, engine rollout.Engine, r *stageResult) error {
	problems := make([]rl.Problem, p.s.ProbePrompts)
	for i := range problems {
		problems[i] = p.task.Bind(p.src.Train(p.firstProbe() + i))
	}
	rollouts, m, err := rl.EvaluateProblems(ctx, engine, problems, p.o.Seed<<8|probeStream)
	if err != nil {
		return err
	}
	live := rollouts.LiveShare(estimator)
	r.Numbers = map[string]float64{
		"live_groups":             live,
		"sampled_accuracy":        m["reward/label"],
		"sampled_right_wrong":     m["right_answer_wrong_step"],
		"sampled_malformed":       m["malformed"],
		"sampled_tokens_per_text": m["tokens/mean"],
	}
	fmt.Fprintf(p.w, "sampled at temperature 1 in groups of %d: live groups %.2f, right %.2f, right with a wrong step %.2f, malformed %.2f\n",
		p.s.Group, live, m["reward/label"], m["right_answer_wrong_step"], m["malformed"])
	return nil
}
