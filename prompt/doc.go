// Package prompt holds criteria-augmented multi-step prompts and takes apart
// what models answer to them.
//
// A [Template] lists the steps in which a model must reason: what each one
// decides, by which relevance criteria, and which answers it allows. From that
// one definition come the prompt ([Template.Messages], [Template.Render]),
// well-formed completions for supervised teachers ([Template.Write]) and the
// parser ([Template.Parser]). What is asked for, taught and parsed cannot drift
// apart.
//
// How steps are written down is a [Syntax]. [Tagged], the default, puts each
// step between tags that carry its name:
//
//	<step name="rules">The note names the place. \boxed{1}</step>
//
// [Boxed] has no tags: the k-th boxed answer is step k's.
//
// # Traces
//
// A [Parser] never fails. Its [Trace] has one [Span] for each step of the
// template, whatever the model wrote, with the bytes and tokens of the step and
// of its answer, and a [Status] that says how the model broke the step, if it
// did. Credit assignment needs tokens, so the parser is given the byte offset
// at which each sampled token ends. Text is never encoded anew: a model may
// have sampled another tokenisation than the tokenizer's own.
//
// Steps are bounded by bytes, but advantages belong to tokens, and tokens
// straddle boundaries. A token belongs to the step in which its first byte
// lies, so that every token belongs to one step at most.
package prompt
