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
// Package cpu is the fast one on a processor, and package reference the slow one
// that defines the right answer. What [Open] takes besides the name chooses a device,
// the precision of products and a memory limit.
//
// To write a backend, implement Backend, call [Register] in init, and test it with
// backendtest.Run; docs/backends.md says in which order. Beyond Backend it may
// implement, each of them for itself,
//
//   - [Packer], to multiply faster by matrices that do not change, and [Linearer], for
//     products that add a bias and a residual;
//   - [LayerNormer], [GELUer], [GeGLUer] and [Tanher], for encoders;
//   - [Cacher], to decode with a KV cache, and [Sampler], to draw tokens;
//   - [TopKer], for the most likely tokens, as distillation wants them;
//   - [Updater], for an optimiser step in a few operations;
//   - [Precise] and [WeightKeeper], if it multiplies in less than float32;
//   - [Allocator16], for activations and caches of half the size;
//   - [HeadSizer], for larger chunks of logits;
//   - [ErrReporter], if its operations fail after their call;
//   - io.Closer, if it holds resources other than its buffers.
//
// Users need not ask for them: for most there is a function of the same name, such
// as [LayerNorm] or [AttendCache], that calls the backend's own or else composes the
// operation of those in Backend, or computes it on the host. A Backend that wraps
// another one implements the interfaces by these functions, or does without them.
//
// Examples are in example_test.go.
package tensor
