// Package reference is the tensor backend that defines the right answer: plain
// Go, one goroutine, one short function for each operation, every sum in
// float64. Other backends are compared with it. It is slow.
//
// [New] stores float32 like any backend and is registered as "reference".
// [New64] runs the same code on float64 storage, so that gradients can be
// checked by central differences through the tensor.Backend interface:
//
//	b := reference.New64()
//	x := b.Alloc(3)
//	b.Write64(x, []float64{1, 2, 3})
//
// It is strict. Like every backend it panics on wrong shapes and on buffers of
// another backend; it also panics on a freed buffer, on a dst that overlaps an
// input, and on a cache row that StoreCache would write twice.
//
// Examples are in example_test.go.
package reference
