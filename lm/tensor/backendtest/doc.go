// Package backendtest is the conformance suite of tensor backends, with an
// asynchronous fake to test the code that uses them.
//
// A backend's own tests call [Run]:
//
//	func TestBackend(t *testing.T) {
//		backendtest.Run(t, func() tensor.Backend { return mybackend.New() })
//	}
//
// It compares every operation with [reference.New64] on random inputs of odd
// and empty sizes, in slices between guards that no operation may touch;
// checks that the bits do not depend on GOMAXPROCS, that the caller's slices
// are not retained, that misuse panics at the call; and, of a backend that
// implements [Faulty], that errors stick until Sync.
//
// [Async] runs any backend behind a queue, with buffers that are nothing but
// handles. Code that passes its tests on Async assumes neither that a buffer
// is a Go slice nor that an operation is complete when it returns.
package backendtest
