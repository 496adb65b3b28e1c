// Package distill turns a tuned generative judge into a light classifier that
// serves traffic.
//
// The teacher reasons in steps and states a label, but it believes more about the
// label than the one that it happened to sample. [Labeler] finds that out: for each
// [Rationale], a sampled completion that [Cut] ended before its final answer, it
// asks for the probability of every label there, and averages over several
// rationales of the same prompt. [Loss] compares a classifier's logits with this
// [Belief] and with the true label, and [Fit] trains a [Student] on it.
//
// Losses and loops know no model: a Student is an encoder of this module behind
// package lm/local, or any model of yours.
package distill
