package relevance

import (
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/record"
	"github.com/stepwise-rl/stepwise/record/progress"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/curriculum"
	"github.com/stepwise-rl/stepwise/rl/monitor"
)

// source draws the rows of reinforcement learning.
func (p *pipeline) source() (rl.Source, error) {
	if !p.c.Reinforce.Curriculum {
		return &rl.StreamSource{Problem: func(i int) rl.Problem { return p.task.Bind(p.src.Train(i)) }, At: p.firstRL()}, nil
	}
	if p.src.Size == 0 {
		return nil, fmt.Errorf("reinforce.curriculum needs a source with an end, but %s is generated without one", p.src.Name)
	}
	problems := make([]rl.Problem, p.src.Size)
	for i := range problems {
		problems[i] = p.task.Bind(p.src.Train(i))
	}
	return curriculum.New(problems, curriculum.Options{Seed: p.c.Seed})
}

func (p *pipeline) estimator() advantage.Estimator {
	if p.c.Reinforce.Estimator != nil {
		return p.c.Reinforce.Estimator
	}
	return advantage.PerGroup(StepNorm)
}

// reinforce returns a stage that goes on from the warm-up with one kind of
// step credit. All such stages see the same examples and random streams.
func (p *pipeline) reinforce(credit NamedCredit) func(context.Context) (*report.Stage, error) {
	return func(ctx context.Context) (*report.Stage, error) {
		stage, err := p.f.Stage(creditStage(credit))
		if err != nil {
			return nil, err
		}
		m, err := p.models.New(stage.Checkpoints().Dir)
		if err != nil {
			return nil, err
		}
		defer m.free()
		l := p.newLeg(stage)
		bar := progress.New(p.w, int64(p.c.Reinforce.Steps), "reward/label", "group/live", "right_answer_wrong_step", evalName(string(p.c.Validation.Metric)))
		defer bar.Close()
		teacher, free, err := p.teacher()
		if err != nil {
			return nil, err
		}
		defer free()
		if err := l.newTrainer(credit, m, teacher, bar); err != nil {
			return nil, err
		}
		found, err := l.resume(ctx)
		if err == nil && !found && p.c.Warmup.Steps > 0 {
			err = p.startFrom(ctx, m, warmupStage)
		}
		if err != nil {
			return nil, err
		}
		if err := l.train(ctx, m); err != nil {
			return nil, err
		}
		bar.Close()
		r, err := l.result()
		if err != nil {
			return nil, err
		}
		best, err := p.bestCheckpoint(ctx, stage.Name())
		if err != nil {
			return nil, err
		}
		r.Numbers = map[string]float64{"last_reward": lastMean(l.Rewards), "last_live_groups": l.Live, "step": float64(best.Step)}
		if v, ok := best.Metrics[evalName(string(p.c.Validation.Metric))]; ok {
			r.Numbers["validation"] = v
			r.Note = fmt.Sprintf("the checkpoint of step %d of %d is used: the best on validation rows (%s %.3f)", best.Step, l.Step, p.c.Validation.Metric, v)
			if m := best.Metrics[evalName("malformed")]; m > mostMalformed {
				r.Note += fmt.Sprintf("; %.0f%% of its answers there are malformed, as in all others", 100*m)
			}
		}
		if err := p.startFrom(ctx, m, stage.Name()); err != nil {
			return nil, err
		}
		if err := p.auditSample(ctx, stage.Name(), m); err != nil {
			return nil, err
		}
		return r, p.evaluatePolicy(ctx, m, stage.Name(), r)
	}
}

// startFrom loads the best weights of a stage.
func (p *pipeline) startFrom(ctx context.Context, m *Model, stage string) error {
	best, err := p.bestCheckpoint(ctx, stage)
	if err != nil {
		return err
	}
	if err := m.Policy.Load(ctx, best.Ref); err != nil {
		return err
	}
	return publish(ctx, m)
}

// teacher loads the teacher, if there is one; free releases its memory.
func (p *pipeline) teacher() (t *rl.Teacher, free func(), err error) {
	c := p.c.Reinforce.Teacher
	if c == nil {
		return nil, func() {}, nil
	}
	tok, err := tokenizer.Load(filepath.Join(c.Dir, "tokenizer.json"))
	if err != nil {
		return nil, nil, fmt.Errorf("reinforce.teacher: %w", err)
	}
	if err := rl.SameVocab(tok, p.tok); err != nil {
		return nil, nil, fmt.Errorf("reinforce.teacher: %w", err)
	}
	d, err := model.LoadDecoder(p.backend, c.Dir, model.Frozen())
	if err != nil {
		return nil, nil, fmt.Errorf("reinforce.teacher: %w", err)
	}
	return &rl.Teacher{LogProber: local.NewLogProber(d, 0), K: c.K, Candidates: c.Candidates, Vocab: tok, PolicyVocab: p.tok}, d.Free, nil
}

// newTrainer makes the leg's trainer.
func (l *leg) newTrainer(credit NamedCredit, m *Model, teacher *rl.Teacher, bar *progress.Bar) (err error) {
	p, r := l.p, l.p.c.Reinforce
	if l.monitor, err = monitor.New(monitor.Options{Estimator: p.estimator()}); err != nil {
		return err
	}
	source, err := p.source()
	if err != nil {
		return err
	}
	log := p.logger(bar)
	c := rl.Config{
		Policy:      m.Policy,
		Engine:      m.Engine,
		Source:      source,
		Teacher:     teacher,
		Estimator:   p.estimator(),
		Credit:      credit.Credit,
		Objective:   r.Objective,
		Aggregation: r.Aggregation,
		Batching:    rl.Batching{Prompts: r.Prompts, GroupSize: r.Group, MiniBatches: r.MiniBatches},
		Dynamic:     rl.DynamicSampling{Rounds: r.DynamicRounds},
		LR:          r.schedule(),
		MaxNorm:     r.MaxNorm,
		Seed:        p.c.Seed,
		OnRollouts: func(step int64, r *rl.Rollouts) error {
			if err := l.observe(step, r, bar); err != nil {
				return err
			}
			if step%int64(p.c.SampleEvery) != 0 {
				return nil
			}
			return p.writeRollouts(l.stage, step, r.Subset(0, min(p.c.SamplePrompts, len(r.Groups))))
		},
		// The leg comes before Checkpoint, which saves what it has counted.
		Recorder:        record.Tee(l.stage, bar, rl.RecorderFunc(l.record)),
		CheckpointEvery: int64(p.c.CheckpointEvery),
		Checkpoint:      func(ctx context.Context, _ *rl.Trainer) error { return l.save(ctx) },
		Logger:          log,
		// The monitor tells what the policy breaks from what the data leave open.
		WarnUnscorable: 1,
	}
	if len(p.validation()) > 0 {
		c.EvalEvery = c.CheckpointEvery
		c.Eval = func(ctx context.Context, step int64) (map[string]float64, error) {
			v, err := p.validate(ctx, m)
			if err == nil {
				err = l.compare(step, v, bar)
			}
			return v, err
		}
	}
	l.trainer, err = rl.NewTrainer(c)
	return err
}

// record counts a training step.
func (l *leg) record(_ int64, m map[string]float64) error {
	l.Rewards, l.Live = append(l.Rewards, m["reward/label"]), m["group/live"]
	l.done(m, 2*int(m["tokens"])) // sampled, then trained on
	return nil
}

// train takes the steps that are left. The last checkpoint is validated, too.
func (l *leg) train(ctx context.Context, m *Model) error {
	total := l.p.c.Reinforce.Steps
	for l.Step < total {
		if ctx.Err() != nil {
			return l.interrupted(ctx, total)
		}
		if _, err := l.trainer.Step(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	if l.metrics == nil || total%l.p.c.CheckpointEvery == 0 {
		return nil // it is saved
	}
	if len(l.p.validation()) > 0 {
		if err := publish(ctx, m); err != nil {
			return err
		}
		v, err := l.p.validate(ctx, m)
		if err != nil {
			return err
		}
		for k, x := range v {
			l.metrics["eval/"+k] = x
		}
	}
	return l.save(ctx)
}

// How far training and validation may be apart before it is said.
const (
	wideGap  = .15
	deepFall = .05
)

// memorised says so if sampled answers to training rows are right much more often than
// greedy ones to validation rows.
func (l *leg) memorised(at int64, trained, held float64, w io.Writer) error {
	if !(trained-held >= wideGap) {
		return nil
	}
	return l.alarm(at, alarm{Kind: alarmMemorised, Text: fmt.Sprintf("overfitting: sampled answers are right for %.2f of the training rows, but greedy ones for only %.2f of the validation rows", trained, held)}, w)
}

// compare says in words what the validation shows: memorising, and a fall from the
// best.
func (l *leg) compare(step int64, v map[string]float64, w io.Writer) error {
	metric := string(l.p.c.Validation.Metric)
	if err := l.memorised(step, lastMean(l.Rewards), v["accuracy"], w); err != nil {
		return err
	}
	if l.Best-v[metric] >= deepFall {
		a := alarm{Kind: alarmFell, Text: fmt.Sprintf("%s on validation rows fell to %.3f from %.3f at best", metric, v[metric], l.Best)}
		if err := l.alarm(step, a, w); err != nil {
			return err
		}
	}
	l.Best = max(l.Best, v[metric])
	return nil
}

// lastMean is the mean of the last fifth; NaN of nothing.
func lastMean(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	x = x[len(x)-max(len(x)/5, 1):]
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}
