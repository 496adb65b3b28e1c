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
	var out []string
	runes := []rune(strings.ToLower(norm.NFKC.String(text)))
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
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
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
	count        map[string]int // occurrences of each stem
	pairs        map[string]int // place of the first word of each two adjacent stems, written together
}

// NewText splits a text.
func NewText(text string) Text {
	t := Text{Words: Words(text)}
	t.Stems = make([]string, len(t.Words))
	t.count = make(map[string]int, len(t.Words))
	t.pairs = make(map[string]int, len(t.Words))
	for i, w := range t.Words {
		t.Stems[i] = Stem(w)
		t.count[t.Stems[i]]++
		if i > 0 {
			// Compounds: "note book" has "notebook", and "500 gb" has "500gb".
			if joined := t.Words[i-1] + t.Stems[i]; t.pairs[joined] == 0 {
				t.pairs[joined] = i
			}
		}
	}
	for joined := range t.pairs {
		t.pairs[joined]--
	}
	return t
}

// Has reports whether the text has a stem, as one word or as two that are written
// together in the stem.
func (t *Text) Has(stem string) bool {
	if t.count[stem] > 0 {
		return true
	}
	_, ok := t.pairs[stem]
	return ok
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
		case at+1 < len(t.Stems) && t.Words[at]+t.Stems[at+1] == stems[k]:
			at, k = at+2, k+1
		case k+1 < len(stems) && t.Stems[at] == stems[k]+stems[k+1]:
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
