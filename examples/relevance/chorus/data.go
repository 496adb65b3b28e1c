package main

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

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

	study     *study.Study
	findings  []map[string]criteria.Finding // of the criteria that the model reads of
	catalogue []rows.Document
}

// read reads the folder and judges every pair by the criteria for products.
func read(dir string) (*judgements, error) {
	d := rows.Data{
		Pairs: rows.Table{File: filepath.Join(dir, "Broad_Query_Set_rated.csv"), Columns: rows.Columns{DocumentID: "docid", Label: "rating"}},
		Documents: &rows.Table{File: filepath.Join(dir, "products.jsonl.gz"), Columns: rows.Columns{
			Title: "title",
			Fields: []rows.FieldColumn{
				{Name: "supplier", Column: "supplier"}, {Name: "price", Column: "price"}, {Name: "*", Column: "short_*"},
				{Name: "*", Column: "attr_t_*"}, {Name: "*", Column: "attr_n_*"}, {Name: "*", Column: "attr_b_*"},
			},
		}},
		Ratings: &rows.Table{File: filepath.Join(dir, "Broad_Query_Set_individual_ratings.csv"), Columns: rows.Columns{
			DocumentID: "docid", Raters: []string{"agent_1_rating", "agent_2_rating", "agent_3_rating"},
		}},
		AllDocuments: true,
	}
	for i, l := range labels {
		d.Labels = append(d.Labels, rows.Label{Name: l, Meaning: meanings[i]})
	}
	pairs, found, err := d.Read()
	if err != nil {
		return nil, err
	}
	fold, err := readFolds(filepath.Join(dir, "folds.csv"))
	if err != nil {
		return nil, err
	}
	for i := range found.Documents {
		describe(&found.Documents[i])
	}
	for i := range pairs {
		describe(&pairs[i].Document)
	}
	j := &judgements{pairs: pairs, catalogue: found.Documents}
	collection := criteria.NewCollection(found.Documents, criteria.DefaultRoles())
	all := append(criteria.Products(), &criteria.Typical{Of: "price"}, &criteria.Typical{Of: "price", Above: true})
	for i := range pairs {
		e := &pairs[i]
		f, ok := fold[e.Query]
		if !ok {
			return nil, fmt.Errorf("folds.csv: has no fold for the query %q", e.Query)
		}
		j.fold = append(j.fold, f)
		j.label(e)
		q, doc, of := collection.Query(e.Query), collection.Document(e.Document), map[string]criteria.Finding{}
		for _, c := range all {
			if slices.Contains(reasoned, c.Name()) || slices.Contains(stated, c.Name()) {
				of[c.Name()] = c.Judge(q, doc)
				known[c.Name()] = c
			}
		}
		j.findings = append(j.findings, of)
	}
	j.study, err = study.New(study.Data{
		Examples: pairs, Labels: labels, Relevant: 2, Fold: j.fold, Catalogue: found.Documents, Roles: criteria.DefaultRoles(), Criteria: all,
	})
	return j, err
}

// known are the criteria that the model reads of, by name.
var known = map[string]criteria.Criterion{}

// describe makes the description the body: not every product has one.
func describe(d *rows.Document) {
	d.Fields = slices.DeleteFunc(slices.Clone(d.Fields), func(f rows.Field) bool {
		if f.Name == "description" {
			d.Body = f.Value
		}
		return f.Name == "description"
	})
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

func readFolds(path string) (map[string]int, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	fold := map[string]int{}
	for _, row := range all[1:] {
		if fold[row[0]], err = strconv.Atoi(row[1]); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return fold, nil
}
