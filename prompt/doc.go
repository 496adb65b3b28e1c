// Package prompt writes criteria-augmented multi-step prompts and parses the
// completions that models return.
//
// A [Template] lists the steps in which a model must reason: what each one
// decides, by which relevance criteria, and which answers it allows. That one
// definition gives the prompt ([Template.Messages], [Template.Render]),
// well-formed completions to teach with ([Template.Write]) and the parser
// ([Template.Parser]), so prompt, demonstrations and parser cannot drift apart.
//
// A [Syntax] is the format in which steps are written. [Tagged], the default,
// puts each step between tags that carry its name:
//
//	<step name="rules">The note names the place. \boxed{1}</step>
//
// [Boxed] has no tags: the k-th boxed answer is step k's.
//
// Both can read other forms of a box, and ignore a model's thinking between
// <think> and </think>.
//
// # Traces
//
// A [Parser] never fails. Whatever the model wrote, its [Trace] has one [Span]
// for each step of the template, with the bytes and tokens of the step and of
// its answer, and a [Status] that tells whether, and how, the model broke the step.
//
// Credit assignment needs tokens, so the parser is told the byte offset at which
// each sampled token ends. It never encodes the text again: the model may have
// sampled a tokenisation other than the tokenizer's.
//
// Steps begin and end at bytes, and tokens can straddle these boundaries. A
// token belongs to the step that holds its first byte, and so to one step at
// most.
//
// Examples are in example_test.go. A program that uses it: examples/owntask, whose
// demonstration writes a completion in the form that the template asks for.
package prompt
