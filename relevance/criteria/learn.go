package criteria

import "slices"

// Judged is a training pair.
type Judged struct {
	Query    *Query
	Document *Document
	// Grade is from 0 to 1: what people said of the pair, best as the mean of
	// several raters.
	Grade float64
}

// Lessons is what training labels teach about words of titles: that a document
// whose title has all words of the query and "sleeve" beside them is rarely what
// was wanted. Unlike a [Collection] it depends on labels, so make it of training
// pairs alone. What it says of a pair comes from other queries than the pair's (but
// for one number, the mean grade of all), so it can be asked about the very pairs
// that it was made of.
//
// The value of a word is the mean, over the queries, of how far the grades of
// documents with the word lie above those of all documents whose titles have the
// query's words. A query with n such documents counts n/(n+1), and the mean is
// drawn to 0 by one query's weight.
type Lessons struct {
	all map[string]evidence
	own map[wordQuery]evidence
}

type wordQuery struct{ word, query string }

// evidence is a weighted sum of deviations and its weight.
type evidence struct{ sum, weight float64 }

// Learn makes lessons of training pairs.
func Learn(pairs []Judged) *Lessons {
	l := &Lessons{all: make(map[string]evidence), own: make(map[wordQuery]evidence)}
	covered := Coverage{Field: FieldTitle}
	var full []Judged
	var mean float64
	for _, p := range pairs {
		if covered.Judge(p.Query, p.Document).Answer == "all" {
			full = append(full, p)
			mean += p.Grade
		}
	}
	mean /= float64(max(len(full), 1))
	var keys []wordQuery // in the order of the pairs, for determinism
	for _, p := range full {
		for i, w := range p.Document.Text(FieldTitle).Stems {
			if slices.Contains(p.Query.Stems, w) || slices.Contains(p.Document.Text(FieldTitle).Stems[:i], w) {
				continue
			}
			k := wordQuery{w, p.Query.Raw}
			e, ok := l.own[k]
			if !ok {
				keys = append(keys, k)
			}
			l.own[k] = evidence{e.sum + p.Grade - mean, e.weight + 1}
		}
	}
	for _, k := range keys {
		e := l.own[k]
		e = evidence{e.sum / (e.weight + 1), e.weight / (e.weight + 1)}
		l.own[k] = e
		a := l.all[k.word]
		l.all[k.word] = evidence{a.sum + e.sum, a.weight + e.weight}
	}
	return l
}

// Value returns the value of a word, as a stem, for a query: from -1, where grades
// with it are far lower, to 1; 0 if nothing is known.
func (l *Lessons) Value(stem string, q *Query) float64 {
	all, own := l.all[stem], l.own[wordQuery{stem, q.Raw}]
	return (all.sum - own.sum) / (all.weight - own.weight + 1)
}

// Row appends the lowest, highest and mean value of the title's words that the
// query does not have, and the lowest of the two words after the match, to dst.
func (l *Lessons) Row(dst []float64, q *Query, d *Document) []float64 {
	title := d.Text(FieldTitle)
	at, words := title.Find(q.Stems)
	if at < 0 {
		at, words = title.Find([]string{q.Head()})
	}
	var low, high, sum, next, n float64
	for i, w := range title.Stems {
		if slices.Contains(q.Stems, w) {
			continue
		}
		v := l.Value(w, q)
		low, high, sum, n = min(low, v), max(high, v), sum+v, n+1
		if at >= 0 && i >= at+words && i < at+words+2 {
			next = min(next, v)
		}
	}
	return append(dst, low, high, sum/max(n, 1), next)
}
