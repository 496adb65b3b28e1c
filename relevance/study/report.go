package study

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"text/tabwriter"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/linear"
	"github.com/stepwise-rl/stepwise/rl/audit"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Pooled holds the predictions of all rows, each by models of the other folds.
type Pooled struct {
	Name string
	// Beliefs has a distribution for each row; nil for a rule.
	Beliefs [][]float64
	// First is the most probable label of each row, Second the label by cut points
	// on the expected grade.
	First, Second []int
	// Score ranks the rows of a query.
	Score []float64
}

// Options are the settings of a report.
type Options struct {
	Settings linear.Settings
	// Replicates is the number of bootstrap resamples; 0 means 2000.
	Replicates int
	Seed       uint64
	// Validate reports on the training rows' beliefs in place of the test rows', to
	// choose by without looking at the test folds.
	Validate bool
}

// CrossValidate trains a variant on all folds but one, for each, and pools what it
// predicts of that one. share is how many of the training queries are used, up to 1.
func (s *Study) CrossValidate(v Variant, share float64, o Options) (*Pooled, error) {
	p := &Pooled{Name: v.Name, Beliefs: make([][]float64, len(s.label)), First: make([]int, len(s.label)), Second: make([]int, len(s.label)), Score: make([]float64, len(s.label))}
	folds := slices.Max(s.data.Fold) + 1
	for fold := range folds {
		train, test := s.split(fold, share, o.Seed)
		b, err := s.Believe(train, test, v, o.Settings)
		if err != nil {
			return nil, fmt.Errorf("study: %s, fold %d: %w", v.Name, fold, err)
		}
		which, beliefs := test, b.Test
		if o.Validate {
			which, beliefs = train, b.Train
		}
		for k, i := range which {
			if o.Validate && s.data.Fold[i] != (fold+1)%folds {
				continue // each row once
			}
			p.Beliefs[i] = beliefs[k]
			p.First[i] = linear.MostProbable(beliefs[k])
			p.Score[i] = linear.Expected(beliefs[k])
			p.Second[i] = linear.Grade(p.Score[i], b.Cuts)
		}
	}
	return p, nil
}

// split returns the rows of the other folds, with a share of their queries, and those
// of the fold.
func (s *Study) split(fold int, share float64, seed uint64) (train, test []int) {
	var names []string
	for i, f := range s.data.Fold {
		if f != fold {
			names = append(names, s.queries[i])
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	rng := rand.New(rand.NewPCG(seed, uint64(fold)))
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	used := make(map[string]bool)
	for _, n := range names[:int(math.Round(share*float64(len(names))))] {
		used[n] = true
	}
	for i, f := range s.data.Fold {
		switch {
		case f == fold:
			test = append(test, i)
		case used[s.queries[i]]:
			train = append(train, i)
		}
	}
	return train, test
}

// Overlap is the rule that a document has the best label if its title has all words
// of the query, and else the lowest.
func (s *Study) Overlap() *Pooled {
	p := &Pooled{Name: "rule: all words in the title"}
	cover := criteria.Coverage{Field: criteria.FieldTitle}
	for _, pair := range s.pairs {
		f := cover.Judge(pair.Query, pair.Document)
		label := 0
		if f.Answer == "all" {
			label = len(s.data.Labels) - 1
		}
		p.First, p.Score = append(p.First, label), append(p.Score, float64(label))
	}
	p.Second = p.First
	return p
}

// BM25 ranks by BM25 in one part of the document; it predicts no label.
func (s *Study) BM25(f criteria.Field) (*Pooled, error) {
	p := &Pooled{Name: "BM25 on " + string(f)}
	documents := s.collection.Documents()
	texts := make([][]string, len(documents))
	for i, d := range documents {
		texts[i] = d.Text(f).Stems
	}
	m, err := eval.NewBM25(texts, eval.DefaultBM25Options())
	for _, pair := range s.pairs {
		p.Score = append(p.Score, m.Score(pair.Query.Stems, pair.Document.Text(f).Stems))
	}
	return p, err
}

// Line prints the metrics of predictions, and with other the paired difference in
// kappa of the second labels.
func (s *Study) Line(w io.Writer, p, other *Pooled, o Options) {
	boot := eval.BootstrapOptions{Seed: o.Seed, Clusters: s.queries, Replicates: o.Replicates}
	show := func(i eval.Interval) string { return fmt.Sprintf("%.3f [%.3f %.3f]", i.Estimate, i.Low, i.High) }
	fmt.Fprintf(w, "%s", p.Name)
	for _, labels := range [][]int{p.First, p.Second} {
		if labels == nil {
			fmt.Fprint(w, "\t\t\t")
			continue
		}
		pairs := s.against(labels)
		fmt.Fprintf(w, "\t%.3f\t%.3f\t%s", eval.Accuracy(pairs), eval.MacroF1(pairs, s.classes()), show(eval.Bootstrap(pairs, eval.QuadraticKappa, boot)))
	}
	gains, names := s.gains(p.Score)
	mean := func(v []float64) float64 { m, _ := eval.Mean(v); return m }
	fmt.Fprintf(w, "\t%s", show(eval.Bootstrap(gains, mean, eval.BootstrapOptions{Seed: o.Seed, Clusters: names, Replicates: o.Replicates})))
	if other != nil && p.First != nil {
		for _, d := range []eval.Interval{
			eval.BootstrapDifference(s.against(p.First), s.against(other.First), eval.Accuracy, boot),
			eval.BootstrapDifference(s.against(p.Second), s.against(other.Second), eval.QuadraticKappa, boot),
		} {
			fmt.Fprintf(w, "\t%+.3f [%+.3f %+.3f]", d.Estimate, d.Low, d.High)
		}
	}
	fmt.Fprintln(w)
}

func (s *Study) classes() []int {
	all := make([]int, len(s.data.Labels))
	for i := range all {
		all[i] = i
	}
	return all
}

func (s *Study) against(labels []int) []eval.Pair {
	pairs := make([]eval.Pair, len(labels))
	for i := range labels {
		pairs[i] = eval.Pair{Gold: s.label[i], Pred: labels[i]}
	}
	return pairs
}

// gains returns nDCG@10 of each query, with the gain 2^label - 1; NaN where no
// document has a gain.
func (s *Study) gains(score []float64) (values []float64, queries []string) {
	by := make(map[string][]eval.Ranked)
	for i, q := range s.queries {
		if by[q] == nil {
			queries = append(queries, q)
		}
		by[q] = append(by[q], eval.Ranked{Score: score[i], Gain: math.Exp2(float64(s.label[i])) - 1})
	}
	for _, q := range queries {
		values = append(values, eval.NDCG(by[q], 10))
	}
	return values, queries
}

// Report prints the comparison: rules, the criteria, a learning curve, and what the
// given ingredients add.
func (s *Study) Report(w io.Writer, ingredients []Variant, o Options) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := "accuracy\tF1\tQWK\taccuracy\tF1\tQWK by cut points\tnDCG@10"
	fmt.Fprintln(t, "predictor\t"+head)
	s.Line(t, s.Overlap(), nil, o)
	for _, f := range []criteria.Field{criteria.FieldTitle, criteria.FieldAny} {
		p, err := s.BM25(f)
		if err != nil {
			return err
		}
		s.Line(t, p, nil, o)
	}
	all, err := s.CrossValidate(Variant{Name: "criteria, logistic regression"}, 1, o)
	if err != nil {
		return err
	}
	s.Line(t, all, nil, o)
	for _, share := range []float64{.25, .5} {
		p, err := s.CrossValidate(Variant{Name: fmt.Sprintf("the same, %.0f%% of the queries", 100*share)}, share, o)
		if err != nil {
			return err
		}
		s.Line(t, p, nil, o)
	}
	fmt.Fprintln(t, "\nwithout an ingredient\t"+head+"\tdifference in accuracy\tin QWK")
	for _, v := range ingredients {
		p, err := s.CrossValidate(v, 1, o)
		if err != nil {
			return err
		}
		s.Line(t, p, all, o)
	}
	return t.Flush()
}

// Audit prints how well each criterion agrees with the labels: it says relevant where
// its score is at least a half, and nothing where it does not apply. The intervals of
// rl/audit are for independent rows, so only the shares are printed.
func (s *Study) Audit(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "criterion\tapplies\tprecision\trecall\tprecision\trecall\n\t\tof relevant\t\tof irrelevant\t")
	share := func(i eval.Interval) string {
		if math.IsNaN(i.Estimate) {
			return "-"
		}
		return fmt.Sprintf("%.2f", i.Estimate)
	}
	for _, c := range s.data.Criteria {
		stats := s.tally(c)
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Name(), share(stats.Coverage(0)),
			share(stats.Precision(rollout.VerdictCorrect, 0)), share(stats.Recall(rollout.VerdictCorrect, 0)),
			share(stats.Precision(rollout.VerdictIncorrect, 0)), share(stats.Recall(rollout.VerdictIncorrect, 0)))
	}
	return t.Flush()
}

func (s *Study) tally(c criteria.Criterion) audit.RuleStats {
	all := make([]audit.Row, len(s.pairs))
	for i, p := range s.pairs {
		r := audit.Row{Rule: c.Name(), Verdict: rollout.VerdictIncorrect, Truth: rollout.VerdictIncorrect, Labeled: true}
		if s.label[i] >= s.data.Relevant {
			r.Truth = rollout.VerdictCorrect
		}
		switch f := c.Judge(p.Query, p.Document); {
		case f.Answer == criteria.None:
			r.Verdict = rollout.VerdictUnknown
		case f.Score >= .5:
			r.Verdict = rollout.VerdictCorrect
		}
		all[i] = r
	}
	return audit.Tally(all)[0]
}
