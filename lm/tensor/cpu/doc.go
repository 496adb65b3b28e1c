// Package cpu is the default tensor backend: float32, or products of bfloat16s, on
// the processor's vector units, on all cores, without cgo. It is registered as "cpu".
//
// A program that imports the package can open the backend by name, or call [New]
// to choose an instruction set or the number of workers:
//
//	import _ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"
//
//	b, err := tensor.Open("cpu")
//
// # Kernels
//
// The inner loops exist in plain Go and, on amd64, in assembly for AVX2 with FMA
// and for AVX-512. [Available] lists what the machine can run; a backend uses the
// best of it unless [Options] says otherwise. The program in lm/tensor/asmgen, a
// separate module, generates the assembly with avo:
//
//	go generate ./lm/tensor/cpu
//
// Exponentials have an error below 2 units in the last place. The benchmarks
// print the speed of matrix products as a share of [Backend.PeakGFLOPS], and the
// time of every other operation:
//
//	go test -run - -bench . ./lm/tensor/cpu
//
// # Precision
//
// In float32, the default, nothing is rounded to less. With
//
//	b, err := tensor.Open("cpu,precision=bf16")
//
// both operands of matrix products, forward and backward, are rounded to bfloat16 (8
// significant bits, to nearest, ties to even) while they are packed. Sums are in
// float32, and so is all else: attention, norms, softmaxes, gradients of weights, the
// optimiser, and what lies in buffers. That takes AVX512_BF16 (VDPBF16PS) or, on arm64,
// FEAT_BF16 (BFMMLA); Open says so on a processor that has neither. Plain Go has the
// products too, slowly, to compare with: Options{ISA: ISAGo, Precision: tensor.PrecisionBFloat16}.
//
// A rounded operand is off by at most a share of 2⁻⁹, a product of two by 2⁻⁸; the suite
// asks for 1.6% of the largest element ([tensor.Precision.Tolerance]). Numbers below
// 2⁻¹²⁶ count as 0 in both instructions, but not in plain Go, and from 2¹²⁸·(1 − 2⁻⁹) on
// as infinite. VDPBF16PS rounds every sum to nearest; BFMMLA rounds those of a pair to odd
// before it adds them, or to nearest on a core with FEAT_EBF16 whose system turned that
// on. So bits differ between processors, by far less than rounding the operands does.
//
// # Determinism
//
// The shape of an operation alone decides in which order its sums are taken. How it
// is cut into tasks may depend on the number of workers, but no sum does, so
// results have the same bits for any GOMAXPROCS. Nor does a row of a matrix
// product, or a query of a decoding step, depend on what else is in the batch.
// Instruction sets have vectors of different widths, so results differ between
// them in the last bits.
//
// # Memory
//
// Freed buffers are kept for later ones of a similar size, but no more than were
// ever in use at once. Scratch memory grows to what the largest operation needs.
// After the first training step, the next ones allocate almost nothing. On Linux
// the package asks the system for large pages.
//
// # Goroutines
//
// The goroutines of an operation wait some tens of microseconds for the next
// one, which is faster than waking them, and end if none comes. A backend needs
// no Close.
//
// Examples are in cpu_test.go.
package cpu

//go:generate go -C ../asmgen run . ../cpu
