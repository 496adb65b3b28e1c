package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/eval"
)

// Interval is a 95% bootstrap interval, resampled by query.
type Interval [2]float64

// Scores are the numbers of one model on one set of rows. Pointers are nil where a
// number does not exist: a classifier has no steps.
type Scores struct {
	Examples       int                `json:"examples"`
	Accuracy       float64            `json:"accuracy"`
	BinaryAccuracy float64            `json:"binary_accuracy"`
	MacroF1        float64            `json:"macro_f1"`
	QWK            *float64           `json:"qwk"` // null if every label said is the same
	NDCG           *float64           `json:"ndcg_at_10,omitempty"`
	StepAccuracy   map[string]float64 `json:"step_accuracy,omitempty"`
	// MeanStepAccuracy is the mean over the steps before the label.
	MeanStepAccuracy     *float64 `json:"mean_step_accuracy,omitempty"`
	RightAnswerWrongStep *float64 `json:"right_answer_wrong_step,omitempty"`
	// LabelAfterRightSteps is the accuracy of the label where no step before it is wrong:
	// what is left to learn of the label itself.
	LabelAfterRightSteps *float64 `json:"label_after_right_steps,omitempty"`
	// Unparsable is the share of completions without a readable label. They
	// are wrong in the accuracies, missed in F1, and left out of QWK.
	Unparsable *float64 `json:"unparsable,omitempty"`
	// Malformed is the share of completions that deviate from the format anywhere: a
	// missing step, an answer that is not allowed, a step written twice.
	Malformed *float64 `json:"malformed,omitempty"`
	// Intervals holds 95% percentile bootstrap intervals, resampled by query.
	Intervals map[string]Interval `json:"intervals"`
	// TokensPerSecond counts sampled tokens, or for a classifier input tokens.
	TokensPerSecond float64 `json:"tokens_per_second"`
	// TokensPerRow is how many of them a row takes.
	TokensPerRow float64 `json:"tokens_per_row"`
	// Confusion counts rows by label and by what was said, in the order of the
	// labels; the last column of a row is for unreadable answers.
	Confusion [][]int `json:"confusion,omitempty"`
	// Reliability compares how sure the model was with how often it was right.
	Reliability []Bin `json:"reliability,omitempty"`
	// Queries holds the accuracy per query, the worst first.
	Queries []QueryScore `json:"queries,omitempty"`
	// Worst are the worst mistakes, those farthest from the label first.
	Worst []Mistake `json:"worst,omitempty"`
	// Disagree are the rows where the model is the surest of another label than the
	// one that people gave: either may be wrong.
	Disagree []Mistake `json:"disagree,omitempty"`
}

// ECE is the expected calibration error over the bins of Reliability; NaN without.
func (s *Scores) ECE() float64 {
	sum, n := 0.0, 0.0
	for _, b := range s.Reliability {
		sum += float64(b.Rows) * math.Abs(b.Confidence-b.Accuracy)
		n += float64(b.Rows)
	}
	return sum / n
}

// Bin is the rows whose most probable label has a probability in one range.
type Bin struct {
	Rows       int     `json:"rows"`
	Confidence float64 `json:"confidence"` // mean probability
	Accuracy   float64 `json:"accuracy"`
}

// QueryScore is the result on one query.
type QueryScore struct {
	Query    string  `json:"query"`
	Rows     int     `json:"rows"`
	Accuracy float64 `json:"accuracy"`
	// Error is the mean squared distance from the label, in labels.
	Error float64 `json:"error"`
}

// Outcome is what a model said about one row.
type Outcome struct {
	eval.Pair           // of label indices; Pred is -1 if unreadable
	Steps     []float64 // per step 1, 0 or NaN (no truth); nil for a classifier
	Query     string
	Malformed bool // the completion deviates from the format
	// P is the distribution over the labels, nil if the model gives none, and Expected the
	// expected label of a model that gives that alone, nil if it does not.
	P        []float64
	Expected *float64
	// Mistake describes the row; it is kept where the row is among the worst.
	Mistake func() Mistake
}

// Grade is the expected label as a position among the labels: that of the distribution,
// else Expected, else the answer; NaN without any.
func (o *Outcome) Grade() float64 {
	switch {
	case o.P != nil:
	case o.Expected != nil:
		return *o.Expected
	case o.Pred < 0:
		return math.NaN()
	default:
		return float64(o.Pred)
	}
	sum := 0.0
	for i, p := range o.P {
		sum += float64(i) * p
	}
	return sum
}

// Labels says what Score needs to know of the labels and steps.
type Labels struct {
	Names []string
	// Cut is the position of the smallest label that counts as relevant.
	Cut int
	// Steps are the names of the steps, the label's last; nil for a classifier.
	Steps []string
	// Seed determines the bootstrap.
	Seed uint64
}

// metric is a number of a list of outcomes; NaN where it is undefined.
type metric func([]Outcome) float64

// Score computes all numbers of a model's outcomes with their intervals.
func Score(l Labels, all []Outcome) *Scores {
	o := eval.BootstrapOptions{Replicates: 1000, Seed: l.Seed}
	for i := range all {
		o.Clusters = append(o.Clusters, all[i].Query)
	}
	s := &Scores{Examples: len(all), Intervals: map[string]Interval{}}
	measure := func(name string, m metric) float64 {
		b := eval.Bootstrap(all, m, o)
		if !math.IsNaN(b.Low) && !math.IsNaN(b.High) {
			s.Intervals[name] = Interval{b.Low, b.High}
		}
		return b.Estimate
	}
	s.Accuracy = measure("accuracy", share(func(o *Outcome) bool { return o.Pred == o.Gold }))
	s.BinaryAccuracy = measure("binary_accuracy", share(func(o *Outcome) bool {
		return o.Pred >= 0 && (o.Pred >= l.Cut) == (o.Gold >= l.Cut)
	}))
	labels := make([]int, len(l.Names))
	for i := range labels {
		labels[i] = i
	}
	s.MacroF1 = measure("macro_f1", func(all []Outcome) float64 { return eval.MacroF1(pairs(all, false), labels) })
	s.QWK = known(measure("qwk", func(all []Outcome) float64 { return eval.QuadraticKappa(pairs(all, true)) }))
	s.describe(l, all)
	if l.Steps == nil {
		return s
	}
	s.Unparsable = known(share(func(o *Outcome) bool { return o.Pred < 0 })(all))
	s.Malformed = known(share(func(o *Outcome) bool { return o.Malformed })(all))
	s.StepAccuracy = map[string]float64{}
	for k, name := range l.Steps {
		if v := measure("step_accuracy/"+name, stepMetric(k)); !math.IsNaN(v) {
			s.StepAccuracy[name] = v
		}
	}
	inner := len(l.Steps) - 1
	s.MeanStepAccuracy = known(measure("mean_step_accuracy", func(all []Outcome) float64 {
		sum, n := 0.0, 0.0
		for k := range inner {
			if v := stepMetric(k)(all); !math.IsNaN(v) {
				sum, n = sum+v, n+1
			}
		}
		return sum / n
	}))
	s.RightAnswerWrongStep = known(measure("right_answer_wrong_step", share(func(o *Outcome) bool {
		return o.Pred == o.Gold && slices.Contains(o.Steps, 0)
	})))
	s.LabelAfterRightSteps = known(measure("label_after_right_steps", func(all []Outcome) float64 {
		return Accuracy(slices.DeleteFunc(slices.Clone(all), func(o Outcome) bool {
			return len(o.Steps) <= inner || slices.Contains(o.Steps[:inner], 0)
		}))
	}))
	return s
}

// QWK is the quadratic kappa of outcomes with a readable label.
func QWK(all []Outcome) float64 { return eval.QuadraticKappa(pairs(all, true)) }

// Accuracy is the share of outcomes with the right label.
func Accuracy(all []Outcome) float64 {
	return share(func(o *Outcome) bool { return o.Pred == o.Gold })(all)
}

func known(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}

func share(is func(*Outcome) bool) metric {
	return func(all []Outcome) float64 {
		n := 0
		for i := range all {
			if is(&all[i]) {
				n++
			}
		}
		return float64(n) / float64(len(all))
	}
}

// stepMetric is the share of right answers in step k where there is a truth.
func stepMetric(k int) metric {
	return func(all []Outcome) float64 {
		right, n := 0.0, 0.0
		for i := range all {
			if v := all[i].Steps[k]; !math.IsNaN(v) {
				right, n = right+v, n+1
			}
		}
		return right / n
	}
}

func pairs(all []Outcome, parsedOnly bool) []eval.Pair {
	out := make([]eval.Pair, 0, len(all))
	for i := range all {
		if all[i].Pred >= 0 || !parsedOnly {
			out = append(out, all[i].Pair)
		}
	}
	return out
}

// How much of a set's details a report keeps.
const (
	mostQueries = 200
	mostWorst   = 30
	bins        = 10
)

// describe fills in what is not a single number.
func (s *Scores) describe(l Labels, all []Outcome) {
	n := len(l.Names)
	s.Confusion = make([][]int, n)
	for i := range s.Confusion {
		s.Confusion[i] = make([]int, n+1)
	}
	for i := range all {
		said := all[i].Pred
		if said < 0 {
			said = n
		}
		s.Confusion[all[i].Gold][said]++
	}
	s.Reliability = reliability(all)
	s.Queries = byQuery(all)
	s.NDCG = known(ndcg(all))
	s.Worst, s.Disagree = worst(all, (*Outcome).distance), worst(all, (*Outcome).sureOf)
}

func reliability(all []Outcome) []Bin {
	var out [bins]Bin
	any := false
	for i := range all {
		o := &all[i]
		if o.P == nil || o.Pred < 0 {
			continue
		}
		any = true
		p := o.P[o.Pred]
		b := &out[min(int(p*bins), bins-1)]
		b.Rows++
		b.Confidence += p
		if o.Pred == o.Gold {
			b.Accuracy++
		}
	}
	if !any {
		return nil
	}
	var kept []Bin
	for _, b := range out {
		if b.Rows > 0 {
			kept = append(kept, Bin{b.Rows, b.Confidence / float64(b.Rows), b.Accuracy / float64(b.Rows)})
		}
	}
	return kept
}

func byQuery(all []Outcome) []QueryScore {
	index := map[string]int{}
	var out []QueryScore
	for i := range all {
		o := &all[i]
		k, ok := index[o.Query]
		if !ok {
			k = len(out)
			index[o.Query] = k
			out = append(out, QueryScore{Query: o.Query})
		}
		q := &out[k]
		q.Rows++
		if o.Pred == o.Gold {
			q.Accuracy++
		}
		q.Error += o.distance() * o.distance()
	}
	for i := range out {
		out[i].Accuracy /= float64(out[i].Rows)
		out[i].Error /= float64(out[i].Rows)
	}
	slices.SortStableFunc(out, func(a, b QueryScore) int {
		return cmp.Or(cmp.Compare(b.Error*float64(b.Rows), a.Error*float64(a.Rows)), cmp.Compare(b.Rows, a.Rows))
	})
	return out[:min(len(out), mostQueries)]
}

// distance is how far what was said is from the label; one more than any label can
// be for an unreadable answer without a distribution.
func (o *Outcome) distance() float64 {
	if g := o.Grade(); !math.IsNaN(g) {
		return math.Abs(g - float64(o.Gold))
	}
	return float64(o.Gold) + 1
}

// ndcg is the mean nDCG@10 within the queries that have documents of different labels.
func ndcg(all []Outcome) float64 {
	byQuery, names := map[string][]eval.Ranked{}, []string(nil)
	for i := range all {
		o := &all[i]
		g := o.Grade()
		if math.IsNaN(g) {
			g = -1
		}
		if byQuery[o.Query] == nil {
			names = append(names, o.Query)
		}
		byQuery[o.Query] = append(byQuery[o.Query], eval.Ranked{Score: g, Gain: float64(o.Gold)})
	}
	sum, n := 0.0, 0.0
	for _, q := range names {
		docs := byQuery[q]
		differ := slices.ContainsFunc(docs, func(r eval.Ranked) bool { return r.Gain != docs[0].Gain })
		if v := eval.NDCG(docs, 10); differ && !math.IsNaN(v) {
			sum, n = sum+v, n+1
		}
	}
	return sum / n
}

// worst lists the mistakes with the largest value, whose NaN leaves one out.
func worst(all []Outcome, value func(*Outcome) float64) []Mistake {
	var at []int
	for i := range all {
		if o := &all[i]; o.Mistake != nil && o.Pred != o.Gold && !math.IsNaN(value(o)) {
			at = append(at, i)
		}
	}
	slices.SortStableFunc(at, func(i, j int) int { return cmp.Compare(value(&all[j]), value(&all[i])) })
	var out []Mistake
	for _, i := range at[:min(len(at), mostWorst)] {
		o := &all[i]
		m := o.Mistake()
		if g := o.Grade(); !math.IsNaN(g) {
			m.Grade = g
		}
		if o.P != nil && o.Pred >= 0 {
			m.Sure = o.P[o.Pred]
		}
		out = append(out, m)
	}
	return out
}

// sureOf is the probability of the label that was said.
func (o *Outcome) sureOf() float64 {
	if o.P == nil || o.Pred < 0 {
		return math.NaN()
	}
	return o.P[o.Pred]
}

// Cell is a number with its interval; "–" where there is none.
func (s *Scores) Cell(name string, v *float64) string {
	if v == nil || math.IsNaN(*v) {
		return dash
	}
	i, ok := s.Intervals[name]
	if !ok {
		return fmt.Sprintf("%.3f", *v)
	}
	return fmt.Sprintf("%.3f [%.3f %.3f]", *v, i[0], i[1])
}
