package relevance

import (
	"context"
	"time"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// baselines are the stages that show what can be had without a model that reads.
func (p *pipeline) baselines() []stage {
	return []stage{
		{"majority", "Baseline: always the most frequent label", report.KindBaseline, p.baseline(fitMajority)},
	}
}

// predictor is a fitted baseline: it returns a distribution over the labels.
type predictor func(rows.Example) []float64

// baseline fits a predictor on training rows and scores it.
func (p *pipeline) baseline(fit func(train []rows.Example, labels []int, classes int) (predictor, error)) func(context.Context) (*report.Stage, error) {
	return func(ctx context.Context) (*report.Stage, error) {
		start := time.Now()
		n := p.c.BaselineRows
		if p.src.Size > 0 {
			n = min(n, p.src.Size)
		}
		var train []rows.Example
		var labels []int
		for i := range n {
			e := p.src.Train(i)
			if k := p.src.LabelIndex(e.Label()); k >= 0 {
				train, labels = append(train, e), append(labels, k)
			}
		}
		predict, err := fit(train, labels, len(p.src.Labels))
		if err != nil {
			return nil, err
		}
		r := &report.Stage{Tests: map[string]*report.Scores{}}
		score := func(es []rows.Example) *report.Scores {
			all := make([]report.Outcome, len(es))
			for i := range es {
				q := predict(es[i])
				all[i] = report.Outcome{Pair: eval.Pair{Gold: p.src.LabelIndex(es[i].Label()), Pred: argmax(q)}, Query: es[i].Query, P: q}
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

// fitMajority says the shares of the labels in training, whatever the row.
func fitMajority(_ []rows.Example, labels []int, classes int) (predictor, error) {
	p := make([]float64, classes)
	for _, k := range labels {
		p[k] += 1 / float64(len(labels))
	}
	return func(rows.Example) []float64 { return p }, nil
}
