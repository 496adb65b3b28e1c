package criteria

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Typo asks for the query's words in the title as Coverage does, but forgives
// mistakes in spelling: one in words of 4 to 7 characters, two in longer ones, and
// a word that is the beginning or the end of a longer one.
type Typo struct{}

// Name implements [Criterion].
func (c *Typo) Name() string { return "typo" }

// Sentence implements [Criterion].
func (c *Typo) Sentence() string {
	return "all: the title has every word of the query, if a letter or two may differ; some: it has only a part of them; no: it has none."
}

// Answers implements [Criterion].
func (c *Typo) Answers() []string { return []string{"all", "some", "no"} }

// Judge implements [Criterion].
func (c *Typo) Judge(q *Query, d *Document) Finding {
	title := d.Text(FieldTitle)
	exact := q.foundIn(title)
	n := 0
	reason := ""
	for i, stem := range q.Stems {
		if exact[i] {
			n++
			continue
		}
		for k, s := range title.Stems {
			if resembles(stem, s) {
				n++
				reason = title.Words[k] + " is like " + q.Words[i]
				break
			}
		}
	}
	f := Finding{"some", float64(n) / float64(max(len(q.Stems), 1)), fmt.Sprintf("%d/%d", n, len(q.Stems)), reason}
	switch {
	case n == len(q.Stems):
		f.Answer, f.Score = "all", 1
	case n == 0:
		f.Answer = "no"
	}
	if reason == "" {
		f.Reason = fmt.Sprintf("the title has %d of %d words", n, len(q.Stems))
	}
	return f
}

// resembles reports whether b is a, misspelled or as a part of a compound.
func resembles(a, b string) bool {
	n := utf8.RuneCountInString(a)
	if n < 4 || hasDigit(a) {
		return false
	}
	if strings.HasPrefix(b, a) || strings.HasSuffix(b, a) {
		return true
	}
	most := 1
	if n >= 8 {
		most = 2
	}
	if m := utf8.RuneCountInString(b); m < n-most || m > n+most {
		return false
	}
	return distance([]rune(a), []rune(b)) <= most
}

// distance is the optimal string alignment distance: insertions, deletions,
// substitutions and swaps of neighbours.
func distance(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row[0] = i + 1
		for j := range b {
			d := 1
			if a[i] == b[j] {
				d = 0
			}
			row[j+1] = min(last[j]+d, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// NGram asks how alike query and title are in character n-grams (cosine of
// 1 + ln count, n from 3 to 5; pairs of characters in scripts without spaces).
type NGram struct {
	// Share asks instead which share of the query's n-grams the title has.
	Share bool `json:"share"`
}

// Name implements [Criterion].
func (c *NGram) Name() string { return "n-grams" + suffix(c.Share, " share") }

// Sentence implements [Criterion].
func (c *NGram) Sentence() string {
	return "high: most short runs of letters of the query are in the title; middle: some; low: few."
}

// Answers implements [Criterion].
func (c *NGram) Answers() []string { return []string{"high", "middle", "low"} }

// Judge implements [Criterion].
func (c *NGram) Judge(q *Query, d *Document) Finding {
	title := q.Collection.grams(d.Text(FieldTitle))
	var dot, query, doc, both, all float64
	// In a fixed order: sums of the same numbers in another differ in the last bits.
	for _, g := range slices.Sorted(maps.Keys(q.grams)) {
		w := q.grams[g]
		query += w * w
		dot += w * title[g]
		all += w
		if title[g] > 0 {
			both += w
		}
	}
	for _, w := range slices.Sorted(maps.Values(title)) {
		doc += w * w
	}
	share := both / max(all, 1e-9)
	f := Finding{Score: share, Fact: fmt.Sprintf("%.0f%%", 100*share), Reason: fmt.Sprintf("%.0f%% of the query's letter runs are in the title", 100*share)}
	switch {
	case share > .7:
		f.Answer = "high"
	case share > .3:
		f.Answer = "middle"
	default:
		f.Answer = "low"
	}
	if !c.Share {
		f.Score = dot / max(math.Sqrt(query*doc), 1e-9)
	}
	return f
}
