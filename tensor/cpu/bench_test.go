package cpu_test

import (
	"fmt"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/stepwise-rl/stepwise/tensor"
	"github.com/stepwise-rl/stepwise/tensor/cpu"
)

// shapes of matrix products: large, and of a small transformer's layers.
var shapes = []struct {
	opA, opB tensor.Op
	m, n, k  int
}{
	{tensor.N, tensor.N, 1024, 1024, 1024},
	{tensor.N, tensor.T, 1024, 1024, 1024},
	{tensor.T, tensor.N, 1024, 1024, 1024},
	{tensor.N, tensor.N, 512, 768, 768},
	{tensor.N, tensor.T, 512, 768, 768},
	// A layer of width 64: forward, input gradient, weight gradient.
	{tensor.N, tensor.T, 3000, 64, 64},
	{tensor.N, tensor.N, 3000, 64, 64},
	{tensor.T, tensor.N, 64, 64, 3000},
	{tensor.N, tensor.T, 3000, 192, 64},
	{tensor.T, tensor.N, 192, 64, 3000},
	{tensor.N, tensor.T, 3000, 128, 384},
	{tensor.N, tensor.T, 500, 500, 64},
	// Decoding.
	{tensor.N, tensor.T, 64, 64, 64},
	{tensor.N, tensor.T, 256, 128, 128},
	{tensor.N, tensor.T, 256, 500, 64},
	{tensor.N, tensor.T, 1, 1024, 1024},
	{tensor.N, tensor.N, 16, 1024, 1024},
	{tensor.N, tensor.T, 16, 1024, 1024},
}

func BenchmarkMatMul(bench *testing.B) {
	for _, s := range shapes {
		name := fmt.Sprintf("%dx%dx%d", s.m, s.n, s.k)
		for i, op := range []tensor.Op{s.opA, s.opB} {
			if op {
				name += [2]string{"/At", "/Bt"}[i]
			}
		}
		flops := 2 * float64(s.m) * float64(s.n) * float64(s.k)
		bench.Run(name, func(bench *testing.B) {
			for _, isa := range cpu.Available() {
				if isa == cpu.Go {
					continue
				}
				for _, workers := range []int{1, 2} {
					bench.Run(fmt.Sprintf("%v-%d", isa, workers), func(bench *testing.B) {
						b := open(bench, cpu.Options{ISA: isa, Workers: workers})
						x, y, z := b.Alloc(s.m*s.k), b.Alloc(s.k*s.n), b.Alloc(s.m*s.n)
						b.Fill(x, 1)
						b.Fill(y, 1)
						peak := b.PeakGFLOPS()
						for bench.Loop() {
							b.MatMul(s.opA, s.opB, s.m, s.n, s.k, 1, x, y, 0, z)
						}
						gflops := flops * float64(bench.N) / float64(bench.Elapsed().Nanoseconds())
						bench.ReportMetric(gflops, "GFLOP/s")
						bench.ReportMetric(100*gflops/peak, "%peak")
						bench.ReportMetric(0, "ns/op")
					})
				}
			}
			bench.Run("gonum", func(bench *testing.B) {
				x, y, z := make([]float32, s.m*s.k), make([]float32, s.k*s.n), make([]float32, s.m*s.n)
				for bench.Loop() {
					a, opA := general(x, s.m, s.k, s.opA)
					b, opB := general(y, s.k, s.n, s.opB)
					blas32.Gemm(opA, opB, 1, a, b, 0, blas32.General{Rows: s.m, Cols: s.n, Stride: s.n, Data: z})
				}
				bench.ReportMetric(flops*float64(bench.N)/float64(bench.Elapsed().Nanoseconds()), "GFLOP/s")
				bench.ReportMetric(0, "ns/op")
			})
		})
	}
}

func general(x []float32, rows, cols int, op tensor.Op) (blas32.General, blas.Transpose) {
	if op == tensor.T {
		return blas32.General{Rows: cols, Cols: rows, Stride: rows, Data: x}, blas.Trans
	}
	return blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: x}, blas.NoTrans
}
