package study

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/linear"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// Data are judged pairs with folds by query.
type Data struct {
	Examples []rows.Example
	// Labels are the labels in ascending order, and Relevant is the place of the
	// first that counts as relevant.
	Labels   []string
	Relevant int
	// Fold has the fold of each example, from 0.
	Fold []int
	// Catalogue has the documents that the criteria learn from without labels; nil
	// means those of the examples.
	Catalogue []rows.Document
	// Roles says which fields hold what.
	Roles criteria.Roles
	// Collection, if not nil, is what the criteria know, in place of Catalogue and Roles.
	Collection *criteria.Collection
	// Criteria are the criteria, as a rule those of criteria.Products with some
	// for the catalogue's own fields.
	Criteria []criteria.Criterion
}

// Study is data prepared for models.
type Study struct {
	data       Data
	collection *criteria.Collection
	pairs      []criteria.Judged
	findings   [][]float64 // numbers of the findings, in the order of columns
	columns    []string
	label      []int
	soft, gold [][]float64
	queries    []string
}

// New judges all pairs by all criteria. The error names an example whose label is
// unknown.
func New(d Data) (*Study, error) {
	if len(d.Fold) != len(d.Examples) || len(d.Examples) == 0 {
		return nil, fmt.Errorf("study: %d folds for %d examples, want as many and at least one", len(d.Fold), len(d.Examples))
	}
	if d.Catalogue == nil && d.Collection == nil {
		documents := make([]rows.Document, len(d.Examples))
		for i := range d.Examples {
			documents[i] = d.Examples[i].Document
		}
		d.Catalogue = rows.Different(documents)
	}
	if d.Collection == nil {
		d.Collection = criteria.NewCollection(d.Catalogue, d.Roles)
	}
	s := &Study{data: d, columns: criteria.Columns(d.Criteria), collection: d.Collection}
	for i := range d.Examples {
		e := &d.Examples[i]
		label := slices.Index(d.Labels, e.Label())
		if label < 0 {
			return nil, fmt.Errorf("study: example %q has the label %q, want one of %v", e.ID, e.Label(), d.Labels)
		}
		gold, soft := make([]float64, len(d.Labels)), soften(e.Raters, d.Labels, label)
		gold[label] = 1
		p := criteria.Judged{Query: s.collection.Query(e.Query), Document: s.collection.Document(e.Document), Grade: linear.Expected(soft) / float64(len(d.Labels)-1)}
		s.label, s.gold, s.soft = append(s.label, label), append(s.gold, gold), append(s.soft, soft)
		s.queries, s.pairs = append(s.queries, e.Query), append(s.pairs, p)
		s.findings = append(s.findings, criteria.Row(nil, d.Criteria, p.Query, p.Document))
	}
	return s, nil
}

// soften returns half the label and half the mean of the raters; without raters, the
// label.
func soften(raters, labels []string, label int) []float64 {
	soft := make([]float64, len(labels))
	var known []int
	for _, r := range raters {
		if k := slices.Index(labels, r); k >= 0 {
			known = append(known, k)
		}
	}
	if len(known) == 0 {
		soft[label] = 1
		return soft
	}
	soft[label] = .5
	for _, k := range known {
		soft[k] += .5 / float64(len(known))
	}
	return soft
}

// Variant says what a model is given. The zero value is all there is.
type Variant struct {
	Name string
	// Gold trains on the labels alone, without the raters' own.
	Gold bool
	// Unlearned leaves out the words that are learned from training labels.
	Unlearned bool
	// Without leaves out the columns whose names contain one of these.
	Without []string
}

// Data returns what linear.CrossFit needs for a variant. Row numbers are places in
// Data.Examples.
func (s *Study) Data(v Variant) linear.Data {
	var keep []int
	for k, name := range s.columns {
		if !slices.ContainsFunc(v.Without, func(part string) bool { return strings.Contains(name, part) }) {
			keep = append(keep, k)
		}
	}
	d := linear.Data{Soft: s.soft, Labels: s.label, Queries: s.queries}
	if v.Gold {
		d.Soft = s.gold
	}
	d.Features = func(train, which []int) [][]float64 {
		var lessons *criteria.Lessons
		if !v.Unlearned {
			known := make([]criteria.Judged, len(train))
			for k, i := range train {
				known[k] = s.pairs[i]
				if v.Gold {
					known[k].Grade = float64(s.label[i]) / float64(len(s.data.Labels)-1)
				}
			}
			lessons = criteria.Learn(known)
		}
		out := make([][]float64, len(which))
		for n, i := range which {
			for _, k := range keep {
				out[n] = append(out[n], s.findings[i][k])
			}
			if lessons != nil {
				out[n] = lessons.Row(out[n], s.pairs[i].Query, s.pairs[i].Document)
			}
		}
		return out
	}
	return d
}

// Believe fits a variant on the training rows and returns what it believes of them,
// each by a model that has not seen the row's query, and of the test rows.
func (s *Study) Believe(train, test []int, v Variant, settings linear.Settings) (*linear.Beliefs, error) {
	return linear.CrossFit(s.Data(v), train, test, settings)
}
