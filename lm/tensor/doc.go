// Package tensor is what the models of this module compute on: the [Backend]
// interface, the registry of backends, and the [Param] that a model shares
// with its optimiser.
//
// A backend owns its memory. A [Buffer] is a handle of known length, and
// nothing can be done with it but to pass it to the backend that made it, so
// the same model code runs on Go slices, on SIMD kernels and on a device.
// Operations may be queued; Read and Sync wait, and report what failed:
//
//	b, err := tensor.Open("reference")
//	x := b.Alloc(4)
//	b.Write(x, []float32{1, 2, 3, 4})
//	b.Axpy(x, 0.5, gradient)
//	err = b.Read(host, x)
//
// The operations are those of a Llama-type transformer and of its backward
// pass, each as one call, on packed batches: sequences end to end without
// padding ([Attention]). Gradients accumulate, except where dst is documented
// to be overwritten. There is no graph and no automatic differentiation.
//
// # Backends
//
// Import a backend's package for its side effect and open it by name, as with
// database/sql:
//
//	import _ "github.com/stepwise-rl/stepwise/lm/tensor/reference"
//
// Interfaces that a backend may implement beyond Backend: io.Closer if it holds
// resources beyond its buffers, and [Packer].
//
// Package reference is the slow oracle. A new backend implements Backend,
// calls [Register] in init, and proves itself with backendtest.Run.
package tensor
