// Package problem holds functions to minimise by mirror descent, together with what
// is known about their smoothness relative to a kernel.
//
// Each is a [Fit]: the mean of a [Loss] of linear functions. The loss decides what
// the problem is:
//
//	Square     least squares
//	Poisson    a linear inverse problem with Poisson noise
//	Magnitude  a quadratic inverse problem (phase retrieval without signs)
//	Logistic   logistic regression
package problem
