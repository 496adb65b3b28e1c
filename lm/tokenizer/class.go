package tokenizer

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

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
