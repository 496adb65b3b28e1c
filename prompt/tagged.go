package prompt

import "strings"

const (
	tagOpen    = `<step name="`
	tagOpenEnd = `">`
	tagClose   = `</step>`
)

// Tagged writes every step between tags that carry its name, with the answer
// in a box:
//
//	<step name="rules">The note names the place. \boxed{1}</step>
//
// In names, the characters &, ", < and > are written &amp;, &quot;, &lt; and
// &gt;, and all others as they are, so a name has exactly one written form. A tag
// with any other name, even an empty one, opens a surplus step. A tag with a bare
// ", < or > in its name is plain text.
//
// Steps do not nest. A step ends with its closing tag. Without one it is
// truncated and ends at the next opening tag or at the end of the text. A closing
// tag outside a step is a problem of the completion but belongs to no step.
// Anything that is not exactly a tag is plain text, and text outside steps, boxes
// included, is never judged.
//
// A step states its answer in exactly one box. A box ends at the brace that
// balances its own, so an answer may hold balanced braces and even boxes; as in
// LaTeX, \{ and \} are characters, not braces, and \\ is a line break. A box that
// is never closed takes up the rest of its step. Tags come before boxes: a tag
// inside a box ends the step and leaves the box unclosed. Tags are found byte by
// byte, whether the text is valid UTF-8 or not.
type Tagged struct {
	// Box selects which other forms of a box are read.
	Box Box
	// IgnoreThinking reads the text as if what stands between <think> and
	// </think> were blank, so that steps rehearsed there do not count. A
	// </think> alone ends thinking that the prompt has opened; thinking that
	// is not closed goes on to the end.
	IgnoreThinking bool
}

// Explain shows the form of each step with its allowed answers.
func (Tagged) Explain(steps []StepSpec) string {
	var b strings.Builder
	b.WriteString("Write the steps in this order and in exactly this form. State each step's answer once, in its box:")
	for _, s := range steps {
		b.WriteString("\n" + openTag(s.Name) + "reasoning " + boxOpen + placeholder(s.Answers) + boxClose + tagClose)
	}
	return b.String()
}

// Marks returns the opening tag of each step, the closing tag and the marks of
// the box.
func (Tagged) Marks(steps []StepSpec) []string {
	marks := make([]string, 0, len(steps)+3)
	for _, s := range steps {
		marks = append(marks, openTag(s.Name))
	}
	return append(marks, tagClose, boxOpen, boxClose)
}

// Write returns the step with its tags. The reasoning must hold neither tag nor
// box, and braces in the answer must be balanced.
func (t Tagged) Write(steps []StepSpec, i int, reasoning, answer string) (string, error) {
	text := openTag(steps[i].Name) + beforeBox(reasoning) + boxOpen + answer + boxClose + tagClose
	return readBack(t, steps[i], text, answer)
}

// Parser returns the parser of tagged steps.
func (t Tagged) Parser(steps []StepSpec) Parser {
	mustBeValid(steps)
	p := &taggedParser{syntax: t, specs: steps, index: make(map[string]int, len(steps))}
	for i, s := range steps {
		p.index[escapeName.Replace(s.Name)] = i
	}
	return p
}

type taggedParser struct {
	syntax Tagged
	specs  []StepSpec
	index  map[string]int // by the name as written
}

func (p *taggedParser) Parse(completion string, ends []int) Trace {
	text := completion
	if p.syntax.IgnoreThinking {
		text, _ = withoutThinking(text)
	}
	var steps []found
	var problems []problem
	var open *found // the step being read
	var inside int  // where its opening tag ends

	// end ends the open step at byte end. Its answer is looked for before
	// byte to.
	end := func(to, end int) {
		open.readAnswer(p.syntax.Box, text, Range{inside, to})
		open.bytes.End = end
		open = nil
	}
	for from := 0; ; {
		t, ok := nextTag(text, from)
		if !ok {
			break
		}
		from = t.bytes.End
		switch {
		case !t.closing:
			if open != nil {
				end(t.bytes.Start, t.bytes.Start)
			}
			index, known := p.index[t.name]
			if !known {
				index = -1
			} else {
				t.name = p.specs[index].Name
			}
			steps = append(steps, found{name: t.name, index: index, bytes: t.bytes})
			open, inside = &steps[len(steps)-1], t.bytes.End
		case open != nil:
			open.closed = true
			end(t.bytes.Start, t.bytes.End)
		default:
			problems = append(problems, problem{t.bytes.Start, "closing tag without a step"})
		}
	}
	if open != nil {
		end(len(text), len(text))
	}
	return assemble(p.specs, completion, ends, steps, problems)
}

// tag is an opening or a closing tag.
type tag struct {
	bytes   Range
	closing bool
	name    string // of an opening tag, as written
}

// nextTag finds the first tag that begins at byte from or later.
func nextTag(text string, from int) (tag, bool) {
	for {
		i := strings.IndexByte(text[from:], '<')
		if i < 0 {
			return tag{}, false
		}
		start := from + i
		rest := text[start:]
		if strings.HasPrefix(rest, tagClose) {
			return tag{bytes: Range{start, start + len(tagClose)}, closing: true}, true
		}
		if name, ok := strings.CutPrefix(rest, tagOpen); ok {
			// No written name holds any of these, so the search ends at the
			// next tag at the latest, and parsing stays linear.
			if n := strings.IndexAny(name, `"<>`); n >= 0 && strings.HasPrefix(name[n:], tagOpenEnd) {
				end := start + len(tagOpen) + n + len(tagOpenEnd)
				return tag{bytes: Range{start, end}, name: name[:n]}, true
			}
		}
		from = start + 1
	}
}

var escapeName = strings.NewReplacer("&", "&amp;", `"`, "&quot;", "<", "&lt;", ">", "&gt;")

func openTag(name string) string { return tagOpen + escapeName.Replace(name) + tagOpenEnd }

// placeholder stands for an answer in an explanation.
func placeholder(answers []string) string {
	if len(answers) == 0 {
		return "answer"
	}
	return strings.Join(answers, " or ")
}

// beforeBox sets reasoning apart from the box that follows it.
func beforeBox(reasoning string) string {
	if reasoning == "" {
		return ""
	}
	return reasoning + " "
}
