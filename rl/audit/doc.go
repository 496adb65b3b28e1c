// Package audit measures the rules themselves: how often a step rule's verdict
// is what a careful reader says.
//
// Step credit is as good as its verdicts. In simulations, verdicts that are
// wrong at random do little harm; a rule that is wrong systematically in a tenth
// of the cases undoes the gain of step credit, and in four tenths does damage.
// So before a rule is trusted with a long run, and again when training has
// changed what completions look like, label a few hundred steps by hand:
//
//  1. [Sample] draws judged steps from rollouts, and [Write] writes them as JSON
//     lines with an empty "truth".
//  2. A reader sets each "truth" to "correct", "incorrect", or "unknown" where
//     even a reader cannot say. It is best done without looking at "verdict".
//  3. [Read] reads the lines, [Tally] counts them per rule, and [Format] prints
//     precision and recall of each verdict with their intervals.
//
// # Reading the numbers
//
// A false "correct" lets a wrong step be reinforced; a false "incorrect" lets a
// right one be masked or punished. [RuleStats.Precision] and [RuleStats.Recall] of either
// verdict say which kind a rule makes. Intervals are Wilson's and take rows for
// independent: Sample draws at most one step of a name from each prompt, so that
// they are. With 100 rows and 5 errors the rate of errors lies between 2% and
// 11%; no more than 2 errors in 400 rows say that it is less than 2%.
//
// Steps that the policy broke are not sampled: no rule was asked about them.
package audit
