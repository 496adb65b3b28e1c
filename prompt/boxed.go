package prompt

import (
	"fmt"
	"strings"
	"unicode"
)

const (
	boxOpen  = `\boxed{`
	boxClose = `}`
)

// Boxed writes steps without tags: the k-th box of a completion states the answer
// of its k-th step.
//
//	The note names the place. \boxed{1} All in all: \boxed{2}
//
// A step runs from the end of the one before it to the end of its box. Boxes
// beyond the last step's belong to surplus steps, which have no name. Text after
// the last box, unless it is blank, is the next step, truncated; if the template
// has no next step, it belongs to none. The steps after that are missing. No
// step can be a duplicate or out of order.
//
// A box ends at the brace that balances its own, so an answer may hold balanced
// braces and even boxes. A box that is never closed takes up the rest of the
// text.
type Boxed struct{}

// Explain lists the steps, each with the form of its answer.
func (Boxed) Explain(steps []StepSpec) string {
	var b strings.Builder
	b.WriteString("End each step with its answer in a box, and use boxes for nothing else:")
	for i, s := range steps {
		fmt.Fprintf(&b, "\n%d. %s: reasoning %s", i+1, s.Name, boxOpen+placeholder(s.Answers)+boxClose)
	}
	return b.String()
}

// Marks returns the marks of the box.
func (Boxed) Marks([]StepSpec) []string { return []string{boxOpen, boxClose} }

// Write returns the reasoning followed by the answer in its box. The reasoning
// must not hold a box, and braces in the answer must be balanced.
func (s Boxed) Write(steps []StepSpec, i int, reasoning, answer string) (string, error) {
	return readBack(s, steps[i], beforeBox(reasoning)+boxOpen+answer+boxClose, answer)
}

// Parser returns the parser of boxed answers.
func (Boxed) Parser(steps []StepSpec) Parser {
	mustBeValid(steps)
	return boxedParser(steps)
}

type boxedParser []StepSpec

func (p boxedParser) Parse(text string, ends []int) Trace {
	var steps []found
	add := func(bytes Range, closed bool) {
		f := found{index: -1, bytes: bytes, closed: closed}
		if k := len(steps); k < len(p) {
			f.index, f.name = k, p[k].Name
		}
		f.readAnswer(text, bytes)
		steps = append(steps, f)
	}
	from := 0
	for from < len(text) {
		b, ok := nextBox(text, from, len(text))
		if !ok {
			break
		}
		add(Range{from, b.bytes.End}, b.closed)
		from = b.bytes.End
	}
	if len(steps) < len(p) && strings.TrimSpace(text[from:]) != "" {
		add(Range{from, len(text)}, false)
	}
	return assemble(p, text, ends, steps, nil)
}

// box is one \boxed{…}. It ends at the brace that balances its own; without such
// a brace, at the end of the range searched.
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

// trim returns r without the white space at its ends.
func trim(text string, r Range) Range {
	s := strings.TrimLeftFunc(text[r.Start:r.End], unicode.IsSpace)
	start := r.End - len(s)
	return Range{start, start + len(strings.TrimRightFunc(s, unicode.IsSpace))}
}
