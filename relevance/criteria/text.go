package criteria

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Words returns the words of a text in compatibility form (NFKC) and lower case:
// its runs of letters and digits. A decimal point stays inside a number. A run of
// a script without spaces (Chinese characters, kana, Thai) becomes its overlapping
// pairs of characters, or one character where it has no more, as search engines
// index it.
func Words(text string) []string {
	words := cased(text)
	for i, w := range words {
		words[i] = strings.ToLower(w)
	}
	return words
}

// cased returns the words of a text in their own case.
func cased(text string) []string {
	var out []string
	runes := []rune(norm.NFKC.String(text))
	for i := 0; i < len(runes); {
		switch start := i; {
		case unspaced(runes[i]):
			for i < len(runes) && unspaced(runes[i]) {
				i++
			}
			if i == start+1 {
				out = append(out, string(runes[start:i]))
			}
			for k := start; k+1 < i; k++ {
				out = append(out, string(runes[k:k+2]))
			}
		case inWord(runes[i]):
			for i < len(runes) && (inWord(runes[i]) && !unspaced(runes[i]) || decimalPoint(runes, i)) {
				i++
			}
			out = append(out, string(runes[start:i]))
		default:
			i++
		}
	}
	return out
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) }

func unspaced(r rune) bool {
	return r > 0xdff && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// decimalPoint reports whether rune i is a point between two digits.
func decimalPoint(runes []rune, i int) bool {
	return runes[i] == '.' && i > 0 && i+1 < len(runes) && unicode.IsDigit(runes[i-1]) && unicode.IsDigit(runes[i+1])
}

// Stem takes the plural ending off an English word in lower case: batteries,
// boxes and cables become battery, box and cable. Words of up to three bytes
// stay, and so do those in -ss and -us.
func Stem(word string) string {
	if len(word) <= 3 {
		return word
	}
	if w, ok := strings.CutSuffix(word, "ies"); ok && len(word) > 4 {
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

// Text is a text in words. Words and Stems run in parallel.
type Text struct {
	Words, Stems []string
	small        []bool // whether each word is all small letters
}

// NewText splits a text.
func NewText(text string) Text {
	words := cased(text)
	t := Text{Words: words, Stems: make([]string, len(words)), small: make([]bool, len(words))}
	for i, w := range words {
		t.small[i] = strings.IndexFunc(w, func(r rune) bool { return !unicode.IsLower(r) }) < 0
		words[i] = strings.ToLower(w)
		t.Stems[i] = Stem(words[i])
	}
	return t
}

// Has reports whether the text has a stem, as one word or as two that are written
// together in the stem: "note book" has "notebook", and "500 gb" has "500gb".
func (t *Text) Has(stem string) bool {
	for i, s := range t.Stems {
		if s == stem || i > 0 && joins(t.Words[i-1], s, stem) {
			return true
		}
	}
	return false
}

// joins reports whether two words written together are a third.
func joins(first, second, whole string) bool {
	return len(first)+len(second) == len(whole) && strings.HasPrefix(whole, first) && strings.HasSuffix(whole, second)
}

// Find returns the place of the first word of the given stems where they stand
// in a row, and how many words they take there: two words may be written as one
// on either side. It returns -1, 0 if they do not.
func (t *Text) Find(stems []string) (at, words int) {
	if len(stems) == 0 {
		return -1, 0
	}
	for i := range t.Stems {
		if n := t.matchAt(i, stems); n > 0 {
			return i, n
		}
	}
	return -1, 0
}

func (t *Text) matchAt(i int, stems []string) int {
	at := i
	for k := 0; k < len(stems); {
		switch {
		case at >= len(t.Stems):
			return 0
		case t.Stems[at] == stems[k]:
			at, k = at+1, k+1
		case at+1 < len(t.Stems) && joins(t.Words[at], t.Stems[at+1], stems[k]):
			at, k = at+2, k+1
		case k+1 < len(stems) && joins(stems[k], stems[k+1], t.Stems[at]):
			at, k = at+1, k+2
		default:
			return 0
		}
	}
	return at - i
}

// Grams returns the character n-grams of the words of a text, each word between
// spaces; words shorter than n-2 characters give none. Scripts without spaces are
// taken in pairs, as in Words.
func (t *Text) Grams(n int) map[string]int {
	grams := make(map[string]int)
	for _, w := range t.Words {
		runes := []rune(" " + w + " ")
		if len(runes) > 3 && unspaced(runes[1]) || len(runes) == 3 && unspaced(runes[1]) {
			grams[w]++
			continue
		}
		for i := 0; i+n <= len(runes); i++ {
			grams[string(runes[i:i+n])]++
		}
	}
	return grams
}
