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
// a group is a [GroupRule], through [GroupRuleFunc]. "I cannot tell" is an
// unscorable score, and only a failure of the rule itself an error. Keep reasons
// few and fixed: they are counted, so numbers and quoted text, a service's words
// above all, do not belong in them.
//
// # Rules that ask a service
//
// A rule whose judge answers over a network is written as if the network were
// perfect: it passes the context on, makes one call, and returns an error if
// anything goes wrong, marked as [Permanent] if a retry would be useless. [Through]
// makes it a rule of a [Service], whose [ServiceSettings] add the rest: timeout,
// retries with backoff, limits on calls at once and per second, a cache. Rules that
// ask the same service share its limits.
//
// A judgement that still fails after all retries ends the run, drops the
// completion, or leaves it unscorable ([OnFailure]). A [FailureBudget] ends the run
// in any case when too many fail. Drop completions, or leave them unscorable, only
// if failures hit them at random. A policy that finds a text on which the judge
// fails has found a loophole: give such a text a score. Trainers count dropped
// completions and warn when the unscorable share grows (rl.Config.WarnUnscorable).
// rl.Config.Judges sets how many completions are judged at once.
//
// Package remote/judge has such a rule, which asks a judge model.
//
// Examples are in example_service_test.go and example_test.go. A program that uses
// it: examples/owntask, where citesDays is a rule of one's own and definition combines it
// with others.
package reward
