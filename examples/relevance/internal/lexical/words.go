package lexical

import (
	"strings"
	"unicode"
)

// Words returns the words of a text in lower case: its runs of letters and
// digits.
func Words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

// Stem takes the plural ending off an English word in lower case: batteries,
// boxes and cables become battery, box and cable. Words of up to three bytes
// stay, and so do those in -ss and -us.
func Stem(word string) string {
	if len(word) <= 3 {
		return word
	}
	if w, ok := strings.CutSuffix(word, "ies"); ok {
		return w + "y"
	}
	for _, sibilant := range []string{"ss", "x", "z", "ch", "sh"} {
		if strings.HasSuffix(word, sibilant+"es") {
			return strings.TrimSuffix(word, "es")
		}
	}
	if strings.HasSuffix(word, "ss") || strings.HasSuffix(word, "us") {
		return word
	}
	return strings.TrimSuffix(word, "s")
}

// stems returns the stems of the words of a text, in order.
func stems(text string) []string {
	ws := Words(text)
	for i, w := range ws {
		ws[i] = Stem(w)
	}
	return ws
}

// A stemSet is the set of stems of one or more texts.
type stemSet map[string]bool

func newStemSet(texts ...string) stemSet {
	set := make(stemSet)
	for _, text := range texts {
		for _, s := range stems(text) {
			set[s] = true
		}
	}
	return set
}
