// Package tensor defines what the models of this module compute on: the
// [Backend] interface, the registry of backends, and [Param], which a model
// shares with its optimiser.
//
// A backend owns its memory. A [Buffer] is a handle with a length: all you can
// do with it is pass it back to the backend that made it. So the same model
// code runs on Go slices, on SIMD kernels and on a device. A backend may queue
// its operations; Read and Sync wait for them and report what failed:
//
//	b, err := tensor.Open("cpu")
//	x := b.Alloc(4)
//	b.Write(x, []float32{1, 2, 3, 4})
//	b.Axpy(x, 0.5, gradient) // x += 0.5·gradient
//	err = b.Read(host, x)
//
// The operations are those of a Llama or BERT transformer, forward and
// backward, one call each. Batches are packed: sequences lie end to end, without
// padding ([Attention]). Gradients accumulate, except where a dst is documented
// to be overwritten. There is no graph and no automatic differentiation.
//
// # Backends
//
// Import a backend's package for its side effect and open it by name, as with
// database/sql:
//
//	import _ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"
//
// Package cpu is the fast one, and package reference the slow one that defines
// the right answer. To write a backend, implement Backend, call [Register] in
// init, and test it with backendtest.Run. Beyond Backend it may implement
//
//   - [Packer], to multiply faster by matrices that do not change;
//   - [GeGLUer], for ModernBERT;
//   - io.Closer, if it holds resources other than its buffers.
//
// Examples are in example_test.go.
package tensor
