package prompt

import (
	"fmt"
	"strings"
)

// Boxed writes no tags: the k-th box of a completion states the answer of its
// k-th step.
//
//	The note names the place. \boxed{1} All in all: \boxed{2}
//
// A step spans from the end of the one before it to the end of its box. Boxes
// after the last step's are those of Surplus steps, which have no name. Text
// after all boxes is, if it is not blank, the next step Truncated, or belongs
// to no step if the template has no next one. The steps after that are Missing.
// Steps cannot be Duplicate or OutOfOrder.
//
// A box runs to the brace that balances its own: an answer may hold balanced
// braces, and boxes. A box that is never closed takes up the rest of the text.
type Boxed struct{}

// Explain lists the steps with the form of each one's answer.
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

// Write returns the reasoning and the answer in its box. The reasoning must
// hold no box; braces in the answer must be balanced.
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
