// Package cpu is the default tensor backend, registered as "cpu": float32 on
// the processor's vector units, on all cores, in Go without cgo.
//
// A program that imports the package can open the backend by name, or make
// one with [New] and choose an instruction set:
//
//	import _ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"
//
//	b, err := tensor.Open("cpu")
//
// # Kernels
//
// The inner loops exist in plain Go and, on amd64, in assembly for AVX2 with
// FMA and for AVX-512; [Available] lists what the machine runs, and a backend
// takes the best of it unless [Options] says otherwise. The assembly is
// generated with avo by the program in lm/tensor/asmgen, a module of its own:
//
//	go generate ./tensor/cpu
//
// Exponentials have an error below 2 units in the last place. Benchmarks print
// the speed of matrix products as a part of [Backend.PeakGFLOPS], beside
// gonum's, and the time of every other operation:
//
//	go test -run - -bench . ./tensor/cpu
//
// # Determinism
//
// An operation is cut into tasks by its shape alone, and sums over tasks are
// taken in a fixed order; workers only decide who computes a task. So results
// are bit-identical for any GOMAXPROCS. Nor does a row of a matrix product, or
// a query of a decoding step, depend on what else is in the batch. Results
// differ in the last bits between instruction sets, whose vectors have
// different widths.
//
// # Memory
//
// Freed buffers are kept for later ones of a similar size, never more than
// was in use at once; scratch memory grows to what the largest operation
// needs. A training step in a steady state allocates next to nothing.
// Memory asks the system for large pages, where it grants them on request
// (Linux).
//
// # Goroutines
//
// The goroutines of an operation wait some tens of microseconds for the next
// one, which is faster than waking them, and end when none comes. A backend
// needs no Close.
package cpu

//go:generate go -C ../asmgen run . ../cpu
