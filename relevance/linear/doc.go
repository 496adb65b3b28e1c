// Package linear predicts a grade from numbers with multinomial logistic
// regression: [Fit] with soft labels, [Cuts] that turn an expected grade into a
// grade with the best quadratic weighted kappa, and [CrossFit], which gives every
// row the belief of models that have not seen its query.
//
// The numbers are usually those of package criteria. Everything is deterministic.
package linear
