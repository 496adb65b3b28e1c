// Package reward holds the rules that score completions and their steps.
//
// A [Rule] is asked about one step, or about the [WholeCompletion], and returns
// a value, by convention from 0 to 1, or the reason why it has none. Unscorable
// is not zero: a missing gold label must not teach the model anything.
//
// Outcome rules: [ExactLabel], [GradedDistance], [FormatShare],
// [FormatStrict], [Length], [SoftOverlong]. Step rules: ExactLabel and
// GradedDistance with the step's own gold answer, [Predicate] for one
// criterion, [Arithmetic] for what can be recomputed. [Combine] weighs several
// into one. A [Counter] tallies how often, and why, rules had no value.
//
// # Broken steps
//
// A step that the policy itself broke (missing, truncated, with an invalid
// answer, …) must count as incorrect, because a policy learns to hide in
// whatever escapes judgement. The caller decides that from the span's status
// before it asks a rule, as package task does. Rules that need the step's answer
// or text find a broken step unscorable, with its status in the reason: "broken
// step: missing". The format rules judge that very status and always return a
// value.
//
// For the same reason an answer off the scale of GradedDistance scores 0, and
// Combine never leaves a part out because the step is broken. Whatever remains
// unscorable is not the policy's doing. The exception is Arithmetic: a policy can
// write no equation, or hide one in words, so combine it with a rule that judges
// the answer.
//
// # Custom rules
//
// Any function is a rule through [RuleFunc]; one that compares the completions of
// a group is a [GroupRule], through [GroupRuleFunc]. A rule that asks a service
// should pass the context on and return the service's failure as an error; "I
// cannot tell" is an unscorable score. Keep reasons few and fixed: they are
// counted, so numbers and quoted text do not belong in them.
package reward
