package relevance

import (
	"context"
	"slices"
	"time"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/relevance/baseline"
	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/linear"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/study"
)

// baselines are the stages that show what can be had without a model that reads.
func (p *pipeline) baselines() (all []stage) {
	for _, b := range baseline.All() {
		all = append(all, stage{b.Name, "Baseline: " + b.Title, report.KindBaseline, p.baseline(b)})
	}
	if p.whole != nil {
		all = append(all, stage{criteriaStage, "Baseline: logistic regression on what criteria find", report.KindBaseline, p.criteria})
	}
	return all
}

// wholeRows are the rows with their whole texts.
type wholeRows struct {
	train, held []rows.Example
	tests       []rows.TestSet
}

// keepWhole keeps the rows of a task with criteria for the baseline of criteria: code
// reads whole texts.
func (p *pipeline) keepWhole() {
	e := p.src.Train(0)
	if len(e.Found) == 0 {
		return
	}
	w := &wholeRows{held: slices.Clone(p.validation()), tests: slices.Clone(p.src.Tests)}
	queries := map[string]bool{}
	for _, e := range p.fitting() {
		w.train = append(w.train, e)
		queries[e.Query] = true
	}
	if len(queries) >= linear.DefaultSettings().Folds {
		p.whole = w
	}
	p.held = nil // those are cut now
}

// fitting are the training rows that baselines learn from.
func (p *pipeline) fitting() (train []rows.Example) {
	n := p.c.BaselineRows
	if p.src.Size > 0 {
		n = min(n, p.src.Size)
	}
	for i := range n {
		if e := p.src.Train(i); p.src.LabelIndex(e.Label()) >= 0 {
			train = append(train, e)
		}
	}
	return train
}

// criteriaStage is the name of the baseline of criteria.
const criteriaStage = "criteria"

// criteria is logistic regression on the findings of criteria.Products, the strongest
// baseline where there are few rows (package study).
func (p *pipeline) criteria(ctx context.Context) (*report.Stage, error) {
	start := time.Now()
	w := p.whole
	d := study.Data{
		Examples: slices.Concat(w.train, w.held), Labels: p.src.Labels, Relevant: p.src.LabelIndex(p.src.Relevant),
		Roles: criteria.DefaultRoles(), Criteria: criteria.Products(),
	}
	if p.o.Collection != nil {
		d.Roles = p.o.Collection.Roles()
	}
	for _, set := range w.tests {
		d.Examples = append(d.Examples, set.Examples...)
	}
	d.Fold = make([]int, len(d.Examples))
	s, err := study.New(d)
	if err != nil {
		return nil, err
	}
	at := make([]int, len(d.Examples))
	for i := range at {
		at[i] = i
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n := len(w.train)
	b, err := s.Believe(at[:n], at[n:], study.Variant{}, linear.DefaultSettings())
	if err != nil {
		return nil, err
	}
	r, said := &report.Stage{Tests: map[string]*report.Scores{}}, b.Test
	score := func(es []rows.Example) *report.Scores {
		scores := p.scoreBeliefs(es, said[:len(es)])
		said = said[len(es):]
		return scores
	}
	if len(w.held) > 0 {
		r.Validation = score(w.held)
	}
	for _, set := range w.tests {
		r.Tests[set.Name] = score(set.Examples)
	}
	r.Seconds = time.Since(start).Seconds()
	return r, nil
}

// scoreBeliefs compares distributions over the labels with the labels.
func (p *pipeline) scoreBeliefs(es []rows.Example, said [][]float64) *report.Scores {
	all := make([]report.Outcome, len(es))
	for i, q := range said {
		all[i] = report.Outcome{Pair: eval.Pair{Gold: p.src.LabelIndex(es[i].Label()), Pred: linear.MostProbable(q)}, Query: es[i].Query, P: q}
	}
	return report.Score(labelsOf(p.src, false), all)
}

// baseline fits a predictor on training rows and scores it.
func (p *pipeline) baseline(b baseline.Baseline) func(context.Context) (*report.Stage, error) {
	return func(ctx context.Context) (*report.Stage, error) {
		start := time.Now()
		predict, err := b.Fit(p.fitting(), p.src.Labels)
		if err != nil {
			return nil, err
		}
		r := &report.Stage{Tests: map[string]*report.Scores{}}
		score := func(es []rows.Example) *report.Scores {
			said := make([][]float64, len(es))
			for i := range es {
				said[i] = predict(es[i])
			}
			return p.scoreBeliefs(es, said)
		}
		if held := p.validation(); len(held) > 0 {
			r.Validation = score(held)
		}
		for _, set := range p.src.Tests {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			r.Tests[set.Name] = score(set.Examples)
		}
		r.Seconds = time.Since(start).Seconds()
		return r, nil
	}
}
