package criteria

import (
	"math"
	"slices"
	"strings"
)

// suspicious is from where on a word counts as the name of another thing when it
// stands beside a match, as bag does in "laptop bag".
const suspicious = .2

// kind is how sure the vocabulary is that a word names a kind of thing.
func (c *Collection) kind(stem string) float64 { return c.words.noun[stem] }

// match is where a query stands in a title.
type match struct {
	at, words int
	phrase    bool
	after     string  // the word after the match, or the one after that, that most looks like the name of another thing
	kind      float64 // how much it does, 0 to 1
	before    bool    // such a word stands before the match
	forIt     bool    // "for" stands before the match
	withIt    bool    // "with" stands before the match
	specs     int     // quantities with a unit before the match
}

// matchTitle finds the query in a title, its phrase or its head; ok is false if
// the title has neither.
func (q *Query) matchTitle(t *Text) (m match, ok bool) {
	m.at, m.words = t.Find(q.Stems)
	m.phrase = m.at >= 0
	if !m.phrase {
		if m.at, m.words = t.Find([]string{q.Head()}); m.at < 0 {
			return m, false
		}
	}
	for i := m.at + m.words; i < min(m.at+m.words+2, len(t.Stems)); i++ {
		w := t.Stems[i]
		if little[w] {
			break // "mouse for ...": what follows is another phrase
		}
		if k := q.Collection.kind(w); k > m.kind && !slices.Contains(q.Stems, w) {
			m.kind, m.after = k, t.Words[i]
		}
	}
	for i := range m.at {
		if _, unit := units[t.Words[i]]; unit && i > 0 && hasDigit(t.Words[i-1]) {
			m.specs++
		}
		switch w := t.Words[i]; {
		case w == "for":
			m.forIt = true
		case w == "with" || w == "w" || w == "incl" || w == "including":
			m.withIt = true
		case q.Collection.kind(t.Stems[i]) >= suspicious && !slices.Contains(q.Stems, t.Stems[i]) && i > 0:
			m.before = true
		}
	}
	return m, true
}

// findMatches finds the documents of the collection that have the query's words in
// the title, and those that look like what is wanted.
func (q *Query) findMatches() {
	c := q.Collection
	q.candidates = c.withAll(q.Stems)
	// The best are those where the title names the thing and nothing else; where
	// there are none, weaker ones have to do.
	var tiers [3][]int32
	for _, i := range q.candidates {
		m, _ := q.matchTitle(c.documents[i].Text(FieldTitle))
		switch {
		case m.phrase && !m.forIt && !m.withIt && m.kind < suspicious && m.specs == 0:
			tiers[0] = append(tiers[0], i)
		case m.phrase && !m.forIt && m.kind < suspicious:
			tiers[1] = append(tiers[1], i)
		}
	}
	if joined := strings.Join(q.Words, ""); len(q.Words) > 1 {
		tiers[2] = c.byTitle[Stem(joined)]
	}
	for _, t := range append(tiers[:], q.candidates) {
		if len(t) > 0 {
			q.strong = t
			break
		}
	}
	for s, sp := range c.spaces {
		q.center[s] = sp.mean(c.documents, q.strong, s)
	}
	for _, i := range q.candidates {
		q.best = max(q.best, c.score(q, FieldTitle, c.documents[i]))
	}
}

// withAll returns the documents with all stems in the title, ascending.
func (c *Collection) withAll(stems []string) []int32 {
	var out []int32
	for k, stem := range stems {
		list := c.byTitle[stem]
		if k == 0 {
			out = slices.Clone(list)
			continue
		}
		out = slices.DeleteFunc(out, func(i int32) bool { _, ok := slices.BinarySearch(list, i); return !ok })
	}
	return out
}

func (c *Collection) score(q *Query, f Field, d *Document) float64 {
	k := slices.Index(fields[:], f)
	return c.bm25[k].Score(q.Stems, d.texts[k].Stems)
}

// grams weighs the character n-grams of a text by 1 + ln of their count.
func (c *Collection) grams(t *Text) map[string]float64 {
	out := make(map[string]float64)
	for _, n := range []int{3, 4, 5} {
		for g, k := range t.Grams(n) {
			out[g] = 1 + math.Log(float64(k))
		}
	}
	return out
}
