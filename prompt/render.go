package prompt

import (
	"fmt"
	"strings"
)

// Messages returns the prompt for an example as chat messages: the system
// message holds who the model is, the steps with the criteria that apply to the
// example, and the form of the answer; the user message holds the input. A
// system message that would be empty is left out.
func (t *Template[E]) Messages(example E) []Message {
	user := Message{Role: "user", Content: t.Input(example)}
	if system := t.rules(example); system != "" {
		return []Message{{Role: "system", Content: system}, user}
	}
	return []Message{user}
}

// Render returns the prompt for an example as plain text: what Messages says,
// with an empty line between the messages and a line break at the end, after
// which the completion follows.
func (t *Template[E]) Render(example E) string {
	var b strings.Builder
	for i, m := range t.Messages(example) {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(m.Content + "\n")
	}
	return b.String()
}

// rules returns the part of the prompt that comes before the input.
func (t *Template[E]) rules(example E) string {
	if t.Compact {
		return t.System
	}
	var b strings.Builder
	if t.System != "" {
		b.WriteString(t.System + "\n\n")
	}
	b.WriteString("Reason in these steps:\n")
	for i, s := range t.Steps {
		fmt.Fprintf(&b, "%d. %s", i+1, s.Name)
		if s.Instruction != "" {
			b.WriteString(": " + s.Instruction)
		}
		b.WriteString("\n")
		for _, c := range s.Criteria {
			if c.When == nil || c.When(example) {
				fmt.Fprintf(&b, "   - %s: %s\n", c.Name, c.Text)
			}
		}
	}
	b.WriteString("\n" + t.syntax().Explain(t.Specs()))
	return b.String()
}
