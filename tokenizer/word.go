package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// class is what GPT-2's pattern asks of a character.
type class uint8

const (
	other  class = iota // [^\s\p{L}\p{N}]
	letter              // \p{L}
	number              // \p{N}
	space               // \s
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
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	case unicode.IsSpace(r):
		return space
	}
	return other
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
// text[i] ends, and where its last character starts.
func runEnd(text string, i int, c class) (end, last int) {
	end, last = i, i
	for end < len(text) {
		k, n := classAt(text, end)
		if k != c {
			break
		}
		end, last = end+n, end
	}
	return end, last
}

// wordEnd returns where the word that starts at text[i] ends, i < len(text).
// It is GPT-2's pattern written as a scanner:
//
//	'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// Each character is looked at a bounded number of times. The classes are those
// of package unicode, so a character that its Unicode version does not know
// yet is a sign.
func wordEnd(text string, i int) int {
	if n := contraction(text[i:]); n > 0 {
		return i + n
	}
	first := i
	if text[i] == ' ' && i+1 < len(text) {
		first++
	}
	if c, _ := classAt(text, first); c != space {
		end, _ := runEnd(text, first, c)
		return end
	}
	// White space: the last character before a word is left to the next
	// word, unless it is all there is.
	end, last := runEnd(text, i, space)
	if end == len(text) || last == i {
		return end
	}
	return last
}

// contraction returns the length of the English contraction that s starts
// with; 0 if there is none.
func contraction(s string) int {
	if len(s) < 2 || s[0] != '\'' {
		return 0
	}
	switch s[1] {
	case 's', 'd', 'm', 't':
		return 2
	}
	if strings.HasPrefix(s, "'ll") || strings.HasPrefix(s, "'ve") || strings.HasPrefix(s, "'re") {
		return 3
	}
	return 0
}
