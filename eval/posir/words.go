package posir

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Words cuts a text into lower-case words: runs of letters and digits, and single
// characters of scripts that are written without spaces.
func Words(text string) []string {
	var words []string
	eachWord(text, func(w word) { words = append(words, w.text) })
	return words
}

// word is a word of a text, lower-case, with its range in characters and in bytes.
type word struct {
	text               string
	start, end         int // characters
	byteStart, byteEnd int // bytes
}

func eachWord(text string, do func(word)) {
	open := word{start: -1}
	at := 0 // characters before i
	finish := func(i int) {
		if open.start >= 0 {
			open.text, open.end, open.byteEnd = strings.ToLower(text[open.byteStart:i]), at, i
			do(open)
			open.start = -1
		}
	}
	for i, r := range text {
		switch {
		case r >= utf8.RuneSelf && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai):
			finish(i)
			do(word{text[i : i+utf8.RuneLen(r)], at, at + 1, i, i + utf8.RuneLen(r)})
		case unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
			if open.start < 0 {
				open.start, open.byteStart = at, i
			}
		default:
			finish(i)
		}
		at++
	}
	finish(len(text))
}
