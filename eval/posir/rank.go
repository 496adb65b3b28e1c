package posir

import (
	"cmp"
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/eval"
)

// Scorer says how relevant documents are to a query, as a cross-encoder does, which
// reads both together.
type Scorer interface {
	// Score returns one score per document, in their order; the highest is best.
	Score(ctx context.Context, query string, documents []string) ([]float64, error)
}

// Rerank scores the first depth hits of every query anew, and leaves out the others.
// It reads the corpus once and holds the texts of the documents it needs. Errors are
// those of scorer and corpus, or name a query or a document that is missing.
func Rerank(ctx context.Context, s Scorer, run Run, queries []Query, corpus Corpus, depth int) (Run, error) {
	if depth < 1 {
		return nil, fmt.Errorf("posir: a depth of %d, want at least 1", depth)
	}
	texts := map[string]*string{}
	first := make(Run, len(run))
	for query, hits := range run {
		hits = append([]Hit(nil), hits...)
		sortHits(hits)
		first[query] = hits[:min(depth, len(hits))]
		for _, h := range first[query] {
			texts[h.Document] = nil
		}
	}
	for d, err := range corpus {
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return nil, err
		}
		if _, wanted := texts[d.ID]; wanted {
			texts[d.ID] = &d.Text
		}
	}
	out := make(Run, len(run))
	for _, q := range queries {
		hits, ok := first[q.ID]
		if !ok {
			continue
		}
		documents := make([]string, len(hits))
		for i, h := range hits {
			if texts[h.Document] == nil {
				return nil, fmt.Errorf("posir: query %q: document %q is not in the corpus", q.ID, h.Document)
			}
			documents[i] = *texts[h.Document]
		}
		scores, err := s.Score(ctx, q.Text, documents)
		if err != nil {
			return nil, fmt.Errorf("posir: query %q: %w", q.ID, err)
		}
		if len(scores) != len(documents) {
			return nil, fmt.Errorf("posir: query %q: %d scores for %d documents", q.ID, len(scores), len(documents))
		}
		again := make([]Hit, len(hits))
		for i, h := range hits {
			again[i] = Hit{h.Document, scores[i]}
		}
		sortHits(again)
		out[q.ID] = again
	}
	for query := range run {
		if _, ok := out[query]; !ok {
			return nil, fmt.Errorf("posir: the run has query %q, which is not among the queries", query)
		}
	}
	return out, nil
}

// SearchBM25 ranks the corpus by [eval.BM25] and returns the first depth documents
// of every query that share a term with it. The function terms cuts a text into
// terms; nil means [Words]. The corpus is read twice and not held: once to count it, once to score it.
func SearchBM25(ctx context.Context, queries []Query, corpus Corpus, terms func(text string) []string, depth int, o eval.BM25Options) (Run, error) {
	if depth < 1 {
		return nil, fmt.Errorf("posir: a depth of %d, want at least 1", depth)
	}
	if terms == nil {
		terms = Words
	}
	m, err := eval.NewBM25(nil, o)
	if err != nil {
		return nil, err
	}
	s := &search{o: SearchOptions{Depth: depth}, tops: make([]top, len(queries))}
	asking := map[string][]int32{} // the queries with a term, as often as they have it
	for i, q := range queries {
		for _, t := range terms(q.Text) {
			asking[t] = append(asking[t], int32(i))
		}
	}
	seen := map[string]bool{}
	for d, err := range corpus {
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return nil, err
		}
		if seen[d.ID] {
			return nil, fmt.Errorf("posir: document %q is there twice", d.ID)
		}
		seen[d.ID] = true
		m.Add(terms(d.Text))
	}
	scores, counts := make([]float64, len(queries)), map[string]int{}
	var touched []int32
	for d, err := range corpus {
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return nil, err
		}
		all := terms(d.Text)
		var order []string // sums in a fixed order
		for _, t := range all {
			if asking[t] != nil {
				if counts[t] == 0 {
					order = append(order, t)
				}
				counts[t]++
			}
		}
		for _, t := range order {
			w := m.Weight(t, counts[t], len(all))
			for _, q := range asking[t] {
				if scores[q] == 0 {
					touched = append(touched, q)
				}
				scores[q] += w
			}
		}
		document := int32(len(s.documents))
		s.documents = append(s.documents, d.ID)
		for _, q := range touched {
			s.tops[q].push(s, item{document, float32(scores[q])})
			scores[q] = 0
		}
		touched = touched[:0]
		clear(counts)
	}
	return s.run(queries), nil
}
