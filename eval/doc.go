// Package eval measures how good a relevance model is: classification
// ([Accuracy], [BinaryAccuracy], [MacroF1], [NewConfusion]), agreement on an
// ordered scale ([QuadraticKappa]), ranking ([NDCG], [AUC]), sampling
// ([PassAtK], [MajorityVote], [MajorityAtK]), and how sure one may be of any of
// them ([Bootstrap], [BootstrapDifference], [Wilson]).
//
// Each metric is a function of a list of examples, so that one can be handed to
// the bootstrap as it is:
//
//	eval.Bootstrap(pairs, eval.Accuracy, eval.BootstrapOptions{Seed: 1})
//
// # Undefined is NaN
//
// A metric that its examples do not determine is NaN, never 0: every metric of
// no examples, AUC with one class only, nDCG of a query without a relevant
// document, kappa where all labels are the same, pass@k of fewer than k
// samples. [Mean] leaves NaN out and says how many values remain. A NaN among
// the scores to rank by gives NaN too. Arguments that cannot be data, such as a
// negative gain or lists of different lengths, are a programmer's mistake, and
// panic.
//
// An answer that could not be parsed is an example all the same. Give it a
// label that is no gold label, and it counts as wrong in Accuracy, and in
// MacroF1 if that is given the gold labels. Kappa has no place for it: leave it
// out there, and report the share.
package eval
