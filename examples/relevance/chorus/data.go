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

	criteria  []criteria.Criterion
	findings  [][]criteria.Finding
	features  [][]float64 // numbers of the findings
	documents []*criteria.Document
	query     []*criteria.Query
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
	j := &judgements{pairs: pairs, catalogue: found.Documents, criteria: append(criteria.Products(), &criteria.Typical{Of: "price"})}
	collection := criteria.NewCollection(found.Documents, criteria.DefaultRoles())
	for i := range pairs {
		e := &pairs[i]
		f, ok := fold[e.Query]
		if !ok {
			return nil, fmt.Errorf("folds.csv: has no fold for the query %q", e.Query)
		}
		j.fold = append(j.fold, f)
		j.label(e)
		q, doc := collection.Query(e.Query), collection.Document(e.Document)
		var all []criteria.Finding
		for _, c := range j.criteria {
			all = append(all, c.Judge(q, doc))
		}
		j.findings, j.documents, j.query = append(j.findings, all), append(j.documents, doc), append(j.query, q)
		j.features = append(j.features, criteria.Row(nil, j.criteria, q, doc))
	}
	return j, nil
}

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

// finding is what the criterion of that name says of a pair.
func (j *judgements) finding(i int, name string) criteria.Finding {
	k := slices.IndexFunc(j.criteria, func(c criteria.Criterion) bool { return c.Name() == name })
	if k < 0 {
		panic("no criterion " + name)
	}
	return j.findings[i][k]
}

// answers are those of the criterion of that name.
func (j *judgements) answers(name string) []string {
	k := slices.IndexFunc(j.criteria, func(c criteria.Criterion) bool { return c.Name() == name })
	return j.criteria[k].Answers()
}

// sentence is the wording of the criterion of that name.
func (j *judgements) sentence(name string) string {
	k := slices.IndexFunc(j.criteria, func(c criteria.Criterion) bool { return c.Name() == name })
	return j.criteria[k].Sentence()
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
