package relevance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Evaluate scores examples of a source and compares what is said with their labels.
// byGrade takes the label by the cut points on the expected grade where the scorer has
// them. Labels of the scorer that are not the source's, an example with none of these,
// and no examples are errors. What the scorer could not judge counts as unreadable.
func Evaluate(ctx context.Context, s Scorer, src *rows.Source, es []rows.Example, byGrade bool) (*report.Scores, error) {
	if err := labelled(src, es); err != nil {
		return nil, err
	}
	if have := s.Labels(); !slices.Equal(have, src.Labels) {
		return nil, fmt.Errorf("the scorer's labels are %q, want those of the source, %q", have, src.Labels)
	}
	outcomes, tokens, seconds, err := outcomesOf(ctx, s, src, es, byGrade)
	if err != nil {
		return nil, err
	}
	_, reasons := s.(*policyScorer)
	scores := report.Score(labelsOf(src, reasons), outcomes)
	scores.TokensPerSecond, scores.TokensPerRow = float64(tokens)/seconds, float64(tokens)/float64(len(es))
	return scores, nil
}

// labelled returns an error unless each of several examples has one of the source's labels,
// without which there is nothing to compare with.
func labelled(src *rows.Source, es []rows.Example) error {
	if len(es) == 0 {
		return errors.New("no examples, want at least one")
	}
	for i := range es {
		if src.LabelIndex(es[i].Label()) < 0 {
			return fmt.Errorf("example %s: the label is %q, want one of %q", es[i].ID, es[i].Label(), src.Labels)
		}
	}
	return nil
}

func labelsOf(src *rows.Source, steps bool) report.Labels {
	l := report.Labels{Names: src.Labels, Cut: src.LabelIndex(src.Relevant), Seed: bootstrapStream}
	if steps {
		for _, s := range src.Steps {
			l.Steps = append(l.Steps, s.Name)
		}
	}
	return l
}

// outcomesOf is what a scorer says of examples.
func outcomesOf(ctx context.Context, s Scorer, src *rows.Source, es []rows.Example, byGrade bool) (all []report.Outcome, tokens int, seconds float64, err error) {
	start := time.Now()
	scores, err := scoreAll(ctx, s, es)
	if err != nil {
		return nil, 0, 0, err
	}
	for i := range es {
		if why := scores[i].Unscorable; why != "" { // numbers of other rows would not compare
			return nil, 0, 0, fmt.Errorf("example %s: %s", es[i].ID, why)
		}
		tokens += scores[i].tokens
		all = append(all, outcome(src, &es[i], &scores[i], byGrade))
	}
	return all, tokens, time.Since(start).Seconds(), nil
}

// ScoreExamples scores pairs from elsewhere, whichever their queries. Neighbours with the
// same query go into one call of a scorer that is no [PairScorer]. What a scorer from
// outside this package leaves out of its scores is derived, and what contradicts itself is
// an error.
func ScoreExamples(ctx context.Context, s Scorer, es []rows.Example, o ScoreOptions) ([]Score, error) {
	x, ok := s.(interface {
		exampleScorer
		ready(rows.Example) (rows.Example, error)
	})
	if !ok {
		return scoreOutside(ctx, s, es, o)
	}
	prepared := make([]rows.Example, len(es))
	for i, e := range es {
		err := ctx.Err() // long texts take long
		if err != nil {
			return nil, err
		}
		if prepared[i], err = x.ready(e); err != nil {
			return nil, fmt.Errorf("example %s: %w", e.ID, err)
		}
	}
	return x.scoreExamples(ctx, prepared, o)
}

// scoreAll scores examples that are prepared already.
func scoreAll(ctx context.Context, s Scorer, es []rows.Example) ([]Score, error) {
	if x, ok := s.(exampleScorer); ok {
		return x.scoreExamples(ctx, es, ScoreOptions{Steps: true})
	}
	return scoreOutside(ctx, s, es, ScoreOptions{Steps: true})
}

// scoreOutside scores with a scorer that is not one of this package.
func scoreOutside(ctx context.Context, s Scorer, es []rows.Example, o ScoreOptions) ([]Score, error) {
	var all []Score
	var err error
	if p, ok := s.(PairScorer); ok {
		all, err = p.ScorePairs(ctx, es, o)
	} else {
		all, err = scoreQueries(ctx, s, es, o)
	}
	if err != nil {
		return nil, err
	}
	if len(all) != len(es) {
		return nil, fmt.Errorf("the scorer gave %d scores for %d pairs", len(all), len(es))
	}
	labels := s.Labels()
	for i := range all {
		if err := all[i].complete(labels); err != nil {
			return nil, fmt.Errorf("example %s: the scorer's score: %w", es[i].ID, err)
		}
	}
	return all, nil
}

// scoreQueries calls a scorer once for neighbours with the same query.
func scoreQueries(ctx context.Context, s Scorer, es []rows.Example, o ScoreOptions) ([]Score, error) {
	var all []Score
	for from := 0; from < len(es); {
		var documents []rows.Document
		to := from
		for ; to < len(es) && es[to].Query == es[from].Query; to++ {
			documents = append(documents, es[to].Document)
		}
		some, err := s.Score(ctx, es[from].Query, documents, o)
		if err == nil && len(some) != len(documents) {
			err = fmt.Errorf("the scorer gave %d scores for %d documents", len(some), len(documents))
		}
		if err != nil {
			return nil, fmt.Errorf("examples %s to %s: %w", es[from].ID, es[to-1].ID, err)
		}
		all = append(all, some...)
		from = to
	}
	return all, nil
}

// outcome compares a score with the example's label.
func outcome(src *rows.Source, e *rows.Example, s *Score, byGrade bool) report.Outcome {
	said := s.Label
	if byGrade && s.ByGrade != "" {
		said = s.ByGrade
	}
	o := report.Outcome{
		Pair:  eval.Pair{Gold: src.LabelIndex(e.Label()), Pred: src.LabelIndex(said)},
		Query: e.Query, P: s.P, Malformed: s.Malformed,
	}
	switch {
	case math.IsNaN(s.Grade): // label and distribution, if any, mean nothing either
		o.Pred, o.P = -1, nil
	case s.P == nil:
		o.Expected = &s.Grade
	}
	if s.judged != nil {
		for _, step := range src.Steps {
			o.Steps = append(o.Steps, stepVerdict(s.judged, step.Name))
		}
	}
	o.Mistake = func() report.Mistake { return mistake(src, e, s, said) }
	return o
}

// mistake describes a row for people.
func mistake(src *rows.Source, e *rows.Example, s *Score, said string) report.Mistake {
	m := report.Mistake{ID: e.ID, Query: e.Query, Document: documentText(&e.Document, e.Facts), Label: e.Label(), Said: said, Text: s.text}
	for k, step := range src.Steps {
		pair := report.StepPair{Name: step.Name}
		if k < len(e.Truth) {
			pair.Truth = e.Truth[k]
		}
		for _, w := range s.Steps {
			if w.Name == step.Name {
				pair.Said = w.Answer
			}
		}
		if s.judged != nil {
			m.Steps = append(m.Steps, pair)
		}
	}
	return m
}

// documentText writes a document for people.
func documentText(d *rows.Document, facts []rows.Field) string {
	var parts []string
	for _, text := range []string{d.Title, d.Body} {
		if text != "" {
			parts = append(parts, text)
		}
	}
	for _, f := range slices.Concat(d.Fields, facts) {
		parts = append(parts, f.Name+": "+f.Value)
	}
	return strings.Join(parts, "\n")
}

// stepVerdict is 1 for a right step, 0 for a wrong one or one that is broken
// anywhere, NaN for one that nobody can judge.
func stepVerdict(steps []rollout.Step, name string) float64 {
	v := math.NaN()
	for _, s := range steps {
		if s.Name != name {
			continue
		}
		switch s.Verdict {
		case rollout.VerdictIncorrect, rollout.VerdictBroken:
			return 0
		case rollout.VerdictCorrect:
			v = 1
		}
	}
	return v
}

// policyScorer is the policy of a stage as a scorer of the source's examples.
func (p *pipeline) policyScorer(m *Model) *policyScorer {
	return &policyScorer{
		task: p.task, engine: m.Engine, prober: m.Policy, tok: p.tok, labels: p.src.Labels, maxTokens: p.c.MaxTokens, seed: p.c.Seed,
		prepare: func(e rows.Example) (rows.Example, error) { return e, nil },
	}
}

// evaluatePolicy judges validation rows and all test sets with a policy.
func (p *pipeline) evaluatePolicy(ctx context.Context, m *Model, stage string, r *report.Stage) error {
	return p.evaluate(ctx, p.policyScorer(m), stage, r)
}

// calibrated is a scorer whose probabilities can be calibrated.
type calibrated interface {
	exampleScorer
	Scorer
	calibrate(Calibration)
}

// evaluate fills in the scores of a stage, and stores what was said of each row. It
// calibrates the scorer on validation rows; the scores are those of the calibrated one,
// as it is used later.
func (p *pipeline) evaluate(ctx context.Context, s calibrated, stage string, r *report.Stage) error {
	said, fix := Predictions{}, Calibration{}
	one := func(name string, es []rows.Example) (*report.Scores, error) {
		outcomes, tokens, seconds, err := outcomesOf(ctx, s, p.src, es, false)
		if err != nil {
			return nil, err
		}
		if name == ValidationSet {
			fix = calibrate(outcomes)
		}
		for i, o := range outcomes {
			said[name] = append(said[name], Prediction{ID: es[i].ID, Query: o.Query, Gold: o.Gold, Said: o.Pred, P: o.P})
			if o.P != nil {
				outcomes[i].P = fix.soften(o.P)
			}
		}
		_, reasons := s.(*policyScorer)
		scores := report.Score(labelsOf(p.src, reasons), outcomes)
		scores.TokensPerSecond, scores.TokensPerRow = float64(tokens)/seconds, float64(tokens)/float64(len(es))
		return scores, nil
	}
	var err error
	if held := p.validation(); len(held) > 0 {
		if r.Validation, err = one(ValidationSet, held); err != nil {
			return err
		}
	}
	r.Tests = map[string]*report.Scores{}
	for _, set := range p.src.Tests {
		if r.Tests[set.Name], err = one(set.Name, set.Examples); err != nil {
			return err
		}
	}
	s.calibrate(fix)
	return p.writeJSON(predictionsFile(stage), said)
}

// ValidationSet is the name of the validation rows in Predictions.
const ValidationSet = "validation"

// Predictions is what a stage's model said of the rows of each test set, and of those
// for validation.
type Predictions map[string][]Prediction

// Prediction is what a model said of one row.
type Prediction struct {
	ID    string `json:"id"`
	Query string `json:"query"`
	// Gold and Said are positions among the labels; Said is -1 if the answer was
	// unreadable.
	Gold int `json:"gold"`
	Said int `json:"said"`
	// P is the distribution over the labels before calibration; nil if it is not known.
	P []float64 `json:"p"`
}

func predictionsFile(stage string) string { return "predictions/" + stage + ".json" }

// ReadPredictions returns what a stage of the run in a folder said.
func ReadPredictions(dir, stage string) (Predictions, error) {
	f, err := run.Open(dir)
	if err != nil {
		return nil, err
	}
	var all Predictions
	found, err := readJSON(f, predictionsFile(stage), &all)
	if err == nil && !found {
		var have []string
		files, _ := fs.Glob(os.DirFS(dir), predictionsFile("*"))
		for _, file := range files {
			have = append(have, strings.TrimSuffix(path.Base(file), ".json"))
		}
		err = fmt.Errorf("%s: no stage %q has predictions; there are those of %s", dir, stage, cmp.Or(strings.Join(have, ", "), "none"))
	}
	return all, err
}

// evalName is the name under which a metric of the validation is recorded.
func evalName(m string) string { return "eval/" + m }

// validation are the rows that checkpoints are chosen by: the source's own or, where
// examples are generated without end, some that nothing else uses.
func (p *pipeline) validation() []rows.Example {
	n := p.c.Validation.Rows
	if n == 0 || p.held != nil {
		return p.held
	}
	switch {
	case len(p.src.Validation) > 0:
		p.held = p.src.Validation[:min(n, len(p.src.Validation))]
	case p.src.Size == 0:
		for i := range n {
			p.held = append(p.held, p.src.Train(p.firstValidation()+i))
		}
	}
	return p.held
}

// validate answers the validation rows greedily.
func (p *pipeline) validate(ctx context.Context, m *Model) (map[string]float64, error) {
	greedy, err := p.task.WithSampling(1, rollout.Params{MaxTokens: p.c.MaxTokens})
	if err != nil {
		return nil, err
	}
	held := p.validation()
	problems := make([]rl.Problem, len(held))
	for i, e := range held {
		problems[i] = greedy.Bind(e)
	}
	r, metrics, err := rl.EvaluateProblems(ctx, m.Engine, problems, 0)
	if err != nil {
		return nil, err
	}
	all := make([]report.Outcome, 0, len(held))
	for i := range held {
		for k := range r.Groups[i] {
			o := report.Outcome{Pair: eval.Pair{Gold: p.src.LabelIndex(held[i].Label()), Pred: -1}, Query: held[i].Query}
			if answer, ok := r.Groups[i][k].Trace.FinalAnswer(); ok {
				o.Pred = p.src.LabelIndex(answer)
			}
			all = append(all, o)
		}
	}
	out := map[string]float64{
		string(MetricAccuracy): report.Accuracy(all), string(MetricQWK): report.QWK(all),
		"right_answer_wrong_step": metrics["right_answer_wrong_step"], "malformed": metrics["malformed"],
	}
	for _, s := range p.src.Steps {
		if v, ok := metrics["step/"+s.Name+"/correct"]; ok {
			out["step/"+s.Name+"/correct"] = v
		}
	}
	for k, v := range out {
		if math.IsNaN(v) {
			out[k] = 0 // no kappa where only one label is said: the worst
		}
	}
	out[qualityName] = quality(out[string(p.c.Validation.Metric)], out["malformed"])
	return out, nil
}
