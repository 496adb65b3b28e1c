package prompt

// Message is one chat message. Role is "system", "user" or "assistant".
type Message struct{ Role, Content string }

// Criterion is one relevance criterion that a step must apply. Text is what
// the model reads. When, if not nil, restricts it to examples for which it
// returns true.
type Criterion[E any] struct {
	Name, Text string
	When       func(E) bool
}

// Step is one reasoning step of a template: what the model must decide there
// and how it states the answer.
type Step[E any] struct {
	// Name identifies the step in tags, metrics and reports. It is any
	// non-empty valid UTF-8 text and unique in its template; the tag escapes it.
	Name string
	// Instruction tells the model what to do in this step.
	Instruction string
	Criteria    []Criterion[E]
	// Answers lists the allowed answers; empty allows any non-empty answer.
	Answers []string
}

// Template is a criteria-augmented multi-step prompt: the platform's
// relevance criteria written into the steps in which a model must reason
// (arXiv:2512.00968). The same value renders the prompt and yields the parser,
// so that the two cannot drift apart.
type Template[E any] struct {
	// System opens the prompt: who the model is and what it judges.
	System string
	// Steps are the reasoning steps in order; the last one's answer is the
	// completion's final answer.
	Steps []Step[E]
	// Input writes the example: query and document.
	Input func(E) string
	// Syntax is how steps are written; nil means Tagged{}.
	Syntax Syntax
	// Compact leaves instructions and criteria out of the rendered prompt,
	// for small models that learn them by heart.
	Compact bool
}
