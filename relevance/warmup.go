package relevance

import (
	"context"
	"errors"
	"fmt"

	"github.com/stepwise-rl/stepwise/record/progress"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// demonstration returns what the warm-up imitates for training example i.
func (p *pipeline) demonstration(i int) (rl.Demonstration, error) {
	e := p.src.Train(i)
	if e.Teach == nil {
		return rl.Demonstration{}, errors.New("the source has no teacher to warm up on: set warmup.steps to 0, and begin with a pretrained model that can follow the prompt")
	}
	q, err := p.task.Bind(e).Request()
	text := trace(p.task.Template(), e, streamOf(warmupStream, p.c.Seed, uint64(i)))
	return rl.Demonstration{Prompt: q.Prompt, Tokens: p.encodeDemonstration(text)}, err
}

// encodeDemonstration encodes a completion that the policy is to imitate. It may quote
// a text from outside, so the marks of steps are tokens, but special tokens are text.
func (p *pipeline) encodeDemonstration(text string) []int32 {
	return p.tok.EncodeExcept(text, p.tok.Markup(text, true))
}

// imitation returns the warm-up's training in so many steps.
func (p *pipeline) imitation(pol rl.Policy, steps int, lr rl.Schedule) *rl.Imitation {
	return &rl.Imitation{
		Policy: pol, Demonstrations: p.demonstration, End: p.models.End(),
		Batch: p.c.Warmup.Batch, Steps: steps, LR: lr, MaxNorm: p.c.Reinforce.MaxNorm,
	}
}

// warmup teaches format and habits by supervised learning.
func (p *pipeline) warmup(ctx context.Context) (*report.Stage, error) {
	stage, err := p.f.Stage(warmupStage)
	if err != nil {
		return nil, err
	}
	m, err := p.models.New(stage.Checkpoints().Dir)
	if err != nil {
		return nil, err
	}
	defer m.free()
	l := p.newLeg(stage)
	l.weights = m.Policy
	if _, err := l.resume(ctx); err != nil {
		return nil, err
	}
	total := p.c.Warmup.Steps
	imitation := p.imitation(m.Policy, total, rl.WarmupCosine{
		LR: p.c.Warmup.LR, Warmup: int64(total / 20), Total: int64(total), Final: 0.05 * p.c.Warmup.LR,
	})
	bar := progress.New(p.w, int64(total), "loss")
	defer bar.Close()
	err = l.run(ctx, total, p.c.CheckpointEvery*4, bar, func(ctx context.Context) (map[string]float64, int, error) {
		m, err := imitation.Step(ctx, l.Step)
		return m, int(m["prompt_tokens"] + m["tokens"]), err
	})
	if err != nil {
		return nil, err
	}
	bar.Close()
	if err := publish(ctx, m); err != nil {
		return nil, err
	}
	r := &report.Stage{}
	if err := p.probe(ctx, m.Engine, r); err != nil {
		return nil, err
	}
	if err := p.evaluatePolicy(ctx, m, warmupStage, r); err != nil {
		return nil, err
	}
	if err := l.judgeWarmup(r); err != nil {
		return nil, err
	}
	done, err := l.result()
	if err != nil {
		return nil, err
	}
	r.Seconds, r.Tokens, r.Alarms = done.Seconds, done.Tokens, done.Alarms
	return r, nil
}

// fewLive is the share of live groups below which reinforcement learning teaches little.
const fewLive = .15

// judgeWarmup says in words whether the warm-up went too far.
func (l *leg) judgeWarmup(r *report.Stage) error {
	w := l.p.w
	live, probed := r.Numbers["live_groups"]
	if !probed {
		return nil
	}
	if r.Validation != nil {
		if err := l.memorised(l.Steps(), r.Numbers["sampled_accuracy"], r.Validation.Accuracy, w); err != nil {
			return err
		}
	}
	if live >= fewLive || l.p.c.Reinforce.Steps == 0 {
		return nil
	}
	return l.alarm(l.Steps(), alarm{Kind: alarmFewLive, Text: fmt.Sprintf("only %.0f%% of the prompts have answers that differ in reward, so reinforcement learning will teach little", 100*live)}, w)
}

// probe samples as reinforcement learning will, and notes what it would find.
func (p *pipeline) probe(ctx context.Context, engine rollout.Engine, r *report.Stage) error {
	if p.c.Warmup.ProbePrompts == 0 {
		return nil
	}
	problems := make([]rl.Problem, p.c.Warmup.ProbePrompts)
	for i := range problems {
		problems[i] = p.task.Bind(p.src.Train(p.firstProbe() + i))
	}
	rollouts, m, err := rl.EvaluateProblems(ctx, engine, problems, p.c.Seed<<8|probeStream)
	if err != nil {
		return err
	}
	live := rollouts.LiveShare(p.estimator())
	r.Numbers = map[string]float64{
		"live_groups":             live,
		"sampled_accuracy":        m["reward/label"],
		"sampled_right_wrong":     m["right_answer_wrong_step"],
		"sampled_malformed":       m["malformed"],
		"sampled_tokens_per_text": m["tokens/mean"],
	}
	fmt.Fprintf(p.w, "sampled at temperature 1 in groups of %d: live groups %.2f, right %.2f, right with a wrong step %.2f, malformed %.2f\n",
		p.c.Reinforce.Group, live, m["reward/label"], m["right_answer_wrong_step"], m["malformed"])
	r.Note = fmt.Sprintf("%.0f%% of the prompts are live: their answers differ in reward, so that the outcome can teach there", 100*live)
	return nil
}

// publish hands a policy's weights to its engine, where that takes a call.
func publish(ctx context.Context, m *Model) error {
	p, ok1 := m.Policy.(rl.Publisher)
	e, ok2 := m.Engine.(rollout.Refresher)
	if !ok1 || !ok2 {
		return nil
	}
	w, err := p.Publish(ctx)
	if err != nil {
		return err
	}
	return e.Refresh(ctx, w)
}
