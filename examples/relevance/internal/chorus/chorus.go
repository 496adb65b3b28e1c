// Package chorus reads the Chorus product search judgements
// (github.com/o19s/chorus) for the programs that measure on them.
package chorus

import (
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/study"
)

// Read reads a folder with products.jsonl.gz, Broad_Query_Set_rated.csv,
// Broad_Query_Set_individual_ratings.csv and folds.csv. The criteria, those of
// criteria.Products, learn from the whole catalogue, without labels.
func Read(dir string) (*study.Data, error) {
	labels := []string{"0", "1", "2", "3"}
	in := rows.Data{
		Pairs: rows.Table{File: filepath.Join(dir, "Broad_Query_Set_rated.csv"), Columns: rows.Columns{DocumentID: "docid", Label: "rating"}},
		Documents: &rows.Table{File: filepath.Join(dir, "products.jsonl.gz"), Columns: rows.Columns{
			Title: "title", Body: "short_description",
			Fields: []rows.FieldColumn{
				{Name: "supplier", Column: "supplier"},
				{Name: "*", Column: "attr_t_*"}, {Name: "*", Column: "attr_n_*"}, {Name: "*", Column: "attr_b_*"},
			},
		}},
		Ratings: &rows.Table{File: filepath.Join(dir, "Broad_Query_Set_individual_ratings.csv"), Columns: rows.Columns{
			DocumentID: "docid", Raters: []string{"agent_1_rating", "agent_2_rating", "agent_3_rating"},
		}},
		AllDocuments: true,
	}
	for _, l := range labels {
		in.Labels = append(in.Labels, rows.Label{Name: l})
	}
	examples, found, err := in.Read()
	if err != nil {
		return nil, err
	}
	fold, err := readFolds(filepath.Join(dir, "folds.csv"))
	if err != nil {
		return nil, err
	}
	d := &study.Data{
		Examples: examples, Labels: labels, Relevant: 2, Catalogue: found.Documents, Roles: criteria.DefaultRoles(),
		Criteria: criteria.Products(),
	}
	for _, e := range examples {
		f, ok := fold[e.Query]
		if !ok {
			return nil, fmt.Errorf("folds.csv: has no fold for the query %q", e.Query)
		}
		d.Fold = append(d.Fold, f)
	}
	return d, nil
}

// readFolds returns the fold of each query.
func readFolds(path string) (map[string]int, error) {
	folds := make(map[string]int)
	for c, err := range (&rows.Table{File: path}).Values("query", "fold") {
		if err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(c.Values[1])
		if err != nil {
			return nil, c.Wrong("fold", "is %q, want a whole number", c.Values[1])
		}
		folds[c.Values[0]] = n
	}
	return folds, nil
}
