package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// kindOf is what there is to compare in a pair beside what it is about and the setting:
// the true answers about the feature that the query wants and the one that it excludes,
// and how many features the note denies ("no pool").
func kindOf(e *rows.Example) string {
	denied := 0
	for _, word := range strings.Fields(e.Document.Body) {
		if word == "no" || word == "without" {
			denied++
		}
	}
	return fmt.Sprintf("wanted %s, excluded %s, %d denied", e.Truth[1], e.Truth[3], denied)
}

// errorsOf sums up the errors on the rows of a kind.
type errorsOf struct {
	kind              string
	rows, wrong, cost int // cost is the squared distance from the label, as in kappa
}

// byKind adds up what was said, the costliest kind first.
func byKind(examples []rows.Example, said []relevance.Prediction) (all []*errorsOf) {
	kinds := map[string]*errorsOf{}
	for i, p := range said {
		kind := kindOf(&examples[i])
		e := kinds[kind]
		if e == nil {
			e = &errorsOf{kind: kind}
			kinds[kind] = e
		}
		e.rows++
		if p.Said != p.Gold {
			e.wrong++
		}
		if p.Said >= 0 { // kappa leaves out what is unreadable
			e.cost += (p.Said - p.Gold) * (p.Said - p.Gold)
		}
	}
	return slices.SortedFunc(maps.Values(kinds), func(a, b *errorsOf) int {
		return cmp.Or(b.cost-a.cost, b.rows-a.rows, cmp.Compare(a.kind, b.kind))
	})
}

// writeErrors writes for the teacher, and for every student whose name matches, which
// label was said for which, and which kinds of pairs cost the most kappa.
func (s *study) writeErrors(w io.Writer, all []*result, only *regexp.Regexp) error {
	src := s.source(0)
	for i, r := range all {
		name := r.name()
		if i == 0 {
			name = "teacher"
		} else if !only.MatchString(name) {
			continue
		}
		said, err := relevance.ReadPredictions(r.run, r.stage.Name)
		if err != nil {
			return err
		}
		for _, set := range src.Tests {
			fmt.Fprintf(w, "\n%s on %s\n\n| label | said %s | unreadable |\n|---|%s\n", name, set.Name, strings.Join(src.Labels, " | "), strings.Repeat("---|", len(src.Labels)+1))
			for label, counts := range r.stage.Tests[set.Name].Confusion {
				fmt.Fprintf(w, "| %s |", src.Labels[label])
				for _, n := range counts {
					fmt.Fprintf(w, " %d |", n)
				}
				fmt.Fprintln(w)
			}
			kinds, total := byKind(set.Examples, said[set.Name]), 0
			for _, k := range kinds {
				total += k.cost
			}
			fmt.Fprint(w, "\n| costliest kinds of pairs | rows | wrong | share of the squared error |\n|---|---|---|---|\n")
			for _, k := range kinds[:min(len(kinds), 4)] {
				fmt.Fprintf(w, "| %s | %d | %d | %.0f%% |\n", k.kind, k.rows, k.wrong, 100*float64(k.cost)/float64(max(total, 1)))
			}
		}
	}
	return nil
}
