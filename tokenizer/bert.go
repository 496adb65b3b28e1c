package tokenizer

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// bertNormalizer is BertNormalizer. Its character classes are those of the
// library, which are older than its regular expressions'.
type bertNormalizer struct {
	clean   bool // remove control characters; make all white space a space
	chinese bool // set Chinese characters apart
	strip   bool // remove accents
	lower   bool // make letters small
}

func (b bertNormalizer) normalize(text string) normalized {
	var w rewriter
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		from := Span{i, i + n}
		i += n
		switch {
		case b.clean && (r == 0 || r == utf8.RuneError || bertControl.has(r)):
		case b.clean && unicode.IsSpace(r):
			w.replace(" ", from)
		case r < utf8.RuneSelf:
			if b.lower {
				r = unicode.ToLower(r)
			}
			w.keep(string(r), from.Start)
		case r == utf8.RuneError:
			w.keep(text[from.Start:from.End], from.Start)
		case b.chinese && isChinese(r):
			w.replace(" ", Span{from.Start, from.Start})
			b.write(&w, r, from)
			w.replace(" ", Span{from.End, from.End})
		default:
			b.write(&w, r, from)
		}
	}
	return w.done()
}

// write appends a character without its accents, and small.
func (b bertNormalizer) write(w *rewriter, r rune, from Span) {
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
		r, n := utf8.DecodeRuneInString(text[i:])
		if blank := unicode.IsSpace(r); blank || isBertPunctuation(r) {
			if start < i {
				word(start, i)
			}
			if !blank {
				word(i, i+n)
			}
			start = i + n
		}
		i += n
	}
	if start < len(text) {
		word(start, len(text))
	}
}

func isBertPunctuation(r rune) bool {
	if r < utf8.RuneSelf {
		return asciiClass[r] == other && ' ' < r && r < 0x7F
	}
	return bertPunctuation.has(r)
}
