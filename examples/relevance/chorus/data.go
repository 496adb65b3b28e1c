package main

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/stepwise-rl/stepwise/examples/relevance/internal/chorus"
	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/study"
)

// labels are the ratings in ascending order.
var labels = []string{"0", "1", "2", "3"}

var meanings = []string{"poor", "fair", "good", "perfect"}

// folds is the number of folds of folds.csv.
const folds = 5

// judgements are the Chorus data in memory. All lists run in parallel with pairs.
type judgements struct {
	pairs []rows.Example
	fold  []int
	gold  []int
	soft  [][]float64 // half the gold label, half the mean of the raters

	study      *study.Study
	findings   []map[string]criteria.Finding // of the criteria that the model reads of
	catalogue  []rows.Document
	collection *criteria.Collection

	// share is the share of the queries whose judgements are used, and used says of
	// each pair whether its are; all are tested on.
	share float64
	used  []bool
}

// read reads the folder, and judges every pair by the criteria that the model reads of.
func read(dir string) (*judgements, error) {
	data, err := chorus.Read(dir)
	if err != nil {
		return nil, err
	}
	collection := criteria.NewCollection(data.Catalogue, data.Roles)
	j := &judgements{pairs: data.Examples, fold: data.Fold, catalogue: data.Catalogue, collection: collection}
	data.Collection = collection
	for i := range j.pairs {
		e := &j.pairs[i]
		j.label(e)
		q, doc, of := collection.Query(e.Query), collection.Document(e.Document), map[string]criteria.Finding{}
		for _, c := range slices.Concat(reasoned, stated) {
			of[c.Name()] = c.Judge(q, doc)
		}
		j.findings = append(j.findings, of)
	}
	j.study, err = study.New(*data)
	return j.only(1), err
}

// only is the same with the judgements of a share of each fold's queries.
func (j *judgements) only(share float64) *judgements {
	part := *j
	part.share, part.used = share, make([]bool, len(j.pairs))
	for f := range folds {
		var names []string
		for _, i := range j.inFolds(f) {
			names = append(names, j.pairs[i].Query)
		}
		slices.Sort(names)
		names = slices.Compact(names)
		rng := rand.New(rand.NewPCG(1, uint64(f)))
		rng.Shuffle(len(names), func(a, b int) { names[a], names[b] = names[b], names[a] })
		names = names[:int(math.Round(share*float64(len(names))))]
		for _, i := range j.inFolds(f) {
			part.used[i] = slices.Contains(names, j.pairs[i].Query)
		}
	}
	return &part
}

// training lists the pairs of some folds whose judgements are used.
func (j *judgements) training(which ...int) []int {
	return slices.DeleteFunc(j.inFolds(which...), func(i int) bool { return !j.used[i] })
}

func (j *judgements) label(e *rows.Example) {
	gold := slices.Index(labels, e.Label())
	soft := make([]float64, len(labels))
	if len(e.Raters) == 3 && !slices.Contains(e.Raters, "") {
		soft[gold] = .5
		for _, r := range e.Raters {
			soft[slices.Index(labels, r)] += .5 / 3
		}
	} else {
		soft[gold] = 1
	}
	j.gold, j.soft = append(j.gold, gold), append(j.soft, soft)
}

// inFolds lists the pairs of some folds.
func (j *judgements) inFolds(which ...int) (at []int) {
	for i, f := range j.fold {
		if slices.Contains(which, f) {
			at = append(at, i)
		}
	}
	return at
}

// without lists the folds but some.
func without(some ...int) (rest []int) {
	for f := range folds {
		if !slices.Contains(some, f) {
			rest = append(rest, f)
		}
	}
	return rest
}
