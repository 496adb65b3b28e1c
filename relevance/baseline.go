package relevance

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/linear"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// baselines are the stages that show what can be had without a model that reads.
func (p *pipeline) baselines() []stage {
	return []stage{
		{"majority", "Baseline: always the most frequent label", report.KindBaseline, p.baseline(fitMajority)},
		{"overlap", "Baseline: how much of the query stands in the document, in words and pairs of letters", report.KindBaseline, p.baseline(fitOverlap)},
		{"bag-of-words", "Baseline: which words query and document have", report.KindBaseline, p.baseline(fitBag)},
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

// fitFeatures fits logistic regression on features of a pair.
func fitFeatures(train []rows.Example, labels []int, classes int, l2 float64, features func(rows.Example) []float64) (predictor, error) {
	x, y := make([][]float64, len(train)), make([][]float64, len(train))
	for i, e := range train {
		x[i], y[i] = features(e), make([]float64, classes)
		y[i][labels[i]] = 1
	}
	m, err := linear.Fit(x, y, l2)
	if err != nil {
		return nil, err
	}
	return func(e rows.Example) []float64 { return m.Probs(features(e)) }, nil
}

// fitOverlap sees how much of the query stands in title and text. If it does well, the
// label hardly takes any reading.
func fitOverlap(train []rows.Example, labels []int, classes int) (predictor, error) {
	return fitFeatures(train, labels, classes, 1, overlap)
}

func overlap(e rows.Example) []float64 {
	query, title, text := stemSet(e.Query), stemSet(e.Document.Title), stemSet(documentText(&e.Document, nil))
	letters, inTitle, inText := pairsOf(e.Query), pairsOf(e.Document.Title), pairsOf(documentText(&e.Document, nil))
	return []float64{
		shareIn(query, title), shareIn(query, text), shareIn(letters, inTitle), shareIn(letters, inText),
		math.Log1p(float64(len(query))), math.Log1p(float64(len(text))),
	}
}

func stemSet(text string) map[string]bool {
	set := map[string]bool{}
	for _, w := range criteria.Words(text) {
		set[criteria.Stem(w)] = true
	}
	return set
}

// pairsOf is the set of pairs of adjacent letters or digits.
func pairsOf(text string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(strings.ToLower(text)) {
		r := []rune(word)
		for i := range len(r) - 1 {
			set[string(r[i:i+2])] = true
		}
	}
	return set
}

// shareIn is the share of a that is in b; 1 of nothing.
func shareIn(a, b map[string]bool) float64 {
	n := 0
	for k := range a {
		if b[k] {
			n++
		}
	}
	if len(a) == 0 {
		return 1
	}
	return float64(n) / float64(len(a))
}

// bagWords is how many of the most frequent words a bag of words knows, those of
// queries and of documents apart.
const bagWords = 400

// fitBag sees which words occur: what the label's surface gives away.
func fitBag(train []rows.Example, labels []int, classes int) (predictor, error) {
	count := map[string]int{}
	for _, e := range train {
		for _, name := range bag(e) {
			count[name]++
		}
	}
	names := make([]string, 0, len(count))
	for name := range count {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(count[b]-count[a], cmp.Compare(a, b)) })
	names = names[:min(len(names), bagWords)]
	index := map[string]int{}
	for i, name := range names {
		index[name] = i
	}
	return fitFeatures(train, labels, classes, 5, func(e rows.Example) []float64 {
		x := make([]float64, len(names))
		for _, name := range bag(e) {
			if i, ok := index[name]; ok {
				x[i] = 1
			}
		}
		return x
	})
}

func bag(e rows.Example) (names []string) {
	for w := range stemSet(e.Query) {
		names = append(names, "query "+w)
	}
	for w := range stemSet(documentText(&e.Document, nil)) {
		names = append(names, "document "+w)
	}
	return names
}
