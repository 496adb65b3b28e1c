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
	terms     int // of all documents
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
	m := &BM25{k1: o.K1, b: o.B, frequency: make(map[string]int)}
	for _, d := range documents {
		m.Add(d)
	}
	return m, nil
}

// Add counts the terms of one more document of the collection.
func (m *BM25) Add(document []string) {
	m.documents++
	m.terms += len(document)
	seen := make(map[string]bool, len(document))
	for _, t := range document {
		if !seen[t] {
			seen[t] = true
			m.frequency[t]++
		}
	}
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
	for _, q := range query {
		f := 0
		for _, t := range document {
			if t == q {
				f++
			}
		}
		if f > 0 {
			sum += m.Weight(q, f, len(document))
		}
	}
	return sum
}

// Weight returns what a term of the query adds to the score of a document that has
// it f times and is length terms long.
func (m *BM25) Weight(term string, f, length int) float64 {
	norm := m.k1 * (1 - m.b)
	if m.terms > 0 {
		mean := float64(m.terms) / float64(m.documents)
		norm += m.k1 * m.b * float64(length) / mean
	}
	return m.IDF(term) * float64(f) / (float64(f) + norm)
}
