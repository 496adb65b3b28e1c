// Package distill turns a tuned generative judge into a light classifier that
// serves traffic.
//
// The teacher reasons in steps and states a label, but one sampled label shows
// only part of what it believes. [Labeler] recovers the whole distribution: for
// each [Rationale], a sampled completion that [Cut] ended before its final
// answer, it computes the probability of every label there, and averages over
// several rationales of the same prompt. [Loss] compares a classifier's logits
// with this [Belief] and with the true label, and [Fit] trains a [Student] on it. A
// student whose labels are in order may have an ordinal [Head], and one that is shown
// what the teacher answered in each step ([Example].Steps) learns from fewer rows.
//
// A [Ranker] scores documents for retrieval. [FitRanking] trains it on whole queries,
// with a [RankingLoss]: [MarginMSE] or [ListKL].
//
// Losses and loops do not depend on a model: a [Student] is an encoder of this
// module (package lm/local) or any model of yours.
//
// Examples are in example_fit_test.go and example_test.go. A library that uses it:
// package relevance, whose distill.go teaches a student.
package distill
