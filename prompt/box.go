package prompt

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	boxOpen  = `\boxed{`
	boxClose = `}`
)

// Box selects which forms of a box are read besides \boxed{…}. Prompts and Write
// always use \boxed{…}.
type Box struct {
	// Bare reads \boxed 7 and \boxed {7}. Without braces, the answer ends before
	// white space or one of $ { } \ <, and punctuation at its end is cut off.
	Bare bool
	// Framed reads \fbox{7}.
	Framed bool
	// Text reads \boxed{\text{7}} as \boxed{7}.
	Text bool
}

// box is one \boxed{…}. It ends at the brace that balances its own; without such
// a brace, at the end of the range searched.
type box struct {
	bytes  Range // all of it, mark and braces included
	inner  Range // what is between the braces
	closed bool
}

// next finds the first box that opens in text[from:to].
func (o Box) next(text string, from, to int) (box, bool) {
	for {
		i := strings.IndexByte(text[from:to], '\\')
		if i < 0 {
			return box{}, false
		}
		start := from + i
		from = start + 1
		switch s := text[start:to]; {
		case strings.HasPrefix(s, boxOpen):
			return braced(text, start, start+len(boxOpen), to), true
		case o.Framed && strings.HasPrefix(s, `\fbox{`):
			return braced(text, start, start+len(`\fbox{`), to), true
		case o.Bare && strings.HasPrefix(s, `\boxed`):
			if b, ok := bare(text, start, start+len(`\boxed`), to); ok {
				return b, true
			}
		}
	}
}

// braced returns the box at byte start whose content begins at byte inner.
func braced(text string, start, inner, to int) box {
	if end := closingBraces(text, inner, to, 1)[0]; end > 0 {
		return box{Range{start, end + 1}, Range{inner, end}, true}
	}
	return box{Range{start, to}, Range{inner, to}, false}
}

// bare returns the box at byte start whose mark ends at byte end, without a brace
// right behind it.
func bare(text string, start, end, to int) (box, bool) {
	s := text[end:to]
	content := strings.TrimLeft(s, " \t")
	inner := to - len(content)
	if strings.HasPrefix(content, "{") {
		return braced(text, start, inner+1, to), true
	}
	if first, _ := utf8.DecodeRuneInString(content); inner == end && unicode.IsLetter(first) {
		return box{}, false // another command, such as \boxedminipage
	}
	if i := strings.IndexFunc(content, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`${}\<`, r) }); i >= 0 {
		content = content[:i]
	}
	content = strings.TrimRight(content, ".,;:!?)")
	if content == "" {
		return box{}, false
	}
	end = inner + len(content)
	return box{Range{start, end}, Range{inner, end}, true}, true
}

// closingBraces returns the braces in text[from:to] that close so many open ones before it,
// that of the outermost first; 0 where none does.
func closingBraces(text string, from, to, open int) []int {
	closes := make([]int, open)
	for depth, i := open, from; depth > 0 && i < to; i++ {
		switch text[i] {
		case '\\':
			i++ // what is escaped is no brace
		case '{':
			depth++
		case '}':
			if depth--; depth < open && closes[depth] == 0 {
				closes[depth] = i
			}
		}
	}
	return closes
}

// answer returns the answer that a box with this content states.
func (o Box) answer(text string, inner Range) Range {
	inner = trim(text, inner)
	if !o.Text {
		return inner
	}
	// The content begins with marks, each inside the one before it: opens are the
	// bytes behind their braces.
	const mark = `\text{`
	var opens []int
	rest := inner
	for strings.HasPrefix(text[rest.Start:rest.End], mark) {
		rest.Start += len(mark)
		opens = append(opens, rest.Start)
		rest = trim(text, rest)
	}
	for k, end := range closingBraces(text, rest.Start, inner.End, len(opens)) {
		if end+1 < inner.End { // something follows it, or it is not closed
			break
		}
		inner = trim(text, Range{opens[k], end})
	}
	return inner
}

// trim returns r without the white space at its ends.
func trim(text string, r Range) Range {
	s := strings.TrimLeftFunc(text[r.Start:r.End], unicode.IsSpace)
	start := r.End - len(s)
	return Range{start, start + len(strings.TrimRightFunc(s, unicode.IsSpace))}
}

// withoutThinking returns the text with blanks in place of a model's thinking
// before it answers, tags included, and where such thinking at its start ends.
func withoutThinking(text string) (string, int) {
	const open, end = "<think>", "</think>"
	start := strings.Index(text, open)
	if i := strings.Index(text, end); i >= 0 && (start < 0 || i < start) {
		start = 0 // the prompt has opened it
	}
	if start < 0 {
		return text, 0
	}
	out, begin := []byte(text), 0
	atStart := strings.TrimSpace(text[:start]) == ""
	for {
		stop := len(text)
		if i := strings.Index(text[start:], end); i >= 0 {
			stop = start + i + len(end)
		}
		for i := start; i < stop; i++ {
			out[i] = ' '
		}
		if atStart {
			begin, atStart = stop, false
		}
		i := strings.Index(text[stop:], open)
		if i < 0 {
			return string(out), begin
		}
		start = stop + i
	}
}
