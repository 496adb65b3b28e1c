package relevance

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/record/progress"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// distill teaches the student the best policy's belief about the labels.
func (p *pipeline) distill(ctx context.Context) (*report.Stage, error) {
	teacher, why, err := p.bestPolicy()
	if err != nil {
		return nil, err
	}
	if teacher == "" {
		teacher, why = asItIs, "which the run began with"
	}
	fmt.Fprintf(p.w, "teacher: %s, %s; no test set is asked\n", teacher, why)
	learnt, err := p.beliefs(ctx, teacher)
	if err != nil {
		return nil, err
	}
	begin, err := p.weaken(ctx, teacher)
	if err != nil {
		return nil, err
	}
	stage, err := p.f.Stage(studentStage)
	if err != nil {
		return nil, err
	}
	s, err := p.newStudent(ctx, teacher, stage.Checkpoints().Dir)
	if err != nil {
		return nil, err
	}
	defer s.free()
	l := p.newLeg(stage)
	l.weights, l.Tokens, l.Seconds = s.weights(), learnt.Tokens, learnt.Seconds
	found, err := l.resume(ctx)
	if err == nil && !found && begin != "" {
		err = s.weights().Load(ctx, begin)
	}
	if err != nil {
		return nil, err
	}
	if s.ranker != nil {
		err = p.fitRanking(ctx, s, learnt, l)
	} else {
		err = p.fit(ctx, s, p.examples(learnt, s), l)
	}
	if err != nil {
		return nil, err
	}
	r, err := l.result()
	if err != nil {
		return nil, err
	}
	r.Note = "teacher: " + teacher
	r.Numbers = map[string]float64{"coverage": meanCoverage(learnt.Taught)}
	scorer := s.scorer(p.src.Labels)
	if err := p.evaluate(ctx, scorer, studentStage, r); err != nil {
		return nil, err
	}
	return r, p.writeStudentFolder(s, scorer.calibration())
}

// asItIs names the teacher of a run without stages that train a policy.
const asItIs = "policy"

// openTeacher returns the policy of a stage.
func (p *pipeline) openTeacher(ctx context.Context, teacher string) (*Model, error) {
	m, err := p.models.New("") // it is only read
	if err != nil {
		return nil, err
	}
	if teacher == asItIs {
		err = publish(ctx, m)
	} else {
		err = p.startFrom(ctx, m, teacher)
	}
	if err != nil {
		m.free()
		return nil, err
	}
	return m, nil
}

// beliefs is what is known of the teacher's belief so far, as it is stored.
type beliefs struct {
	// Asked says what was asked of whom. Beliefs are taken from Options.Beliefs only if
	// it is the same.
	Asked   string   `json:"asked"`
	Tokens  int      `json:"tokens"`
	Seconds float64  `json:"seconds"`
	Taught  []taught `json:"taught"`
	// Rules are the tallies of the run so far.
	Rules map[string]report.Tally `json:"rules"`
}

// taught is what the teacher says of a pair.
type taught struct {
	// Index and Document are the rows of the training stream that its query and its
	// document are of.
	Index    int       `json:"index"`
	Document int       `json:"document"`
	Belief   []float64 `json:"belief,omitempty"`
	Coverage float64   `json:"coverage"`
	// Steps holds the share of the rationales with each answer, per step that has
	// listed answers; nil where no rationale has one.
	Steps [][]float64 `json:"steps,omitempty"`
}

// beliefs samples the teacher on fresh training examples and reads off what it
// believes. An interrupted run goes on with the next chunk.
func (p *pipeline) beliefs(ctx context.Context, teacher string) (*beliefs, error) {
	const chunk = 1024
	total := p.c.Student.Examples
	all, store, err := p.storedBeliefs(teacher)
	if err != nil {
		return nil, err
	}
	if len(all.Taught) >= total {
		all.Taught = all.Taught[:total]
		return all, nil
	}
	m, err := p.openTeacher(ctx, teacher)
	if err != nil {
		return nil, err
	}
	defer m.free()
	fmt.Fprintf(p.w, "beliefs of the teacher about %d rows\n", total)
	bar := progress.New(p.w, int64(total), "coverage")
	defer bar.Close()
	for len(all.Taught) < total {
		done := len(all.Taught)
		if ctx.Err() != nil {
			return nil, &Interrupted{studentStage, fmt.Sprintf("%d of %d beliefs", done, total)}
		}
		start := time.Now()
		more, tokens, err := p.askTeacher(context.WithoutCancel(ctx), m, done, min(chunk, total-done))
		if err != nil {
			return nil, err
		}
		all.Taught = append(all.Taught, more...)
		all.Tokens += tokens
		all.Seconds += time.Since(start).Seconds()
		all.Rules = p.tallies()
		if err := store(all); err != nil {
			return nil, err
		}
		if err := bar.Record(int64(len(all.Taught)), map[string]float64{"coverage": meanCoverage(more)}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// storedBeliefs returns the beliefs so far, and what stores them: as an artefact of the
// run, or in the file of the options.
func (p *pipeline) storedBeliefs(teacher string) (*beliefs, func(*beliefs) error, error) {
	const artefact = "stages/" + studentStage + "/beliefs.json"
	c, policies := p.c.Student, p.c
	policies.Student = Student{}
	settings, err := json.Marshal(policies)
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(settings)
	asked := fmt.Sprintf("task %.12s, data %.12s, settings without the student %x, stage %s, rows from %d on, samples %d", p.digest, p.data, sum[:6], teacher, p.firstStudent(), c.Samples)
	if c.Form == FormBiEncoder {
		asked += fmt.Sprintf(", %d documents a query", c.Documents)
	}
	all := &beliefs{Asked: asked}
	if p.o.Beliefs == "" {
		found, err := readJSON(p.f.Folder, artefact, all)
		if found && err == nil {
			p.restoreTallies(all.Rules)
		}
		return all, func(b *beliefs) error { return p.writeCompact(artefact, b) }, err
	}
	text, err := os.ReadFile(p.o.Beliefs)
	if err == nil {
		if err = json.Unmarshal(text, all); err == nil && all.Asked != asked {
			err = fmt.Errorf("the beliefs are those of %s, want %s", all.Asked, asked)
		}
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", p.o.Beliefs, err)
	}
	return all, func(b *beliefs) error {
		return durable.Replace(p.o.Beliefs, func(w io.Writer) error { return json.NewEncoder(w).Encode(b) })
	}, nil
}

// pair is row i of those that the teacher labels. A bi-encoder's are those of one query
// after the other: its own document, then others'.
func (p *pipeline) pair(i int) (rows.Example, taught) {
	first, n := p.firstStudent(), 1
	if p.c.Student.Form == FormBiEncoder {
		n = p.c.Student.Documents
	}
	t := taught{Index: first + i/n, Document: first + i/n}
	if i%n > 0 {
		queries := p.c.Student.Examples / n
		if p.src.Size > 0 {
			queries = p.src.Size
		}
		t.Document = first + streamOf(documentStream, p.c.Seed, uint64(i)).IntN(queries)
	}
	return p.row(t), t
}

// row is the pair that t is about. Stored beliefs may be those of a run with other
// Student.Examples, whose pairs were drawn from others.
func (p *pipeline) row(t taught) rows.Example {
	e := p.src.Train(t.Index)
	if t.Document == t.Index {
		return e
	}
	e = rows.Example{ID: fmt.Sprintf("%d-%d", t.Index, t.Document), Query: e.Query, Document: p.src.Train(t.Document).Document, Truth: make([]string, len(p.src.Steps))}
	if p.src.Prepare != nil {
		e = p.src.Prepare(e)
		e.Truth = make([]string, len(p.src.Steps))
	}
	return e
}

// examples joins the beliefs with the true labels.
func (p *pipeline) examples(b *beliefs, s *student) []distill.Example {
	examples := make([]distill.Example, len(b.Taught))
	for i, t := range b.Taught {
		e := p.row(t)
		examples[i] = distill.Example{Input: s.encode(e), Belief: t.Belief, Label: p.src.LabelIndex(e.Label())}
		if len(s.info.Steps) > 0 {
			examples[i].Steps = t.Steps
		}
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

// askTeacher samples completions of n pairs and asks for the probability of every
// label where each states its final answer.
func (p *pipeline) askTeacher(ctx context.Context, m *Model, from, n int) ([]taught, int, error) {
	samples, params := p.c.Student.Samples, rollout.Params{Temperature: 1, MaxTokens: p.c.MaxTokens}
	if samples == 0 {
		samples, params.Temperature = 1, 0
	}
	sampled, err := p.task.WithSampling(samples, params)
	if err != nil {
		return nil, 0, err
	}
	problems, out := make([]rl.Problem, n), make([]taught, n)
	clip := p.clipper(ctx)
	for i := range problems {
		var e rows.Example
		if e, out[i] = p.pair(from + i); p.src.Clip != nil && out[i].Document != out[i].Index {
			if e, err = clip.Clip(e); err != nil { // the document was cut beside its own query
				return nil, 0, err
			}
		}
		problems[i] = sampled.Bind(e)
	}
	r, err := rl.Collect(ctx, m.Engine, problems, [2]uint64{p.c.Seed<<8 | beliefStream, uint64(p.firstStudent() + from)})
	if err != nil {
		return nil, 0, err
	}
	beliefs, err := believe(ctx, m.Policy, p.tok, p.src.Labels, r)
	if err != nil {
		return nil, 0, err
	}
	tokens := 0
	steps := answered(p.src)
	for i, b := range beliefs {
		out[i].Belief, out[i].Coverage = b.P, b.Coverage
		out[i].Steps = stepShares(r.Groups[i], steps)
		for k := range r.Groups[i] {
			tokens += len(r.Groups[i][k].Tokens)
		}
	}
	return out, tokens, nil
}

// stepShares are the shares of a group's completions that give each answer to each of
// the steps.
func stepShares(g rollout.Group, steps []StepAnswers) [][]float64 {
	shares := make([][]float64, len(steps))
	for k, s := range steps {
		counts, n := make([]float64, len(s.Answers)), 0.0
		for i := range g {
			for _, w := range g[i].Trace.Steps {
				if a := slices.Index(s.Answers, w.Answer); w.Name == s.Name && w.Status == prompt.StatusOK && a >= 0 {
					counts[a]++
					n++
				}
			}
		}
		if n == 0 {
			continue
		}
		for a := range counts {
			counts[a] /= n
		}
		shares[k] = counts
	}
	return shares
}

// fit trains a classifier.
func (p *pipeline) fit(ctx context.Context, s *student, examples []distill.Example, l *leg) error {
	c := p.c.Student
	return p.fitClassifier(ctx, l, c.LR, distill.Fit{
		Student: s.classifier, Examples: examples, Classes: len(p.src.Labels), Head: c.Head,
		Loss:    distill.Loss{Temperature: c.Temperature, Soft: c.Soft},
		Answers: s.info.answers(), StepWeight: c.StepWeight,
		Batch: c.Batch, Epochs: c.Epochs, Seed: p.c.Seed, MaxNorm: 1,
	})
}

func (p *pipeline) fitClassifier(ctx context.Context, l *leg, lr float64, f distill.Fit) error {
	f.LR = schedule(lr, f.Steps())
	tokens, examples := 0, f.Examples
	for _, e := range examples {
		tokens += len(e.Input)
	}
	return p.train(ctx, l, f.Steps(), tokens*f.Batch/len(examples), f.Step)
}

// fitRanking trains a bi-encoder, and finds the link of its scores to the labels.
func (p *pipeline) fitRanking(ctx context.Context, s *student, b *beliefs, l *leg) error {
	c := p.c.Student
	f := distill.FitRanking{Ranker: s.ranker, Loss: c.Ranking, Batch: c.Batch, Epochs: c.Epochs, Seed: p.c.Seed, MaxNorm: 1}
	tokens, known := 0, [][]float64{}
	for i, t := range b.Taught {
		e := p.row(t)
		if i%c.Documents == 0 {
			f.Queries = append(f.Queries, distill.Query{Tokens: s.query(e)})
			tokens += len(f.Queries[len(f.Queries)-1].Tokens)
		}
		if t.Belief == nil {
			continue
		}
		q := &f.Queries[len(f.Queries)-1]
		q.Documents, q.Teacher = append(q.Documents, s.document(e)), append(q.Teacher, distill.ByGrade(t.Belief))
		tokens += len(q.Documents[len(q.Documents)-1])
		known = append(known, t.Belief)
	}
	lists := f.Queries
	f.Queries = slices.DeleteFunc(slices.Clone(lists), func(q distill.Query) bool { return len(q.Documents) < 2 })
	if len(f.Queries) == 0 {
		return fmt.Errorf("student: of none of %d queries the teacher stated readable labels for two documents; train it for longer, or sample more", len(lists))
	}
	f.LR = schedule(c.LR, f.Steps())
	if err := p.train(ctx, l, f.Steps(), tokens*c.Batch/len(lists), f.Step); err != nil {
		return err
	}
	dst, scores := make([][]float64, len(lists)), []float64{}
	for i, q := range lists {
		dst[i] = make([]float64, len(q.Documents))
	}
	if err := s.ranker.Scores(ctx, lists, dst, false); err != nil {
		return err
	}
	for _, d := range dst {
		scores = append(scores, d...)
	}
	var err error
	s.info.Link, err = fitLink(scores, known)
	return err
}

// train takes the training steps of a student.
func (p *pipeline) train(ctx context.Context, l *leg, total, tokens int, step func(context.Context, int) (float64, error)) error {
	bar := progress.New(p.w, int64(total), "loss")
	defer bar.Close()
	return l.run(ctx, total, max(total/4, 1), bar, func(ctx context.Context) (map[string]float64, int, error) {
		loss, err := step(ctx, l.Step)
		return map[string]float64{"loss": loss}, tokens, err
	})
}

// schedule is a student's over all its training steps.
func schedule(lr float64, total int) rl.Schedule {
	return rl.WarmupCosine{LR: lr, Warmup: int64(total / 10), Total: int64(total), Final: 0.05 * lr}
}
