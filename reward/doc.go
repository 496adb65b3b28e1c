// Package reward holds the rules that score completions and their steps.
//
// A [Rule] is asked for the score of one step, or with [Answer] of the whole
// completion, and says either a value, by convention from 0 to 1, or that it
// cannot say, and why. Unscorable is not zero: a missing gold label must not
// teach the model anything.
//
// Outcome rules: [ExactLabel], [GradedDistance], [FormatShare],
// [FormatStrict], [Length], [SoftOverlong]. Step rules: ExactLabel and
// GradedDistance with the step's own gold answer, [Predicate] for one
// criterion, [Arithmetic] for what can be recomputed. [Combine] weighs several
// into one; [Count] tallies how often and why a rule could not say.
//
// # Broken steps
//
// A step that the policy itself broke (missing, truncated, unparsable, …) must
// count as incorrect, because a policy learns to hide in whatever escapes
// judgement. Whoever asks the rules, as package task does, decides that from
// the span's status before it asks. The rules that need a step's answer or text
// say of a broken one that it is unscorable, with the status in the reason:
// "broken step: missing". The format rules judge exactly that status, and never
// find a completion unscorable.
//
// # Rules of one's own
//
// Any function is a rule through [RuleFunc]. A rule that asks a service passes
// the context on and returns the service's failure as an error; "I cannot tell"
// is an answer, not a failure. Reasons should be few and fixed: they are
// counted, so numbers or texts do not belong in them.
package reward
