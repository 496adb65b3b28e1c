package tokenizer

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxWordChars bounds max_input_chars_per_word and with it the time that a word can
// take, because looking for the longest token again and again is quadratic.
const maxWordChars = 1000

// wordPiece is BERT's model. A word is cut from the left into the longest tokens of
// the vocabulary; a word that cannot be cut completely is one unknown token.
type wordPiece struct {
	first    map[string]int32 // tokens that begin a word
	rest     map[string]int32 // tokens that continue one, without their prefix
	longest  int              // token, in bytes
	maxChars int              // a longer word is unknown
	unknown  int32
	goesOn   []bool // by id: whether it is in rest
	cleanup  bool   // whether Decode removes spaces that English does not write
}

func (m *wordPiece) encode(e *encoder, text string, start, end int) {
	if n := utf8.RuneCountInString(text[start:end]); n > m.maxChars {
		e.emit(m.unknown, start, end)
		return
	}
	before, ranges := len(e.ids), len(e.ranges)
	tokens := m.first
	for at := start; at < end; {
		to := min(end, at+m.longest)
		for ; to > at; to-- {
			if id, ok := tokens[text[at:to]]; ok {
				e.emit(id, at, to)
				break
			}
		}
		if to == at {
			e.ids, e.ranges = e.ids[:before], e.ranges[:ranges]
			e.emit(m.unknown, start, end)
			return
		}
		at, tokens = to, m.rest
	}
}

// bertNormalizer is BertNormalizer. Its character classes are the library's, which
// come from an older version of Unicode than those of its regular expressions.
type bertNormalizer struct {
	clean   bool // remove control characters; turn all white space into spaces
	chinese bool // put spaces around Chinese characters
	strip   bool // remove accents
	lower   bool // lower-case letters
}

func (b bertNormalizer) normalize(text string) normalized {
	var w rewriter
	for i := 0; i < len(text); {
		if end := plainEnd(text, i); end > i {
			at := len(w.out)
			w.keep(text[i:end], i)
			if b.lower {
				lowerASCII(w.out[at:])
			}
			i = end
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		from := Range{i, i + n}
		i += n
		switch {
		case b.clean && (r == 0 || r == utf8.RuneError || bertControl.has(r)):
		case b.clean && unicode.IsSpace(r):
			w.replace(" ", from)
		case r < utf8.RuneSelf || r == utf8.RuneError: // the latter may be a byte of invalid UTF-8
			w.keep(text[from.Start:from.End], from.Start)
		case b.chinese && isChinese(r):
			w.replace(" ", Range{from.Start, from.Start})
			b.write(&w, r, from)
			w.replace(" ", Range{from.End, from.End})
		default:
			b.write(&w, r, from)
		}
	}
	return w.done()
}

// plainEnd returns where the run of printable ASCII at text[i] ends.
func plainEnd(text string, i int) int {
	for i < len(text) && ' ' <= text[i] && text[i] <= '~' {
		i++
	}
	return i
}

func lowerASCII(s []byte) {
	for i, c := range s {
		if 'A' <= c && c <= 'Z' {
			s[i] = c + 'a' - 'A'
		}
	}
}

// write appends a character, without accents and lower-cased if so set.
func (b bertNormalizer) write(w *rewriter, r rune, from Range) {
	s := string(r)
	if b.strip {
		s = norm.NFD.String(s)
	}
	var out []byte
	for _, r := range s {
		switch {
		case b.strip && bertMarks.has(r):
		case b.lower && r == 'İ':
			out = append(out, "i\u0307"...) // the one letter that becomes two characters
		case b.lower:
			out = utf8.AppendRune(out, unicode.ToLower(r))
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	if len(out) > 0 {
		w.replace(string(out), from)
	}
}

// isChinese reports whether BertNormalizer takes r for a Chinese character.
// That U+2B820 to U+2B91F are none is the library's.
func isChinese(r rune) bool {
	return '\u4E00' <= r && r <= '\u9FFF' || '\u3400' <= r && r <= '\u4DBF' ||
		'\U00020000' <= r && r <= '\U0002A6DF' || '\U0002A700' <= r && r <= '\U0002B81F' ||
		'\U0002B920' <= r && r <= '\U0002CEAF' || '\uF900' <= r && r <= '\uFAFF' || '\U0002F800' <= r && r <= '\U0002FA1F'
}

// bertSplitter is BertPreTokenizer: words stand between white space, which is
// left out, and each punctuation character is one.
type bertSplitter struct{}

func (bertSplitter) split(text string, word func(start, end int)) {
	start := 0
	for i := 0; i < len(text); {
		kind, n := bertKindAt(text, i)
		if kind == bertWord {
			i += n
			continue
		}
		if start < i {
			word(start, i)
		}
		if kind == bertSign {
			word(i, i+n)
		}
		i += n
		start = i
	}
	if start < len(text) {
		word(start, len(text))
	}
}

// bertKind is what BertPreTokenizer takes a character for.
type bertKind uint8

const (
	bertWord bertKind = iota
	bertSign
	bertBlank
)

// bertKindAt returns the kind and the length of the character at text[i].
func bertKindAt(text string, i int) (bertKind, int) {
	if b := text[i]; b < utf8.RuneSelf {
		switch asciiClass[b] {
		case classLetter, classNumber:
			return bertWord, 1
		case classSpace:
			return bertBlank, 1
		}
		if b < ' ' || b == 0x7F {
			return bertWord, 1
		}
		return bertSign, 1
	}
	r, n := utf8.DecodeRuneInString(text[i:])
	switch {
	case bertPunctuation.has(r):
		return bertSign, n
	case unicode.IsSpace(r):
		return bertBlank, n
	}
	return bertWord, n
}
