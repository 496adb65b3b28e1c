package baseline

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// An Extractor names the features of an example.
type Extractor func(rows.Example) []string

// BagOfWords names each distinct word of the query and each of the document
// (title, body and fields), the two kept apart.
func BagOfWords(e rows.Example) []string {
	return bags(wordSet(e.Query), wordSet(documentText(e.Document)))
}

func bags(query, document map[string]bool) []string {
	var names []string
	for w := range query {
		names = append(names, "query "+w)
	}
	for w := range document {
		names = append(names, "document "+w)
	}
	return names
}

// Overlap names the number of words of the query, of the document, and of
// those that they share, each count a feature of its own.
func Overlap(e rows.Example) []string {
	query, document := wordSet(e.Query), wordSet(documentText(e.Document))
	shared := 0
	for w := range query {
		if document[w] {
			shared++
		}
	}
	return []string{
		"query " + strconv.Itoa(len(query)),
		"document " + strconv.Itoa(len(document)),
		"shared " + strconv.Itoa(shared),
		"missing " + strconv.Itoa(len(query)-shared),
	}
}

// Characters names each distinct pair of neighbouring letters or digits of the query
// and each of the document, the two kept apart, and, in tenths, the share of the
// query's pairs that the title has and that the document has.
func Characters(e rows.Example) []string {
	query, title, document := pairSet(e.Query), pairSet(e.Document.Title), pairSet(documentText(e.Document))
	share := func(in map[string]bool) int {
		n := 0
		for p := range query {
			if in[p] {
				n++
			}
		}
		return 10 * n / max(len(query), 1)
	}
	return append(bags(query, document),
		fmt.Sprintf("title has %d", share(title)), fmt.Sprintf("document has %d", share(document)))
}

func documentText(d rows.Document) string {
	var b strings.Builder
	b.WriteString(d.Title + " " + d.Body)
	for _, f := range d.Fields {
		b.WriteString(" " + f.Name + " " + f.Value)
	}
	return b.String()
}

// wordSet returns the distinct words of a text.
func wordSet(text string) map[string]bool {
	set := make(map[string]bool)
	for _, w := range criteria.Words(text) {
		set[w] = true
	}
	return set
}

// pairSet returns the distinct pairs of neighbouring letters and digits in small
// letters.
func pairSet(text string) map[string]bool {
	set := make(map[string]bool)
	var last rune
	for _, r := range strings.ToLower(text) {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			last = 0
			continue
		}
		if last != 0 {
			set[string([]rune{last, r})] = true
		}
		last = r
	}
	return set
}
