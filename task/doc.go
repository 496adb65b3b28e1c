// Package task holds the one definition of a task: its steps with their
// instructions, criteria and rules, its answer format and its outcome rewards.
//
// Everything else follows from a [Definition]: the prompt that the model reads,
// the parser of its completions, the rules that judge each step, and the names of
// the metrics. [New] checks the definition; [Task.Bind] joins it with an example
// into a [Bound], which is an rl.Problem. Type parameters end at Bind: packages
// rl, sam and the others have none.
//
// # Verdicts and rewards
//
// [Bound.Judge] parses a rollout.Completion and writes the trace, the steps with
// their verdicts, and the outcome rewards into it:
//
//   - A step that the policy broke (missing, duplicate, out of order, truncated,
//     surplus, or with an invalid answer) is broken, with reward 0, and its rule
//     is not asked. Step credit counts it as wrong: anything else is a loophole
//     that training finds and exploits.
//   - A well-formed step that its rule cannot judge, or that has no rule, is
//     unknown, with reward NaN.
//   - Every other step is correct if its score is at least Step.PassAt, and
//     incorrect if it is less.
//
// A completion with a broken final answer gets Outcome.BrokenReward, 0 by default,
// from every outcome rule that cannot score it.
//
// # Rules that compare completions
//
// A rule that is a reward.GroupRule, such as a judge that ranks the completions of a
// prompt, stands in Step.Rule or Outcome.Rule like any other. [Bound.Judge] leaves
// its steps unknown and its rewards NaN; [Bound.JudgeGroup], which rl.Collect calls
// when the whole group has been judged one by one, asks it and fills them in.
//
// # A model from nothing
//
// Its tokenizer learns from the task's texts and knows the template's marks, and the
// definition encodes with it, so the template comes first:
//
//	t := d.Template() // needs no Encode
//	tok, err := tokenizer.Train(slices.Values(texts), tokenizer.TrainOptions{VocabSize: 400, Special: []string{end}, Added: t.Marks()})
//	d.Encode = task.Plain[E](tok.EncodeOrdinary) // in a prompt nothing is markup
//	bound, err := task.New(d)
//	text, err := t.Write(steps)                             // a demonstration, whose marks are tokens:
//	tokens := tok.EncodeExcept(text, tok.Markup(text, true)) // special tokens that it quotes are not
//
// Examples are in example_test.go. A program that uses it: examples/owntask, where
// definition is a task of one's own and learn trains on it, with a warm-up.
package task
