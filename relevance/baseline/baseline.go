package baseline

import (
	"fmt"
	"slices"

	"github.com/stepwise-rl/stepwise/relevance/linear"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// Predictor gives the probability of each label of an example.
type Predictor func(rows.Example) []float64

// Baseline is a way to make a predictor.
type Baseline struct {
	// Name is short and fixed, Title says what it does.
	Name, Title string
	// Fit learns from examples, all with labels that are in the list of labels.
	Fit func(train []rows.Example, labels []string) (Predictor, error)
}

// l2 is the penalty of the baselines: weak, for they should show what can be read off
// the surface.
const l2 = 1e-3

// All lists the baselines, the simplest first.
func All() []Baseline {
	regression := func(extract Extractor) func([]rows.Example, []string) (Predictor, error) {
		return func(train []rows.Example, labels []string) (Predictor, error) {
			c, err := Train(train, labels, extract, l2)
			if err != nil {
				return nil, err
			}
			return c.Probs, nil
		}
	}
	return []Baseline{
		{"majority", "always the most frequent label", Majority},
		{"overlap", "how many words of the query the document has", regression(Overlap)},
		{"words", "which words there are in query and document", regression(BagOfWords)},
		{"characters", "which pairs of characters there are, and how many of the query's the document has", regression(Characters)},
	}
}

// Majority predicts the shares of the labels in training for every example.
func Majority(train []rows.Example, labels []string) (Predictor, error) {
	p := make([]float64, len(labels))
	for _, e := range train {
		i := slices.Index(labels, e.Label())
		if i < 0 {
			return nil, unknownLabel(&e)
		}
		p[i] += 1 / float64(len(train))
	}
	return func(rows.Example) []float64 { return slices.Clone(p) }, nil
}

func unknownLabel(e *rows.Example) error {
	return fmt.Errorf("baseline: example %s has the label %q, which is not one of the list", e.ID, e.Label())
}

// Classifier is a fitted model with the features and labels that it knows.
type Classifier struct {
	extract  Extractor
	features map[string]int
	labels   []string
	model    *linear.Model
}

// Train fits a classifier of the examples' labels, which must all be among
// labels, with the given weight of the L2 penalty for each example: l2 times their
// number is the penalty of package linear.
func Train(examples []rows.Example, labels []string, extract Extractor, l2 float64) (*Classifier, error) {
	c := &Classifier{extract: extract, features: make(map[string]int), labels: labels}
	xs, ys := make([][]int, len(examples)), make([][]float64, len(examples))
	for i, e := range examples {
		label := slices.Index(labels, e.Label())
		if label < 0 {
			return nil, unknownLabel(&e)
		}
		ys[i] = make([]float64, len(labels))
		ys[i][label] = 1
		names := extract(e)
		slices.Sort(names)
		for _, name := range names {
			f, ok := c.features[name]
			if !ok {
				f = len(c.features)
				c.features[name] = f
			}
			xs[i] = append(xs[i], f)
		}
	}
	if len(xs) == 0 || len(labels) < 2 {
		return nil, fmt.Errorf("baseline: %d examples of %d labels, want at least one example and two labels", len(xs), len(labels))
	}
	var err error
	c.model, err = linear.FitCounts(xs, len(c.features), ys, l2*float64(len(xs)))
	return c, err
}

// known returns the features of an example that training had. Others are ignored.
func (c *Classifier) known(e rows.Example) []int {
	var x []int
	names := c.extract(e)
	slices.Sort(names)
	for _, name := range names {
		if f, ok := c.features[name]; ok {
			x = append(x, f)
		}
	}
	return x
}

// Probs returns the probability of each label.
func (c *Classifier) Probs(e rows.Example) []float64 { return c.model.ProbsOfCounts(c.known(e)) }

// Predict returns the most probable label. Features never seen in training
// are ignored.
func (c *Classifier) Predict(e rows.Example) string { return c.labels[linear.MostProbable(c.Probs(e))] }

// Accuracy returns the share of examples whose label is predicted, NaN of
// none.
func (c *Classifier) Accuracy(examples []rows.Example) float64 {
	right := 0
	for _, e := range examples {
		if c.Predict(e) == e.Label() {
			right++
		}
	}
	return float64(right) / float64(len(examples))
}
