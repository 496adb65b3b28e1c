// Package eval measures how good a relevance model is: classification
// ([Accuracy], [BinaryAccuracy], [MacroF1], [NewConfusion]), agreement on an
// ordered scale ([QuadraticKappa]), ranking ([NDCG], [AUC]; [BM25] is a ranker to
// compare with), sampling ([PassAtK], [MajorityAtK]), and the
// confidence intervals of all of these ([Bootstrap], [BootstrapDifference],
// [Wilson]).
//
// A metric is a function of a list of examples, so it can be handed to the
// bootstrap as it is:
//
//	eval.Bootstrap(pairs, eval.Accuracy, eval.BootstrapOptions{Seed: 1})
//
// # Several runs
//
// What a training method is worth takes several seeds, with the same ones for both
// methods. [PairedRuns] says how many. With a[i][j] and b[i][j] the two methods' values
// in run i on example j ([Right] makes them of pairs), [CompareRuns] gives the interval of the difference over runs and
// examples ([BootstrapCrossed]) and a p-value over runs ([SignFlip]), and
// [Contrast.Finding] says what that shows: a difference, none that matters, or neither,
// as always from fewer than [FewestRuns] runs.
// [Holm] adjusts the p-values of several comparisons.
//
// For the completions of a task, rl.Rollouts.Pairs makes the pairs.
//
// # Undefined is NaN
//
// A metric that its examples do not determine is NaN, never 0: any metric of no
// examples, AUC with only one class, nDCG of a query without a relevant document,
// kappa if all labels are the same, pass@k of fewer than k samples. [Mean] leaves
// NaN out and returns the number of remaining values. A NaN among the scores to
// rank by gives NaN. Arguments that are a programmer's mistake, such as a
// negative gain or lists of different lengths, panic.
//
// An answer that could not be parsed is still an example. Give it a label that is
// no gold label: it then counts as wrong in Accuracy, and in MacroF1 if that is
// given the gold labels. Kappa cannot use it, so leave it out there ([Answered]) and
// report the share of such answers.
//
// Examples are in example_test.go. A program that uses it: examples/owntask, whose
// evaluate (in learn) prints accuracy and kappa of a policy's answers.
package eval
