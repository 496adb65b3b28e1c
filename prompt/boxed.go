package prompt

import (
	"fmt"
	"strings"
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
// braces and even boxes. As in LaTeX, \{ and \} are characters, not braces, and
// \\ is a line break. A box that is never closed takes up the rest of the text.
type Boxed struct {
	// Box selects which other forms of a box are read.
	Box Box
	// IgnoreThinking reads the text as if what stands between <think> and
	// </think> were blank, so that steps rehearsed there do not count. A
	// </think> alone ends thinking that the prompt has opened; thinking that
	// is not closed goes on to the end. Thinking at the start of the text
	// belongs to no step.
	IgnoreThinking bool
}

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
func (s Boxed) Parser(steps []StepSpec) Parser {
	mustBeValid(steps)
	return boxedParser{s, steps}
}

type boxedParser struct {
	syntax Boxed
	specs  []StepSpec
}

func (p boxedParser) Parse(completion string, ends []int) Trace {
	text, from := completion, 0
	if p.syntax.IgnoreThinking {
		text, from = withoutThinking(text)
	}
	var steps []found
	add := func(bytes Range, closed bool) {
		f := found{index: -1, bytes: bytes, closed: closed}
		if k := len(steps); k < len(p.specs) {
			f.index, f.name = k, p.specs[k].Name
		}
		f.readAnswer(p.syntax.Box, text, bytes)
		steps = append(steps, f)
	}
	for from < len(text) {
		b, ok := p.syntax.Box.next(text, from, len(text))
		if !ok {
			break
		}
		add(Range{from, b.bytes.End}, b.closed)
		from = b.bytes.End
	}
	if len(steps) < len(p.specs) && strings.TrimSpace(text[from:]) != "" {
		add(Range{from, len(text)}, false)
	}
	return assemble(p.specs, completion, ends, steps, nil)
}
