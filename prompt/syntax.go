package prompt

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// StepSpec is the part of a Step that its written form depends on.
type StepSpec struct {
	Name string `json:"name"`
	// Answers lists the allowed answers; empty allows any non-empty answer.
	Answers []string `json:"answers,omitempty"`
}

// Syntax is the format in which steps are written. One value explains the format
// to the model, writes well-formed steps (for teachers and tests) and makes the
// parser, so the prompt and the parser always agree.
type Syntax interface {
	// Explain returns the part of the prompt that tells the model how to
	// write the steps.
	Explain(steps []StepSpec) string
	// Marks returns the fixed strings of the format, each once, so that a
	// custom tokenizer can give each its own token.
	Marks(steps []StepSpec) []string
	// Write returns step i of steps, with this reasoning and answer, as a
	// well-formed completion writes it. It returns an error if the answer is
	// not allowed or the parser would not read the same step back.
	Write(steps []StepSpec, i int, reasoning, answer string) (string, error)
	// Parser returns the parser for completions of these steps. It panics on
	// an empty list and on names that are empty, not valid UTF-8, or not
	// unique.
	Parser(steps []StepSpec) Parser
}

func checkSpecs(steps []StepSpec) error {
	if len(steps) == 0 {
		return errors.New("prompt: a template needs at least one step")
	}
	var errs []error
	first := make(map[string]int, len(steps))
	for i, s := range steps {
		j, taken := first[s.Name]
		switch {
		case s.Name == "":
			errs = append(errs, fmt.Errorf("prompt: step %d has no name", i))
		case !utf8.ValidString(s.Name):
			errs = append(errs, fmt.Errorf("prompt: step %d: the name %q is not valid UTF-8", i, s.Name))
		case taken:
			errs = append(errs, fmt.Errorf("prompt: steps %d and %d are both named %q", j, i, s.Name))
		default:
			first[s.Name] = i
		}
	}
	return errors.Join(errs...)
}

func mustBeValid(steps []StepSpec) {
	if err := checkSpecs(steps); err != nil {
		panic(err.Error())
	}
}

// readBack returns text, the step spec as the syntax wrote it, if the same syntax
// reads it back. That way no syntax needs a list of what reasoning and answers
// must not hold.
func readBack(syntax Syntax, spec StepSpec, text, answer string) (string, error) {
	t := syntax.Parser([]StepSpec{spec}).Parse(text, nil)
	if t.Malformed() {
		return "", fmt.Errorf("prompt: step %q would be malformed: %s", spec.Name, t.Problems[0])
	}
	if from := t.Steps[0].Bytes.Start; from > 0 {
		return "", fmt.Errorf("prompt: step %q: its first %d bytes would be read as thinking", spec.Name, from)
	}
	if got := t.Steps[0].Answer; got != answer {
		return "", fmt.Errorf("prompt: step %q: the answer %q would be read back as %q", spec.Name, answer, got)
	}
	return text, nil
}
