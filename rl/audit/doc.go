// Package audit measures the rules themselves: how often the verdict of a step
// rule agrees with that of a careful reader.
//
// Step credit is only as good as its verdicts. In trainings of a small model
// (docs/evidence.md) verdicts that were wrong at random in a fifth of the steps
// took a third of the mask's gain over outcome credit, rules that were always
// wrong about a tenth of the queries nearly half, and about a fifth more than half.
// So before you trust a rule with a long run, and again when training has changed
// the completions, label a few hundred steps by hand:
//
//  1. [Sample] draws judged steps from rollouts, and [Write] writes them as JSON
//     lines with an empty "truth".
//  2. A reader sets each "truth" to "correct", "incorrect", or "unknown" where
//     even a reader cannot tell, best without looking at "verdict".
//  3. [Read] reads the lines, [Tally] counts them per rule, and [Format] prints
//     precision and recall of each verdict with their intervals.
//
// # Reading the numbers
//
// A false "correct" lets a wrong step be reinforced; a false "incorrect" lets a
// right one be masked or punished. [RuleStats.Precision] and [RuleStats.Recall]
// show which kind of mistake a rule makes. Intervals are Wilson's, for
// independent rows: that is why Sample draws at most one step of a name from each
// prompt. With 5 errors in 100 rows the rate of errors lies between 2% and 11%;
// to know that it is below 2% takes 400 rows with no more than 2 errors.
//
// Steps that the policy broke are not sampled: no rule was asked about them.
//
// Examples are in example_test.go.
package audit
