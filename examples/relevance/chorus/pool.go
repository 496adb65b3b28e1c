package main

import (
	"cmp"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/linear"
)

// predictor is what a model believes of every pair, without having seen its query.
type predictor struct {
	name string
	// test has the beliefs about the pairs of each fold, of models that have not seen
	// it: the pooled predictions.
	test [][]float64
	// inner has, for each fold that is tested, beliefs of models that have seen neither
	// that fold nor the pair's query; nil for pairs of other folds. Cut points and
	// weights are found on them.
	inner [folds][][]float64
	said  [2][]eval.Pair // gold label and grade by each rule, and
	line  string         // the row of the table, once it is printed
}

// keep sets the beliefs about the training and test pairs of fold f.
func (p *predictor) keep(f int, b *linear.Beliefs, train, test []int) {
	p.inner[f] = make([][]float64, len(p.test))
	for k, i := range train {
		p.inner[f][i] = b.Train[k]
	}
	for k, i := range test {
		p.test[i] = b.Test[k]
	}
}

// criteriaAlone is logistic regression, cross-fitted in the training folds.
func (j *judgements) criteriaAlone(name string, more [][]float64, gold bool) (*predictor, error) {
	p := &predictor{name: name, test: make([][]float64, len(j.pairs))}
	for f := range folds {
		train, test := j.training(without(f)...), j.inFolds(f)
		b, err := j.believe(more, gold, train, test)
		if err != nil {
			return nil, err
		}
		p.keep(f, b, train, test)
	}
	return p, nil
}

// pairwise pools models that have each left out two neighbouring folds: a fold is
// tested with the mean of the two that have not seen it, and each of these has been
// asked about one more fold, which serves to tune.
func (j *judgements) pairwise(name string, beliefs func(out [2]int) (map[int][]float64, error)) (*predictor, error) {
	p := &predictor{name: name, test: make([][]float64, len(j.pairs))}
	for f := range folds {
		p.inner[f] = make([][]float64, len(j.pairs))
	}
	for f := range folds {
		out := [2]int{f, (f + 1) % folds}
		all, err := beliefs(out)
		if err != nil {
			return nil, err
		}
		for i, b := range all {
			other := out[0]
			if j.fold[i] == other {
				other = out[1]
			}
			if j.used[i] {
				p.inner[other][i] = b // asked about the pair's fold, tested on the other
			}
			if p.test[i] == nil {
				p.test[i] = make([]float64, len(labels))
			}
			for k, v := range b {
				p.test[i][k] += v / 2
			}
		}
	}
	return p, nil
}

// voting asks the models that reason of one seed for several samples of each pair, and
// pools the shares of their votes: the most probable label is that of the majority.
func (j *judgements) voting(ctx context.Context, name, out string, samples int) (*predictor, error) {
	return j.pairwise(name, func(pair [2]int) (map[int][]float64, error) {
		r := reading{pair, 1, true}
		file := filepath.Join(out, r.name(), "votes.gob")
		var all map[int][]float64
		if f, err := os.Open(file); err == nil {
			defer f.Close()
			return all, gob.NewDecoder(f).Decode(&all)
		}
		src, err := j.source(r)
		if err != nil {
			return nil, err
		}
		scorer, err := relevance.Open(ctx, filepath.Join(out, r.name(), "model"), src, "cpu")
		if err != nil {
			return nil, err
		}
		defer scorer.Close()
		at := j.places()
		all = map[int][]float64{}
		for _, set := range src.Tests[:len(pair)] {
			for _, e := range set.Examples {
				all[at[e.ID]] = make([]float64, len(labels))
			}
			for sample := range samples {
				scores, err := relevance.ScoreExamples(ctx, scorer, set.Examples, relevance.ScoreOptions{Samples: 1, Stream: uint64(sample + 1)})
				if err != nil {
					return nil, err
				}
				for k, s := range scores {
					if l := slices.Index(labels, s.Label); l >= 0 {
						all[at[set.Examples[k].ID]][l] += 1 / float64(samples)
					}
				}
			}
		}
		f, err := os.Create(file)
		if err != nil {
			return nil, err
		}
		return all, errors.Join(gob.NewEncoder(f).Encode(all), f.Close())
	})
}

// places are the pairs' places by their id.
func (j *judgements) places() map[string]int {
	at := map[string]int{}
	for i, e := range j.pairs {
		at[e.ID] = i
	}
	return at
}

// reading pools the models that reason, over seeds, after one of their stages.
func (j *judgements) reading(name, out, stage string, seeds int, soft bool) (*predictor, error) {
	at := j.places()
	return j.pairwise(name, func(pair [2]int) (map[int][]float64, error) {
		all := map[int][]float64{}
		for seed := range seeds {
			r := reading{pair, uint64(seed + 1), soft}
			said, err := relevance.ReadPredictions(out+"/"+r.name(), stage)
			if err != nil {
				return nil, err
			}
			for _, f := range pair {
				for _, s := range said[fmt.Sprintf("fold %d", f)] {
					i := at[s.ID]
					if all[i] == nil {
						all[i] = make([]float64, len(labels))
					}
					b := s.P
					if b == nil { // unreadable: what is most frequent
						b = []float64{.5, .07, .03, .4}
					}
					for k, v := range b {
						all[i][k] += v / float64(seeds)
					}
				}
			}
		}
		return all, nil
	})
}

// blend mixes predictors with weights that are found for each fold on the inner
// beliefs that all of them have, by the log-loss on the soft labels.
func (j *judgements) blend(name string, parts ...*predictor) *predictor {
	p := &predictor{name: name, test: make([][]float64, len(j.pairs))}
	for f := range folds {
		var rows []int
		for i := range j.pairs {
			if !slices.ContainsFunc(parts, func(q *predictor) bool { return q.inner[f][i] == nil }) {
				rows = append(rows, i)
			}
		}
		w := j.weights(rows, f, parts)
		p.inner[f] = make([][]float64, len(j.pairs))
		for _, i := range rows {
			var beliefs [][]float64
			for _, q := range parts {
				beliefs = append(beliefs, q.inner[f][i])
			}
			p.inner[f][i] = mix(w, beliefs...)
		}
		for _, i := range j.inFolds(f) {
			var beliefs [][]float64
			for _, q := range parts {
				beliefs = append(beliefs, q.test[i])
			}
			p.test[i] = mix(w, beliefs...)
		}
	}
	return p
}

// stack fits logistic regression on the logarithms of the parts' beliefs, for each fold on
// the inner beliefs that all of them have (linear.CrossFit). It can weigh labels
// differently, which a blend cannot, and has more to learn.
func (j *judgements) stack(name string, parts ...*predictor) (*predictor, error) {
	p := &predictor{name: name, test: make([][]float64, len(j.pairs))}
	gold, queries := j.gold, j.queries()
	for f := range folds {
		d := linear.Data{Soft: j.soft, Labels: gold, Queries: queries}
		d.Features = func(_, rows []int) [][]float64 {
			x := make([][]float64, len(rows))
			for k, i := range rows {
				for _, q := range parts {
					belief := q.test[i]
					if j.fold[i] != f {
						belief = q.inner[f][i]
					}
					for _, v := range belief {
						x[k] = append(x[k], math.Log(v+.01))
					}
				}
			}
			return x
		}
		var train []int
		for i := range j.pairs {
			if !slices.ContainsFunc(parts, func(q *predictor) bool { return q.inner[f][i] == nil }) {
				train = append(train, i)
			}
		}
		test := j.inFolds(f)
		b, err := linear.CrossFit(d, train, test, linear.DefaultSettings())
		if err != nil {
			return nil, err
		}
		p.keep(f, b, train, test)
	}
	return p, nil
}

// validation is the mean cross-entropy of the inner beliefs about the pairs that
// pairwise predictors have them of. By it one chooses without looking at a test fold.
func (j *judgements) validation(p *predictor) float64 {
	var beliefs, soft [][]float64
	for f := range folds {
		for _, i := range j.inFolds((f+1)%folds, (f+folds-1)%folds) {
			if b := p.inner[f][i]; b != nil {
				beliefs, soft = append(beliefs, b), append(soft, j.soft[i])
			}
		}
	}
	return linear.CrossEntropy(beliefs, soft)
}

// mix is the weighted sum of beliefs.
func mix(w []float64, beliefs ...[]float64) []float64 {
	out := make([]float64, len(labels))
	for k, p := range beliefs {
		for c, v := range p {
			out[c] += w[k] * v
		}
	}
	return out
}

// weights are those of the mixture with the highest likelihood, by expectation
// maximisation.
func (j *judgements) weights(rows []int, f int, parts []*predictor) []float64 {
	w := make([]float64, len(parts))
	for k := range w {
		w[k] = 1 / float64(len(w))
	}
	for range 200 {
		next := make([]float64, len(parts))
		for _, i := range rows {
			for c, y := range j.soft[i] {
				if y == 0 {
					continue
				}
				sum := 1e-12
				for k, q := range parts {
					sum += w[k] * q.inner[f][i][c]
				}
				for k, q := range parts {
					next[k] += y * w[k] * q.inner[f][i][c] / sum / float64(len(rows))
				}
			}
		}
		w = next
	}
	return w
}

// rule turns a belief into a grade.
type rule int

const (
	mostProbable rule = iota
	byCuts            // on the expected grade, tuned on the inner beliefs
)

// grades are those of all pairs.
func (j *judgements) grades(p *predictor, r rule) []int {
	out := make([]int, len(j.pairs))
	for f := range folds {
		var cuts []float64
		if r == byCuts {
			var expected []float64
			var gold []int
			var queries []string
			for i, b := range p.inner[f] {
				if b != nil {
					expected, gold, queries = append(expected, linear.Expected(b)), append(gold, j.gold[i]), append(queries, j.pairs[i].Query)
				}
			}
			cuts = linear.BaggedCuts(expected, gold, queries, len(labels), 1)
		}
		for _, i := range j.inFolds(f) {
			if r == byCuts {
				out[i] = linear.Grade(linear.Expected(p.test[i]), cuts)
			} else {
				out[i] = linear.MostProbable(p.test[i])
			}
		}
	}
	return out
}

const replicates = 1000

// print prints the table: each predictor by the most probable label, then by cut
// points. Differences to the first predictor are of the accuracy by the most probable
// label and of QWK by cut points, paired over queries. The last column is the validation
// loss, by which settings and combinations are chosen.
func (j *judgements) print(w io.Writer, all []*predictor) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "predictor\taccuracy\tmacro-F1\tQWK\tby cuts [95%]\taccuracy minus the first [95%]\tQWK by cuts minus the first [95%]\tnDCG@10\tvalidation")
	for _, p := range all {
		if p.line == "" {
			p.line = j.line(p, all[0])
		}
		fmt.Fprintln(t, p.line)
	}
	t.Flush()
}

// line is a row of the table, without the end of the line.
func (j *judgements) line(p, first *predictor) string {
	for _, q := range []*predictor{first, p} {
		if q.said[0] == nil {
			for _, r := range []rule{mostProbable, byCuts} {
				for i, said := range j.grades(q, r) {
					q.said[r] = append(q.said[r], eval.Pair{Gold: j.gold[i], Pred: said})
				}
			}
		}
	}
	o := eval.BootstrapOptions{Replicates: replicates, Seed: 1, Clusters: j.queries()}
	one, two, grades := p.said[mostProbable], p.said[byCuts], []int{0, 1, 2, 3}
	k := eval.Bootstrap(two, eval.QuadraticKappa, o)
	a := eval.BootstrapDifference(one, first.said[mostProbable], eval.Accuracy, o)
	d := eval.BootstrapDifference(two, first.said[byCuts], eval.QuadraticKappa, o)
	return fmt.Sprintf("%s\t%.3f / %.3f\t%.3f / %.3f\t%.3f / %.3f\t[%.3f %.3f]\t%+.3f [%+.3f %+.3f]\t%+.3f [%+.3f %+.3f]\t%.3f\t%.4f", p.name,
		eval.Accuracy(one), eval.Accuracy(two), eval.MacroF1(one, grades), eval.MacroF1(two, grades),
		eval.QuadraticKappa(one), k.Estimate, k.Low, k.High, a.Estimate, a.Low, a.High, d.Estimate, d.Low, d.High, j.ndcg(p), j.validation(p))
}

// worst prints the pairs whose expected grade is farthest from the gold one.
func (j *judgements) worst(w io.Writer, p *predictor, n int) {
	at := make([]int, len(j.pairs))
	miss := make([]float64, len(j.pairs))
	for i := range at {
		at[i], miss[i] = i, math.Abs(linear.Expected(p.test[i])-float64(j.gold[i]))
	}
	slices.SortFunc(at, func(a, b int) int { return cmp.Or(cmp.Compare(miss[b], miss[a]), a-b) })
	fmt.Fprintf(w, "the worst mistakes of: %s\n", p.name)
	for _, i := range at[:n] {
		fmt.Fprintf(w, "%q, %q: grade %d, expected %.1f\n", j.pairs[i].Query, j.pairs[i].Document.Title, j.gold[i], linear.Expected(p.test[i]))
	}
}

// ndcg is the mean over the queries with documents of different grades.
func (j *judgements) ndcg(p *predictor) float64 {
	byQuery := map[string][]eval.Ranked{}
	for i, e := range j.pairs {
		byQuery[e.Query] = append(byQuery[e.Query], eval.Ranked{Score: linear.Expected(p.test[i]), Gain: float64(j.gold[i])})
	}
	var all []float64
	for _, docs := range byQuery {
		if slices.ContainsFunc(docs, func(r eval.Ranked) bool { return r.Gain != docs[0].Gain }) {
			all = append(all, eval.NDCG(docs, 10))
		}
	}
	slices.Sort(all) // the sum must not depend on the order of a map
	mean, _ := eval.Mean(all)
	return mean
}
