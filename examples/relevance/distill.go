package main

import (
	"context"
	"fmt"
	"time"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// distill teaches the student the better policy's belief about the labels.
func (p *pipeline) distill(ctx context.Context) (*stageResult, error) {
	const name = "distill"
	teacher, err := p.betterTeacher()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(p.w, "teacher: %s, whose sampled answers were right more often at the end of its training (no test set is asked)\n", teacher)
	learnt, err := p.beliefs(ctx, teacher)
	if err != nil {
		return nil, err
	}
	stage, err := p.f.Stage(name)
	if err != nil {
		return nil, err
	}
	s, err := p.newStudent(stage.Checkpoints().Dir)
	if err != nil {
		return nil, err
	}
	defer s.Free()
	l := p.newLeg(stage)
	l.weights, l.Tokens, l.Seconds = s, learnt.Tokens, learnt.Seconds
	if _, err := l.resume(ctx); err != nil {
		return nil, err
	}
	if err := p.fit(ctx, s, p.examples(learnt), l); err != nil {
		return nil, err
	}
	r := l.result()
	r.Note = "teacher: " + teacher
	return r, p.evaluateStudent(ctx, s, r)
}

// betterTeacher is the reinforcement stage with the higher reward at its end.
func (p *pipeline) betterTeacher() (string, error) {
	best, reward := "", 0.0
	for _, stage := range []string{"rl-outcome", "rl-" + p.o.Credit} {
		var r stageResult
		if _, err := readJSON(p.f.Folder, resultFile(stage), &r); err != nil {
			return "", err
		}
		if v := r.Numbers["last_reward"]; best == "" || v > reward {
			best, reward = stage, v
		}
	}
	return best, nil
}

// beliefs is what is known of the teacher's belief so far, as it is stored.
type beliefs struct {
	Tokens  int      `json:"tokens"`
	Seconds float64  `json:"seconds"`
	Taught  []taught `json:"taught"`
	// Rules are the tallies of the run so far.
	Rules map[string]ruleTally `json:"rules"`
}

type taught struct {
	Index    int       `json:"index"` // of the training stream
	Belief   []float64 `json:"belief,omitempty"`
	Coverage float64   `json:"coverage"`
}

// beliefs samples the teacher on fresh training examples and reads off what it
// believes. An interrupted run goes on with the next chunk.
func (p *pipeline) beliefs(ctx context.Context, teacher string) (*beliefs, error) {
	const name, file, chunk = "distill", "stages/distill/beliefs.json", 128
	var all beliefs
	switch found, err := readJSON(p.f.Folder, file, &all); {
	case err != nil:
		return nil, err
	case found:
		p.restoreTallies(all.Rules)
	}
	total := p.s.DistillExamples
	if len(all.Taught) == total {
		return &all, nil
	}
	pol, engine, err := p.newPolicy("") // it is only read
	if err != nil {
		return nil, err
	}
	defer pol.Free()
	if err := p.startFrom(ctx, pol, teacher); err != nil {
		return nil, err
	}
	bar := newProgress(p.w, "beliefs", len(all.Taught), total, 4*chunk)
	for len(all.Taught) < total {
		done := len(all.Taught)
		if ctx.Err() != nil {
			return nil, &interruptedError{name, fmt.Sprintf("%d of %d beliefs", done, total)}
		}
		start := time.Now()
		more, tokens, err := p.askTeacher(context.WithoutCancel(ctx), pol, engine, p.firstStudent()+done, min(chunk, total-done))
		if err != nil {
			return nil, err
		}
		all.Taught = append(all.Taught, more...)
		all.Tokens += tokens
		all.Seconds += time.Since(start).Seconds()
		all.Rules = p.tallies()
		if err := p.writeJSON(file, all); err != nil {
			return nil, err
		}
		bar.step(len(all.Taught), float64(tokens), "coverage of the labels %.3f", meanCoverage(more))
	}
	return &all, nil
}

// examples joins the beliefs with the true labels.
func (p *pipeline) examples(b *beliefs) []distill.Example {
	examples := make([]distill.Example, len(b.Taught))
	for i, t := range b.Taught {
		e := p.src.Train(t.Index)
		examples[i] = distill.Example{Input: p.input(e), Belief: t.Belief, Label: p.src.LabelIndex(e.Label())}
	}
	return examples
}

func meanCoverage(all []taught) float64 {
	sum, n := 0.0, 0.0
	for _, t := range all {
		if t.Belief != nil {
			sum, n = sum+t.Coverage, n+1
		}
	}
	return sum / max(n, 1)
}

// askTeacher samples completions of n examples and asks for the probability of
// every label where each states its final answer.
func (p *pipeline) askTeacher(ctx context.Context, teacher rl.LogProber, engine rollout.Engine, from, n int) ([]taught, int, error) {
	sampled, err := p.task.WithSampling(p.s.DistillSamples, rollout.Params{Temperature: 1, MaxTokens: p.s.MaxTokens})
	if err != nil {
		return nil, 0, err
	}
	problems, out := make([]rl.Problem, n), make([]taught, n)
	for i := range problems {
		out[i].Index = from + i
		problems[i] = sampled.Bind(p.src.Train(from + i))
	}
	r, err := rl.Collect(ctx, engine, problems, [2]uint64{p.o.Seed<<8 | beliefStream, uint64(from)})
	if err != nil {
		return nil, 0, err
	}
	tokens, rationales := 0, make([][]distill.Rationale, n)
	for i := range rationales {
		for k := range r.Groups[i] {
			c := &r.Groups[i][k]
			tokens += len(c.Tokens)
			if before, ok := distill.Cut(c); ok {
				rationales[i] = append(rationales[i], distill.Rationale{Prompt: r.Requests[i].Prompt, Tokens: before})
			}
		}
	}
	l := distill.Labeler{Teacher: teacher}
	for _, label := range p.src.Labels {
		l.Labels = append(l.Labels, p.tok.Encode(label+"}"))
	}
	beliefs, err := l.Beliefs(ctx, rationales)
	if err != nil {
		return nil, 0, err
	}
	for i, b := range beliefs {
		out[i].Belief, out[i].Coverage = b.P, b.Coverage
	}
	return out, tokens, nil
}

// input is what the student reads: the example without the instructions.
func (p *pipeline) input(e rows.Example) []int32 { return p.studentTokens(p.src.Input(e)) }

// studentTokens encodes a text for the student.
func (p *pipeline) studentTokens(text string) []int32 {
	ids := p.tok.EncodeOrdinary(text)
	return ids[:min(len(ids), p.s.Student.MaxSeq)]
}

func (p *pipeline) newStudent(dir string) (*local.Student, error) {
	e, err := model.NewEncoder(p.backend, model.EncoderConfig{Config: p.s.Student, Classes: len(p.src.Labels)}, streamOf(studentStream, p.o.Seed, 0).Uint64())
	if err != nil {
		return nil, err
	}
	return local.NewStudent(local.StudentConfig{Encoder: e, Dir: dir})
}

// fit trains the student.
func (p *pipeline) fit(ctx context.Context, s *local.Student, examples []distill.Example, l *leg) error {
	f := distill.Fit{
		Student: s, Examples: examples, Classes: len(p.src.Labels),
		Loss:  distill.Loss{Temperature: p.s.Temperature, Soft: p.s.SoftShare},
		Batch: p.s.DistillBatch, Epochs: p.s.DistillEpochs, Seed: p.o.Seed, MaxNorm: 1,
	}
	total := f.Steps()
	f.LR = rl.WarmupCosine{LR: p.s.DistillLR, Warmup: int64(total / 10), Total: int64(total), Final: 0.05 * p.s.DistillLR}
	perStep := 0.0
	for _, e := range examples {
		perStep += float64(len(e.Input)*p.s.DistillBatch) / float64(len(examples))
	}
	bar := newProgress(p.w, l.stage.Name(), l.Step, total, max(total/6, 1))
	return l.run(ctx, total, max(total/4, 1), func(ctx context.Context) (int, error) {
		loss, err := f.Step(ctx, l.Step)
		if err != nil {
			return 0, err
		}
		bar.step(l.Step+1, perStep, "loss %.3f", loss)
		return int(perStep), l.stage.Record(int64(l.Step+1), map[string]float64{"loss": loss})
	})
}
