package prompt

// StepSpec is the part of a step that its written form depends on.
type StepSpec struct {
	Name string
	// Answers lists the allowed answers; empty allows any non-empty answer.
	Answers []string
}

// Syntax is how steps are written down. One value explains the format to the
// model, writes well-formed steps (for teachers and tests), and makes the
// parser, so that what is asked for is what is parsed.
type Syntax interface {
	// Explain returns the part of the prompt that tells the model how to
	// write the steps.
	Explain(steps []StepSpec) string
	// Write returns step i of steps with its reasoning and answer as a
	// well-formed completion writes it. It panics if the answer is not
	// allowed or the reasoning would break the format.
	Write(steps []StepSpec, i int, reasoning, answer string) string
	// Parser returns the parser for completions of these steps. It panics on
	// an empty list and on empty or duplicate names.
	Parser(steps []StepSpec) Parser
}
