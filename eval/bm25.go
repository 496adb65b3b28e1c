package eval

import (
	"fmt"
	"math"
)

// BM25 is the ranking function of Robertson and Zaragoza 2009
// (doi:10.1561/1500000019) in the form that Lucene uses since version 8:
//
//	score(q, d) = Σ_{t in q} idf(t) · f / (f + K1·(1 - B + B·|d|/mean|d|))
//	idf(t)      = ln(1 + (N - n(t) + ½) / (n(t) + ½))
//
// with f the occurrences of t in d, |d| the length of d in terms, n(t) the number
// of documents with t and N that of all. A term that the query repeats counts as
// often. (The usual factor K1+1 is left out, as in Lucene: it changes no order.)
type BM25 struct {
	k1, b     float64
	documents int
	mean      float64
	frequency map[string]int
}

// BM25Options are the settings of NewBM25.
type BM25Options struct {
	// K1, at least 0, says how soon more occurrences stop to count.
	K1 float64
	// B, from 0 to 1, says how much longer documents are discounted.
	B float64
}

// DefaultBM25Options returns Lucene's settings, K1 = 1.2 and B = 0.75.
func DefaultBM25Options() BM25Options { return BM25Options{K1: 1.2, B: .75} }

// Validate returns an error that names the first invalid setting.
func (o BM25Options) Validate() error {
	if !(o.K1 >= 0) || math.IsInf(o.K1, 0) {
		return fmt.Errorf("eval: BM25Options.K1 is %v, want at least 0", o.K1)
	}
	if !(o.B >= 0 && o.B <= 1) {
		return fmt.Errorf("eval: BM25Options.B is %v, want 0 to 1", o.B)
	}
	return nil
}

// NewBM25 counts the terms of a collection of documents. The error is that of
// BM25Options.Validate.
func NewBM25(documents [][]string, o BM25Options) (*BM25, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	m := &BM25{k1: o.K1, b: o.B, documents: len(documents), frequency: make(map[string]int)}
	terms := 0
	seen := make(map[string]int) // term -> the last document that had it, from 1
	for i, d := range documents {
		terms += len(d)
		for _, t := range d {
			if seen[t] != i+1 {
				seen[t] = i + 1
				m.frequency[t]++
			}
		}
	}
	m.mean = float64(terms) / float64(max(len(documents), 1))
	return m, nil
}

// IDF returns the inverse document frequency of a term.
func (m *BM25) IDF(term string) float64 {
	n := float64(m.frequency[term])
	return math.Log(1 + (float64(m.documents)-n+.5)/(n+.5))
}

// Score returns the score of a document for a query. The document need not be of
// the collection.
func (m *BM25) Score(query, document []string) float64 {
	var sum float64
	norm := m.k1 * (1 - m.b)
	if m.mean > 0 {
		norm += m.k1 * m.b * float64(len(document)) / m.mean
	}
	for _, q := range query {
		f := 0.
		for _, t := range document {
			if t == q {
				f++
			}
		}
		if f > 0 {
			sum += m.IDF(q) * f / (f + norm)
		}
	}
	return sum
}
