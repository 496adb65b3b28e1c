// Package study measures what relevance criteria alone predict: logistic regression
// on the findings of package criteria, cross-validated by query, beside simple rules.
//
// [New] prepares judged pairs, [Study.Believe] gives honest beliefs for training and
// test rows, to be reported or given to a later model as a fact, and [Study.Report]
// prints the whole comparison: accuracy, macro-F1 and quadratic weighted kappa with
// intervals by bootstrap over queries, nDCG beside BM25, a learning curve, what each
// ingredient adds, and how well each criterion agrees with the labels.
package study
