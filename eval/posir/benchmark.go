package posir

import (
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/stepwise-rl/stepwise/eval"
)

// Query is one query of a benchmark, with the evidence for its answer.
type Query struct {
	ID, Text string
	// Evidence lies in the document that Judgement names for the query.
	Evidence
}

// Document is one document of a corpus.
type Document struct{ ID, Text string }

// Corpus yields the documents, and the error that ends it early. It is read once for
// each pass, and a pass holds a block of documents at a time.
type Corpus iter.Seq2[Document, error]

// Judgement says that a document is relevant to a query.
type Judgement struct {
	Query, Document string
	// Gain is at least 0; the benchmark has 1.
	Gain float64
}

// Benchmark is a set of queries and what is relevant to each.
type Benchmark struct {
	Queries []Query
	// Judgements may be about queries that the benchmark does not have, as those of
	// its files are. They are ignored.
	Judgements []Judgement
}

// relevant returns the judgements of every query of the benchmark.
func (b *Benchmark) relevant() map[string][]Judgement {
	m := make(map[string][]Judgement, len(b.Queries))
	for _, q := range b.Queries {
		m[q.ID] = nil
	}
	for _, j := range b.Judgements {
		if js, ok := m[j.Query]; ok {
			m[j.Query] = append(js, j)
		}
	}
	return m
}

// Check returns what is wrong with the benchmark: evidence outside its document,
// queries that are there twice or have no relevant document, documents that are judged
// twice for a query, invalid gains, and, unless documents is nil, documents that the corpus
// does not have, given its IDs. Evaluate refuses such judgements. With other faults results
// can be computed all the same: the benchmark's own rules move evidence into its document
// or leave it out of all bins, and leave out queries without a document.
func (b *Benchmark) Check(documents map[string]bool) []error {
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fmt.Errorf("posir: "+format, args...)) }
	relevant := b.relevant()
	seen := map[string]bool{}
	for _, q := range b.Queries {
		if seen[q.ID] {
			fail("query %q is there twice", q.ID)
			continue
		}
		seen[q.ID] = true
		if err := q.fault(); err != nil {
			fail("query %q: %w", q.ID, err)
		}
		found, judged := false, map[string]bool{}
		for _, j := range relevant[q.ID] {
			switch {
			case judged[j.Document]:
				fail("query %q: document %q is judged twice", q.ID, j.Document)
			case !(j.Gain >= 0) || math.IsInf(j.Gain, 0):
				fail("query %q: the gain of document %q is %v, want at least 0", q.ID, j.Document, j.Gain)
			case documents != nil && !documents[j.Document]:
				fail("query %q: document %q is not in the corpus", q.ID, j.Document)
			}
			found, judged[j.Document] = found || j.Gain > 0, true
		}
		if !found {
			fail("query %q has no relevant document", q.ID)
		}
	}
	return faults
}

// Depth is the rank to which the benchmark computes nDCG.
const Depth = 10

// Evaluate returns the results of a run by trec_eval's rules ([eval.TiesTREC]), in
// the order of the queries. A query that the run has nothing for gets 0; one without
// a relevant document gets no result. An error names a query of the run that the
// benchmark does not have, a judgement with an invalid gain, or a document that is judged
// twice.
func (b *Benchmark) Evaluate(run Run) ([]Result, error) {
	relevant := b.relevant()
	for query := range run {
		if _, ok := relevant[query]; !ok {
			return nil, fmt.Errorf("posir: the run has query %q, which the benchmark has not", query)
		}
	}
	var results []Result
	for _, q := range b.Queries {
		ndcg, err := evaluateQuery(run[q.ID], relevant[q.ID])
		if err != nil {
			return nil, fmt.Errorf("posir: query %q: %w", q.ID, err)
		}
		if math.IsNaN(ndcg) {
			continue
		}
		best := Judgement{}
		for _, j := range relevant[q.ID] {
			if j.Gain > best.Gain {
				best = j
			}
		}
		results = append(results, Result{Query: q.ID, Document: best.Document, Evidence: q.Evidence, NDCG: ndcg})
	}
	return results, nil
}

func evaluateQuery(hits []Hit, relevant []Judgement) (float64, error) {
	gains := make(map[string]float64, len(relevant))
	for _, j := range relevant {
		if !(j.Gain >= 0) || math.IsInf(j.Gain, 0) {
			return 0, fmt.Errorf("the gain of document %q is %v, want at least 0", j.Document, j.Gain)
		}
		if _, twice := gains[j.Document]; twice {
			return 0, fmt.Errorf("document %q is judged twice", j.Document)
		}
		gains[j.Document] = j.Gain
	}
	docs := make([]eval.Ranked, 0, len(hits)+len(relevant))
	for _, h := range hits {
		if math.IsNaN(h.Score) {
			return 0, errors.New("a score is NaN")
		}
		docs = append(docs, eval.Ranked{Score: h.Score, Gain: gains[h.Document], ID: h.Document})
		delete(gains, h.Document)
	}
	for id, gain := range gains {
		docs = append(docs, eval.Ranked{Score: math.Inf(-1), Gain: gain, ID: id})
	}
	return eval.NDCGTies(docs, Depth, eval.TiesTREC), nil
}
