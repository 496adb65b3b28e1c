// Package reference is the tensor backend that says what the right answer is:
// plain Go, one goroutine, one short function for each operation, every sum
// in float64. Other backends are compared with it; it is not meant to be
// fast.
//
// [New] stores float32 like any backend and is registered as "reference".
// [New64] runs the same code on float64 storage, so that gradients can be
// checked by central differences through the tensor.Backend interface:
//
//	b := reference.New64()
//	x := b.Alloc(3)
//	b.Write64(x, []float64{1, 2, 3})
//
// It is strict: besides wrong shapes and buffers of another backend it
// panics on a buffer that was freed, on a dst that overlaps an input, and on
// cache rows that StoreCache would write twice.
package reference
