package cpu

import "golang.org/x/sys/cpu"

// kernelsFor returns the kernels of an instruction set, nil if this machine
// cannot run it.
func kernelsFor(isa ISA) *kernels {
	switch {
	case isa == Go:
		return &goKernels
	case isa == AVX2 && cpu.X86.HasAVX2 && cpu.X86.HasFMA:
		return &avx2Kernels
	case isa == AVX512 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL && cpu.X86.HasFMA:
		return &avx512Kernels
	}
	return nil
}

var avx2Kernels = func() kernels {
	k := goKernels
	k.rows, k.tile, k.vector = 6, 16, 8
	k.gemm = gemmAVX2
	return k
}()

var avx512Kernels = func() kernels {
	k := goKernels
	k.rows, k.tile, k.vector = 12, 32, 16
	k.gemm = gemmAVX512
	return k
}()

// gemmAVX512 picks the micro-kernel for tiles of one or two vectors.
func gemmAVX512(m, n, k int, alpha float32, a *float32, rsa, csa int, b *float32, rsb int, beta float32, c *float32, ldc int) {
	if n <= 16 {
		gemm16AVX512(m, n, k, alpha, a, rsa, csa, b, rsb, beta, c, ldc)
	} else {
		gemm32AVX512(m, n, k, alpha, a, rsa, csa, b, rsb, beta, c, ldc)
	}
}

// gemmAVX2 picks the micro-kernel for tiles of one or two vectors.
func gemmAVX2(m, n, k int, alpha float32, a *float32, rsa, csa int, b *float32, rsb int, beta float32, c *float32, ldc int) {
	if n <= 8 {
		gemm8AVX2(m, n, k, alpha, a, rsa, csa, b, rsb, beta, c, ldc)
	} else {
		gemm16AVX2(m, n, k, alpha, a, rsa, csa, b, rsb, beta, c, ldc)
	}
}
