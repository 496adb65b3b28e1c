// Package baseline has the predictors that a model must beat to have learned
// anything worth having: what can be told of a label without reading.
//
// [All] lists them: the majority label, counts of shared words, bags of words, and
// bags of character pairs, which need no word boundaries and so serve Chinese, too.
// All but the first are multinomial logistic regression on counts
// (linear.FitCounts).
//
// [BagOfWords] knows the words of the query and of the document, apart, so it can
// learn which words go with which labels but not whether the two texts agree.
// [Overlap] knows nothing but counts. [Characters] knows both. A task that one of them
// solves needs no reasoning.
package baseline
