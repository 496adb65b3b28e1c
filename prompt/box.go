package prompt

import (
	"strings"
	"unicode"
)

const (
	boxOpen  = `\boxed{`
	boxClose = `}`
)

// box is one \boxed{…}. It ends at the brace that balances its own, so that
// answers may hold braces, and boxes; a box without such a brace runs to the
// end of the range searched.
type box struct {
	bytes  Range // all of it, mark and braces included
	inner  Range // what is between the braces
	closed bool
}

// nextBox finds the first box that opens in text[from:to].
func nextBox(text string, from, to int) (box, bool) {
	i := strings.Index(text[from:to], boxOpen)
	if i < 0 {
		return box{}, false
	}
	start := from + i
	inner := start + len(boxOpen)
	depth := 1
	for i := inner; i < to; i++ {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return box{Range{start, i + 1}, Range{inner, i}, true}, true
			}
		}
	}
	return box{Range{start, to}, Range{inner, to}, false}, true
}

// trim returns the part of r that is left without white space at its ends.
func trim(text string, r Range) Range {
	s := strings.TrimLeftFunc(text[r.Start:r.End], unicode.IsSpace)
	start := r.End - len(s)
	return Range{start, start + len(strings.TrimRightFunc(s, unicode.IsSpace))}
}
