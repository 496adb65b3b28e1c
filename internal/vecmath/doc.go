// Package vecmath computes functions of many numbers at once, in plain Go and
// in assembly for AVX2 and AVX-512. All three give the same bits, whatever the
// processor, and the result for a number does not depend on its neighbours.
package vecmath

//go:generate go -C ../../lm/tensor/asmgen run . ../../../internal/vecmath
