package taskfile

import (
	"cmp"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/weak"
)

// weakPairs makes the pairs of data.weak. The queries of held are held out.
func (b *builder) weakPairs(held [][]rows.Example) ([]rows.Example, error) {
	d := &b.f.Data
	file := *d.Documents
	file.File = b.inputFile(file.File)
	documents, report, err := (&rows.Data{Documents: &file, OnBadRow: cmp.Or(b.o.OnBadRow, d.OnBadRow)}).ReadDocuments()
	if err != nil {
		return nil, b.placed(err)
	}
	b.collect(documents)
	s := weak.Settings{Pairs: d.Weak.Pairs, Seed: uint64(d.Weak.Seed)}
	for _, es := range held {
		for _, e := range es {
			s.Held = append(s.Held, e.Query)
		}
	}
	pairs, made, err := weak.Make(b.task.Collection, s)
	if err != nil {
		return nil, b.f.at("data.weak", "%v", err)
	}
	report.Notes = append(report.Notes, made.String())
	b.task.Reports = append([]*rows.Report{report}, b.task.Reports...)
	out := make([]rows.Example, len(pairs))
	seen := make(map[weak.Pair]bool)
	n := 0
	for i, p := range pairs {
		if seen[p] {
			continue // drawn before
		}
		seen[p] = true
		label := b.f.Labels[int(math.Round(p.Grade*float64(len(b.f.Labels)-1)))]
		out[n] = rows.Example{
			ID: fmt.Sprintf("weak-%d", i+1), Query: p.Query, Document: b.task.Collection.Documents()[p.Document].Document, Truth: []string{label.Name}, Weak: true,
		}
		n++
	}
	return out[:n], nil
}
