package relevance

import (
	"context"
	"time"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/relevance/baseline"
	"github.com/stepwise-rl/stepwise/relevance/linear"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// baselines are the stages that show what can be had without a model that reads.
func (p *pipeline) baselines() (all []stage) {
	for _, b := range baseline.All() {
		all = append(all, stage{b.Name, "Baseline: " + b.Title, report.KindBaseline, p.baseline(b)})
	}
	return all
}

// baseline fits a predictor on training rows and scores it.
func (p *pipeline) baseline(b baseline.Baseline) func(context.Context) (*report.Stage, error) {
	return func(ctx context.Context) (*report.Stage, error) {
		start := time.Now()
		n := p.c.BaselineRows
		if p.src.Size > 0 {
			n = min(n, p.src.Size)
		}
		var train []rows.Example
		for i := range n {
			if e := p.src.Train(i); p.src.LabelIndex(e.Label()) >= 0 {
				train = append(train, e)
			}
		}
		predict, err := b.Fit(train, p.src.Labels)
		if err != nil {
			return nil, err
		}
		r := &report.Stage{Tests: map[string]*report.Scores{}}
		score := func(es []rows.Example) *report.Scores {
			all := make([]report.Outcome, len(es))
			for i := range es {
				q := predict(es[i])
				all[i] = report.Outcome{Pair: eval.Pair{Gold: p.src.LabelIndex(es[i].Label()), Pred: linear.MostProbable(q)}, Query: es[i].Query, P: q}
			}
			return report.Score(labelsOf(p.src, false), all)
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
