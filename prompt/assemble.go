package prompt

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// found is one step as a syntax found it in the text. Its status is still open:
// that depends on the other steps too.
type found struct {
	name     string // as written; "" if the syntax writes no names
	index    int    // in the template; -1 if it does not know the step
	bytes    Range
	closed   bool
	boxes    int   // that open in it
	boxOpen  bool  // the last of them is not closed
	answer   Range // trimmed content of the last closed box
	answered bool  // there is a closed box
}

// readAnswer looks for boxes in text[inside.Start:inside.End].
func (f *found) readAnswer(o Box, text string, inside Range) {
	for from := inside.Start; ; {
		b, ok := o.next(text, from, inside.End)
		if !ok {
			return
		}
		f.boxes++
		if !b.closed {
			f.boxOpen = true
			return
		}
		f.answer, f.answered = o.answer(text, b.inner), true
		from = b.bytes.End
	}
}

// problem is something wrong at a byte offset.
type problem struct {
	offset int
	text   string
}

// assemble makes the trace of the steps found, which are in the order of the
// text.
func assemble(specs []StepSpec, text string, ends []int, steps []found, problems []problem) Trace {
	if err := CheckEnds(text, ends); err != nil {
		panic(err.Error())
	}
	tokens := tokenEnds(ends)
	t := Trace{Text: text, Tokens: len(ends), Steps: make([]Span, len(specs)), Final: len(specs) - 1}
	report := func(offset int, format string, args ...any) {
		problems = append(problems, problem{offset, fmt.Sprintf(format, args...)})
	}

	first := make([]*found, len(specs))
	for i := range steps {
		f := &steps[i]
		switch {
		case f.index < 0:
			report(f.bytes.Start, "surplus step %.40q", f.name)
			t.Extra = append(t.Extra, span(f, f.name, StatusSurplus, text, tokens))
		case first[f.index] != nil:
			name := specs[f.index].Name
			report(f.bytes.Start, "step %q occurs again", name)
			t.Extra = append(t.Extra, span(f, name, StatusDuplicate, text, tokens))
		default:
			first[f.index] = f
		}
	}

	latest := -1 // the last byte at which an earlier step begins
	for k, f := range first {
		if f == nil {
			continue
		}
		name, status := specs[k].Name, StatusOK
		if offset, fault := badAnswer(f, specs[k].Answers, text); f.closed && fault != "" {
			status = StatusBadAnswer
			report(offset, "step %q %s", name, fault)
		}
		if f.bytes.Start < latest {
			status = StatusOutOfOrder
			report(f.bytes.Start, "step %q begins before an earlier step", name)
		}
		if !f.closed {
			status = StatusTruncated
			report(f.bytes.End, "step %q is not closed", name)
		}
		latest = max(latest, f.bytes.Start)
		t.Steps[k] = span(f, name, status, text, tokens)
	}

	place := len(text)
	for k, f := range slices.Backward(first) {
		if f != nil {
			place = f.bytes.Start
			continue
		}
		f = &found{index: k, bytes: Range{place, place}}
		t.Steps[k] = span(f, specs[k].Name, StatusMissing, text, tokens)
	}
	for _, s := range t.Steps {
		if s.Status == StatusMissing {
			report(s.Bytes.Start, "step %q is missing", s.Name)
		}
	}

	slices.SortStableFunc(problems, func(a, b problem) int { return a.offset - b.offset })
	for _, p := range problems {
		t.Problems = append(t.Problems, fmt.Sprintf("byte %d: %s", p.offset, p.text))
	}
	return t
}

func span(f *found, name string, status Status, text string, tokens tokenEnds) Span {
	answer := f.answer
	if !f.answered {
		answer = Range{f.bytes.End, f.bytes.End}
	}
	return Span{
		Name: name, Index: f.index, Status: status,
		Bytes: f.bytes, Tokens: tokens.beginningIn(f.bytes),
		Answer: text[answer.Start:answer.End], AnswerBytes: answer, AnswerTokens: tokens.touching(answer),
	}
}

// badAnswer returns where and why the answer of f is invalid. The fault is "" if
// it is valid.
func badAnswer(f *found, allowed []string, text string) (offset int, fault string) {
	answer := text[f.answer.Start:f.answer.End]
	switch {
	case f.boxes == 0:
		return f.bytes.End, "states no answer"
	case f.boxes > 1:
		return f.bytes.End, fmt.Sprintf("states %d answers", f.boxes)
	case f.boxOpen:
		return f.bytes.End, "does not close its answer"
	case answer == "":
		return f.answer.Start, "states an empty answer"
	case len(allowed) > 0 && !slices.Contains(allowed, answer):
		return f.answer.Start, fmt.Sprintf("answers %.40q, which is not one of %s", answer, strings.Join(allowed, ", "))
	}
	return 0, ""
}

// CheckEnds returns an error unless tokens with these ends make up the text, as
// Parser.Parse wants it. Use it where the ends come from outside the program.
func CheckEnds(text string, ends []int) error {
	if ends == nil {
		return nil
	}
	last := 0
	for i, end := range ends {
		if end < last {
			return fmt.Errorf("prompt: token %d ends at byte %d, before its start at byte %d", i, end, last)
		}
		last = end
	}
	if last != len(text) {
		return fmt.Errorf("prompt: the tokens end at byte %d, the text at byte %d", last, len(text))
	}
	return nil
}

// tokenEnds maps bytes to tokens. Token i ends at byte tokenEnds[i].
type tokenEnds []int

// from returns the first token that begins at this byte or later.
func (e tokenEnds) from(offset int) int {
	if offset <= 0 {
		return 0
	}
	// Token i+1 begins where token i ends.
	i := sort.SearchInts(e, offset)
	return min(i+1, len(e))
}

// beginningIn returns the tokens that begin in r.
func (e tokenEnds) beginningIn(r Range) Range {
	return Range{e.from(r.Start), e.from(r.End)}
}

// touching returns the tokens with a byte in r.
func (e tokenEnds) touching(r Range) Range {
	if r.Empty() {
		return e.beginningIn(r)
	}
	return Range{sort.SearchInts(e, r.Start+1), e.from(r.End)}
}
