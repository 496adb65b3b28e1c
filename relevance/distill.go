package relevance

import (
	"context"
	"fmt"
	"time"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/record/progress"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// distill teaches the student the best policy's belief about the labels.
func (p *pipeline) distill(ctx context.Context) (*report.Stage, error) {
	teacher, why, err := p.bestPolicy()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(p.w, "teacher: %s, %s; no test set is asked\n", teacher, why)
	learnt, err := p.beliefs(ctx, teacher)
	if err != nil {
		return nil, err
	}
	stage, err := p.f.Stage(studentStage)
	if err != nil {
		return nil, err
	}
	s, err := p.newStudent(stage.Checkpoints().Dir)
	if err != nil {
		return nil, err
	}
	defer s.student.Free()
	l := p.newLeg(stage)
	l.weights, l.Tokens, l.Seconds = s.student, learnt.Tokens, learnt.Seconds
	if _, err := l.resume(ctx); err != nil {
		return nil, err
	}
	if err := p.fit(ctx, s.student, p.examples(learnt, s), l); err != nil {
		return nil, err
	}
	r, err := l.result()
	if err != nil {
		return nil, err
	}
	r.Note = "teacher: " + teacher
	scorer := s.scorer(p.src.Labels)
	if err := p.evaluate(ctx, scorer, studentStage, r); err != nil {
		return nil, err
	}
	return r, p.writeStudentFolder(s, scorer)
}

// beliefs is what is known of the teacher's belief so far, as it is stored.
type beliefs struct {
	Tokens  int      `json:"tokens"`
	Seconds float64  `json:"seconds"`
	Taught  []taught `json:"taught"`
	// Rules are the tallies of the run so far.
	Rules map[string]report.Tally `json:"rules"`
}

type taught struct {
	Index    int       `json:"index"` // of the training stream
	Belief   []float64 `json:"belief,omitempty"`
	Coverage float64   `json:"coverage"`
}

// beliefs samples the teacher on fresh training examples and reads off what it
// believes. An interrupted run goes on with the next chunk.
func (p *pipeline) beliefs(ctx context.Context, teacher string) (*beliefs, error) {
	const file, chunk = "stages/" + studentStage + "/beliefs.json", 128
	var all beliefs
	switch found, err := readJSON(p.f.Folder, file, &all); {
	case err != nil:
		return nil, err
	case found:
		p.restoreTallies(all.Rules)
	}
	total := p.c.Student.Examples
	if len(all.Taught) == total {
		return &all, nil
	}
	m, err := p.models.New("") // it is only read
	if err != nil {
		return nil, err
	}
	defer m.free()
	if err := p.startFrom(ctx, m, teacher); err != nil {
		return nil, err
	}
	fmt.Fprintf(p.w, "beliefs of the teacher about %d rows\n", total)
	bar := progress.New(p.w, int64(total), "coverage")
	defer bar.Close()
	for len(all.Taught) < total {
		done := len(all.Taught)
		if ctx.Err() != nil {
			return nil, &Interrupted{studentStage, fmt.Sprintf("%d of %d beliefs", done, total)}
		}
		start := time.Now()
		more, tokens, err := p.askTeacher(context.WithoutCancel(ctx), m, p.firstStudent()+done, min(chunk, total-done))
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
		if err := bar.Record(int64(len(all.Taught)), map[string]float64{"coverage": meanCoverage(more)}); err != nil {
			return nil, err
		}
	}
	return &all, nil
}

// examples joins the beliefs with the true labels.
func (p *pipeline) examples(b *beliefs, s *student) []distill.Example {
	examples := make([]distill.Example, len(b.Taught))
	for i, t := range b.Taught {
		e := p.src.Train(t.Index)
		examples[i] = distill.Example{Input: s.encode(e), Belief: t.Belief, Label: p.src.LabelIndex(e.Label())}
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
func (p *pipeline) askTeacher(ctx context.Context, m *Model, from, n int) ([]taught, int, error) {
	sampled, err := p.task.WithSampling(p.c.Student.Samples, rollout.Params{Temperature: 1, MaxTokens: p.c.MaxTokens})
	if err != nil {
		return nil, 0, err
	}
	problems, out := make([]rl.Problem, n), make([]taught, n)
	for i := range problems {
		out[i].Index = from + i
		problems[i] = sampled.Bind(p.src.Train(from + i))
	}
	r, err := rl.Collect(ctx, m.Engine, problems, [2]uint64{p.c.Seed<<8 | beliefStream, uint64(from)})
	if err != nil {
		return nil, 0, err
	}
	tokens := 0
	for i := range r.Groups {
		for k := range r.Groups[i] {
			tokens += len(r.Groups[i][k].Tokens)
		}
	}
	beliefs, err := believe(ctx, m.Policy, p.tok, p.src.Labels, r)
	if err != nil {
		return nil, 0, err
	}
	for i, b := range beliefs {
		out[i].Belief, out[i].Coverage = b.P, b.Coverage
	}
	return out, tokens, nil
}

// fit trains the student.
func (p *pipeline) fit(ctx context.Context, s *local.Student, examples []distill.Example, l *leg) error {
	c := p.c.Student
	f := distill.Fit{
		Student: s, Examples: examples, Classes: len(p.src.Labels),
		Loss:  distill.Loss{Temperature: c.Temperature, Soft: c.Soft},
		Batch: c.Batch, Epochs: c.Epochs, Seed: p.c.Seed, MaxNorm: 1,
	}
	total := f.Steps()
	f.LR = rl.WarmupCosine{LR: c.LR, Warmup: int64(total / 10), Total: int64(total), Final: 0.05 * c.LR}
	perStep := 0.0
	for _, e := range examples {
		perStep += float64(len(e.Input)*c.Batch) / float64(len(examples))
	}
	bar := progress.New(p.w, int64(total), "loss")
	defer bar.Close()
	return l.run(ctx, total, max(total/4, 1), bar, func(ctx context.Context) (map[string]float64, int, error) {
		loss, err := f.Step(ctx, l.Step)
		return map[string]float64{"loss": loss}, int(perStep), err
	})
}
