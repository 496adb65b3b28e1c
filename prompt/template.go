package prompt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Message is one chat message. Role is "system", "user" or "assistant".
type Message struct{ Role, Content string }

// Criterion is one relevance criterion that a step must apply. Text is the
// wording for the model. If When is not nil, the criterion applies only to
// examples for which it returns true.
type Criterion[E any] struct {
	Name, Text string
	When       func(E) bool
}

// Step is one reasoning step of a template: the model's task in it, and its
// allowed answers.
type Step[E any] struct {
	// Name identifies the step in tags, metrics and reports: any valid UTF-8
	// text that is not empty and unique in the template. Tags escape it.
	Name string
	// Instruction tells the model what to do in this step.
	Instruction string
	Criteria    []Criterion[E]
	// Answers lists the allowed answers; empty allows any non-empty answer.
	Answers []string
}

// Template is a criteria-augmented multi-step prompt: the platform's
// relevance criteria written into the steps in which a model must reason
// (arXiv:2512.00968). The same value renders the prompt and makes the parser, so
// the two cannot drift apart.
type Template[E any] struct {
	// System opens the prompt with the model's role and its job.
	System string
	// Steps are the reasoning steps in order; the last one's answer is the
	// completion's final answer.
	Steps []Step[E]
	// Input writes the example: query and document.
	Input func(E) string
	// Syntax is the format of the steps; nil means Tagged{}.
	Syntax Syntax
	// Compact leaves the steps (instructions, criteria and the form of the
	// answers) out of the prompt, for small models that learn them from
	// examples.
	Compact bool
}

// Written is a teacher's text for one step.
type Written struct{ Reasoning, Answer string }

// Specs returns the part of each step that its written form depends on.
func (t *Template[E]) Specs() []StepSpec {
	specs := make([]StepSpec, len(t.Steps))
	for i, s := range t.Steps {
		specs[i] = StepSpec{Name: s.Name, Answers: s.Answers}
	}
	return specs
}

// Messages returns the prompt for an example as chat messages. The system
// message holds System, the steps with the criteria that apply to the example,
// and the form of the answer; it is left out if it would be empty. The user
// message holds the input.
func (t *Template[E]) Messages(example E) []Message {
	user := Message{Role: "user", Content: t.Input(example)}
	if system := t.instructions(example); system != "" {
		return []Message{{Role: "system", Content: system}, user}
	}
	return []Message{user}
}

// Render returns the prompt for an example as plain text: the contents of its
// Messages with an empty line between them and a line break at the end, where
// the completion begins.
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

// instructions returns the part of the prompt that comes before the input.
func (t *Template[E]) instructions(example E) string {
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

// Parser returns the parser for the template's completions. It panics if the
// template has no steps or their names are invalid; see Validate.
func (t *Template[E]) Parser() Parser { return t.syntax().Parser(t.Specs()) }

// Marks returns the fixed strings of well-formed completions, all but reasoning
// and answers, so that a tokenizer can give each its own token.
func (t *Template[E]) Marks() []string { return t.syntax().Marks(t.Specs()) }

// Write returns the completion with these steps, one for each of the template's,
// each on a new line. The error names the step whose answer is not allowed or
// whose reasoning would break the format.
func (t *Template[E]) Write(steps []Written) (string, error) {
	if len(steps) != len(t.Steps) {
		return "", fmt.Errorf("prompt: the number of steps written is %d, want the template's %d", len(steps), len(t.Steps))
	}
	specs, lines := t.Specs(), make([]string, len(steps))
	for i, w := range steps {
		var err error
		if lines[i], err = t.syntax().Write(specs, i, w.Reasoning, w.Answer); err != nil {
			return "", err
		}
	}
	return strings.Join(lines, "\n"), nil
}

// Validate returns an error that names every invalid step and field. A template
// needs Input and at least one step. Names of steps must be unique and not empty,
// and so must those of criteria within their step. Every allowed answer must be one
// that the syntax can write.
func (t *Template[E]) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf("prompt: "+format, args...)) }
	if t.Input == nil {
		add("the template has no Input")
	}
	specs := t.Specs()
	named := checkSpecs(specs)
	errs = append(errs, named)
	for i, s := range t.Steps {
		seen := make(map[string]bool, len(s.Criteria))
		for j, c := range s.Criteria {
			if c.Name == "" || seen[c.Name] {
				add("step %q: the name %q of criterion %d is empty or not unique", s.Name, c.Name, j)
			}
			seen[c.Name] = true
		}
		for j, a := range s.Answers {
			if slices.Contains(s.Answers[:j], a) {
				add("step %q allows the answer %q twice", s.Name, a)
			} else if named == nil { // or there is no parser to write for
				_, err := t.syntax().Write(specs, i, "", a)
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func (t *Template[E]) syntax() Syntax {
	if t.Syntax == nil {
		return Tagged{}
	}
	return t.Syntax
}
