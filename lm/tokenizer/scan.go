package tokenizer

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// A splitter cuts text into words and calls word for each, in order. Together the
// words are the text.
type splitter interface {
	split(text string, word func(start, end int))
}

// scanner is the pattern of a pre-tokeniser, written by hand. It looks at each
// character a bounded number of times, whatever the text.
type scanner int

const (
	scannerGPT2 scanner = iota
	scannerQwen2
	scannerLlama3
)

// patterns are the regular expressions that the scanners stand for, as the
// files spell them.
var patterns = map[string]scanner{
	`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`:                                          scannerGPT2,
	`'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`:                                             scannerGPT2,
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`:      scannerQwen2,
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`: scannerLlama3,
}

func (s scanner) split(text string, word func(start, end int)) {
	for i := 0; i < len(text); {
		end := 0
		switch s {
		case scannerGPT2:
			end = gpt2End(text, i)
		case scannerQwen2:
			end = llamaEnd(text, i, 1)
		case scannerLlama3:
			end = llamaEnd(text, i, 3)
		}
		word(i, end)
		i = end
	}
}

// gpt2End is GPT-2's pattern:
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func gpt2End(text string, i int) int {
	if text[i] == '\'' {
		if n := contraction(text[i+1:]); n > 0 {
			return i + 1 + n
		}
	}
	first := i
	if text[i] == ' ' && i+1 < len(text) {
		first++
	}
	if c, n := classAt(text, first); c != classSpace {
		return runEnd(text, first+n, c)
	}
	return spaceEnd(text, i)
}

// contraction returns the length of what follows the apostrophe of an English
// contraction that s starts with; 0 if it is none.
func contraction(s string) int {
	if s == "" {
		return 0
	}
	switch s[0] {
	case 's', 'd', 'm', 't':
		return 1
	}
	if len(s) > 1 && (s[:2] == "ll" || s[:2] == "ve" || s[:2] == "re") {
		return 2
	}
	return 0
}

// llamaEnd is the pattern of Llama 3, and with digits 1 that of Qwen2 and 3:
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}|
//	 ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
func llamaEnd(text string, i, digits int) int {
	if text[i] == '\'' {
		if n := contractionFold(text[i+1:]); n > 0 {
			return i + 1 + n
		}
	}
	c, n := classAt(text, i)
	next := i + n
	switch c {
	case classLetter:
		return runEnd(text, next, classLetter)
	case classNumber:
		for digits--; digits > 0 && next < len(text); digits-- {
			c, n := classAt(text, next)
			if c != classNumber {
				break
			}
			next += n
		}
		return next
	}
	if !newline(text[i]) && next < len(text) {
		// One sign or space may stand before letters.
		follows, n := classAt(text, next)
		if follows == classLetter {
			return runEnd(text, next+n, classLetter)
		}
		if c == classSpace && text[i] == ' ' && follows == classOther {
			c = classOther
		}
	}
	if c == classOther {
		end := runEnd(text, next, classOther)
		for end < len(text) && newline(text[end]) {
			end++
		}
		return end
	}
	return newlinesEnd(text, i)
}

// contractionFold is contraction for letters of either case, the long s among
// them: a case-insensitive pattern takes it for an s.
func contractionFold(s string) int {
	if s == "" {
		return 0
	}
	lower := func(b byte) byte {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		return b
	}
	switch lower(s[0]) {
	case 's', 'd', 'm', 't':
		return 1
	}
	const longS = "ſ"
	if len(s) < 2 {
		return 0
	}
	if s[:2] == longS {
		return len(longS)
	}
	if pair := [2]byte{lower(s[0]), lower(s[1])}; pair == [2]byte{'l', 'l'} || pair == [2]byte{'v', 'e'} || pair == [2]byte{'r', 'e'} {
		return 2
	}
	return 0
}

func newline(b byte) bool { return b == '\r' || b == '\n' }

// newlinesEnd returns the end of the white space at text[i] as the pattern
// \s*[\r\n]+|\s+(?!\S)|\s+ has it: up to its last newline, if there is one.
func newlinesEnd(text string, i int) int {
	last, end := i, i
	for end < len(text) {
		c, n := classAt(text, end)
		if c != classSpace {
			break
		}
		if end += n; newline(text[end-1]) {
			last = end
		}
	}
	if last > i {
		return last
	}
	return spaceEnd(text, i)
}

// spaceEnd returns the end of the white space at text[i] as the pattern
// \s+(?!\S)|\s+ has it: the last character before a word is left to the next
// word, unless it is all there is.
func spaceEnd(text string, i int) int {
	end := runEnd(text, i, classSpace)
	if end == len(text) {
		return end
	}
	_, n := utf8.DecodeLastRuneInString(text[i:end])
	if end-n == i {
		return end
	}
	return end - n
}

// digitSplitter is the pre-tokeniser Digits: each number character is a word
// of its own if it is single, else each run of them.
type digitSplitter struct{ single bool }

func (d digitSplitter) split(text string, word func(start, end int)) {
	start := 0 // of what has not been cut yet
	for i := 0; i < len(text); {
		c, n := classAt(text, i)
		if c != classNumber {
			i += n
			continue
		}
		if start < i {
			word(start, i)
		}
		start, i = i, i+n
		if !d.single {
			i = runEnd(text, i, classNumber)
		}
		word(start, i)
		start = i
	}
	if start < len(text) {
		word(start, len(text))
	}
}

// chain is a Sequence: each splitter cuts what the one before it has left.
type chain []splitter

func (c chain) split(text string, word func(start, end int)) {
	switch len(c) {
	case 0:
		if text != "" {
			word(0, len(text))
		}
	case 1:
		c[0].split(text, word)
	default:
		c[0].split(text, func(from, to int) {
			c[1:].split(text[from:to], func(start, end int) { word(from+start, from+end) })
		})
	}
}

// spaced is the option add_prefix_space of the pre-tokeniser ByteLevel: each
// piece that what is before it in a Sequence leaves gets a space, unless it begins
// with one.
type spaced struct{ before chain }

// split cuts bytes start to end of a text into pieces, and with last into words
// of them.
func (s *spaced) split(n *normalized, start, end int, last splitter, word func(m *normalized, from, to int)) {
	s.before.split(n.text[start:end], func(from, to int) {
		var w rewriter
		if n.text[start+from] != ' ' {
			at := n.origin(start+from, start+from+1).Start
			w.replace(" ", Range{at, at})
		}
		w.copy(n, start+from, start+to)
		m := w.done()
		last.split(m.text, func(from, to int) { word(&m, from, to) })
	})
}

// charSet is a set of characters: first and last of each run, in order.
type charSet [][2]rune

func (set charSet) has(r rune) bool {
	_, found := slices.BinarySearchFunc(set, r, func(run [2]rune, r rune) int {
		switch {
		case run[1] < r:
			return -1
		case run[0] > r:
			return 1
		}
		return 0
	})
	return found
}

// class is what the patterns of the pre-tokenisers ask of a character.
type class uint8

const (
	classOther  class = iota // [^\s\p{L}\p{N}]
	classLetter              // \p{L}
	classNumber              // \p{N}
	classSpace               // \s
)

// asciiClass holds the class of each ASCII character: most text is ASCII.
var asciiClass [utf8.RuneSelf]class

func init() {
	for r := range rune(utf8.RuneSelf) {
		asciiClass[r] = runeClass(r)
	}
}

func runeClass(r rune) class {
	switch {
	case letters.has(r):
		return classLetter
	case numbers.has(r):
		return classNumber
	case unicode.IsSpace(r):
		return classSpace
	}
	return classOther
}

// classAt returns the class and the length of the character at text[i]. A
// byte that is not part of valid UTF-8 is a character of its own, of class
// other.
func classAt(text string, i int) (class, int) {
	if c := text[i]; c < utf8.RuneSelf {
		return asciiClass[c], 1
	}
	r, n := utf8.DecodeRuneInString(text[i:])
	return runeClass(r), n
}

// runEnd returns where the run of characters of class c that starts at
// text[i] ends.
func runEnd(text string, i int, c class) int {
	for i < len(text) {
		if b := text[i]; b < utf8.RuneSelf { // classAt, without a call
			if asciiClass[b] != c {
				break
			}
			i++
			continue
		}
		k, n := classAt(text, i)
		if k != c {
			break
		}
		i += n
	}
	return i
}
