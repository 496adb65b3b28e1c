// Package distill turns a tuned generative judge into a light classifier that
// serves traffic.
//
// The teacher reasons in steps and states a label; what it believes about the
// label is more than the one it happened to sample. [Labeler] reads that
// belief off: for each sampled trace, the probability of every label at the
// place where the final answer stands, averaged over several traces of the
// same prompt; [Cut] ends a completion there. [Loss] then compares a classifier's logits with this
// distribution and with the true label, and [Fit] trains a [Student] on it.
//
// Losses and loops know no model: package lm/local puts an encoder of
// this module behind Student, and a user may put anything else there.
package distill
