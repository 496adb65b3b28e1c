// Package backendtest is the conformance suite of tensor backends. It also has
// an asynchronous fake to test the code that uses them.
//
// A backend's own tests call [Run]:
//
//	func TestBackend(t *testing.T) {
//		backendtest.Run(t, func() tensor.Backend { return mybackend.New() })
//	}
//
// Run compares every operation with [reference.New64], on random inputs of odd
// and empty sizes that lie between guards which no operation may touch. It
// checks that the bits do not depend on GOMAXPROCS, that the caller's slices are
// not kept, that misuse panics at the call, and that the backend can be closed.
// Errors are judged by the precision that the backend says it has
// (tensor.PrecisionOf). If the backend implements [Faulty], it checks that errors
// stick until Sync; if it implements tensor.Packer, that packed products have
// MatMul's bits; if tensor.Sampler, that every token is the one its random number
// points at.
//
// [Async] runs any backend behind a queue, with buffers that are mere handles.
// Code whose tests pass on Async assumes neither that a buffer is a Go slice nor
// that an operation is complete when its call returns.
//
// Examples are in example_test.go.
package backendtest
