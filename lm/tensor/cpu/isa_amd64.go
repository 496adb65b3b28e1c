package cpu

import "golang.org/x/sys/cpu"

// kernelsFor returns the kernels of an instruction set, nil if this machine
// cannot run it.
func kernelsFor(isa ISA) *kernels {
	switch {
	case isa == ISAGo:
		return &goKernels
	case isa == ISAAVX2 && cpu.X86.HasAVX2 && cpu.X86.HasFMA:
		return &avx2Kernels
	case isa == ISAAVX512 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL &&
		cpu.X86.HasFMA && cpu.X86.HasBMI2:
		return &avx512Kernels
	}
	return nil
}

var avx2Kernels = kernels{
	rows: 6, tile: 16, vector: 8,
	gemm:          gemmAVX2,
	stream:        streamAVX2,
	gemmPairs:     gemmPairsAVX2,
	streamPairs:   streamPairsAVX2,
	roundPairs:    roundPairsAVX2,
	streamRows:    1,
	transpose8:    transpose8AVX2,
	copyLines:     copyLinesAVX2,
	prefetch:      prefetchAVX2,
	peak:          peakAVX2,
	peakFlops:     14 * 8 * 2,
	axpy:          axpyAVX2,
	sumSquares:    sumSquaresAVX2,
	max:           maxAVX2,
	total:         totalAVX2,
	expSums:       expSumsAVX2,
	softmaxGrad:   softmaxGradAVX2,
	scores:        scoresAVX2,
	cacheKeys:     cacheKernel{6, 16, decodeAVX2},
	cacheValues:   cacheKernel{6, 16, decodeAVX2},
	attendSoftmax: attendSoftmaxAVX2,
	attendSums:    attendSumsAVX2,
	attendGrad:    attendGradAVX2,
	rowDots:       rowDotsAVX2,
	scaleRows:     scaleRowsAVX2,
	rmsNorm:       rmsNormAVX2,
	rmsNormGrad:   rmsNormGradAVX2,
	layerNorm:     layerNormAVX2,
	layerNormGrad: layerNormGradAVX2,
	rotate:        rotateAVX2,
	swiGLU:        swiGLUAVX2,
	swiGLUGrad:    swiGLUGradAVX2,
	gelu:          geluAVX2,
	geluGrad:      geluGradAVX2,
	adamW:         adamWAVX2,
}

var avx512Kernels = kernels{
	rows: 12, tile: 32, vector: 16,
	gemm:          gemmAVX512,
	stream:        streamAVX512,
	gemmPairs:     gemmPairsAVX512,
	streamPairs:   streamPairsAVX512,
	roundPairs:    roundPairsAVX2,
	bf16:          bf16AVX512(),
	streamRows:    3,
	transpose8:    transpose8AVX2,
	copyLines:     copyLinesAVX2,
	prefetch:      prefetchAVX2,
	peak:          peakAVX512,
	peakFlops:     30 * 16 * 2,
	axpy:          axpyAVX512,
	sumSquares:    sumSquaresAVX512,
	max:           maxAVX512,
	total:         totalAVX512,
	expSums:       expSumsAVX512,
	softmaxGrad:   softmaxGradAVX512,
	scores:        scoresAVX512,
	cacheKeys:     cacheKernel{12, 32, decodeKeysAVX512},
	cacheValues:   cacheKernel{6, 64, decodeValuesAVX512},
	attendSoftmax: attendSoftmaxAVX512,
	attendSums:    attendSumsAVX512,
	attendGrad:    attendGradAVX512,
	rowDots:       rowDotsAVX512,
	scaleRows:     scaleRowsAVX512,
	rmsNorm:       rmsNormAVX512,
	rmsNormGrad:   rmsNormGradAVX512,
	layerNorm:     layerNormAVX512,
	layerNormGrad: layerNormGradAVX512,
	rotate:        rotateAVX2,
	swiGLU:        swiGLUAVX512,
	swiGLUGrad:    swiGLUGradAVX512,
	gelu:          geluAVX512,
	geluGrad:      geluGradAVX512,
	adamW:         adamWAVX512,
}

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

// gemmPairsAVX512 is gemmAVX512 for pairs.
func gemmPairsAVX512(m, n, k int, alpha float32, a *float32, rsa, csa int, b *float32, rsb int, beta float32, c *float32, ldc int) {
	if n <= 16 {
		gemmPairs16AVX512(m, n, k, alpha, a, rsa, csa, b, rsb, beta, c, ldc)
	} else {
		gemmPairs32AVX512(m, n, k, alpha, a, rsa, csa, b, rsb, beta, c, ldc)
	}
}

// gemmPairsAVX2 is gemmAVX2 for pairs.
func gemmPairsAVX2(m, n, k int, alpha float32, a *float32, rsa, csa int, b *float32, rsb int, beta float32, c *float32, ldc int) {
	if n <= 8 {
		gemmPairs8AVX2(m, n, k, alpha, a, rsa, csa, b, rsb, beta, c, ldc)
	} else {
		gemmPairs16AVX2(m, n, k, alpha, a, rsa, csa, b, rsb, beta, c, ldc)
	}
}

// bf16Needs names what processors need for products of bfloat16s.
const bf16Needs = "AVX512_BF16"

func bf16AVX512() *bf16Kernels {
	if !cpu.X86.HasAVX512BF16 {
		return nil
	}
	round := rounding{roundRowsAVX512, roundColumnsAVX512}
	return &bf16Kernels{
		unit:      1,
		gemm:      gemmDotsAVX512,
		stream:    streamDotsAVX512,
		left:      round.left,
		panel:     round.panel,
		peak:      peakDotsAVX512,
		peakFlops: 30 * 32 * 2,
	}
}

// gemmDotsAVX512 is gemmAVX512 for words of two bfloat16s.
func gemmDotsAVX512(m, n, k int, alpha float32, a *float32, rsa, csa int, b *float32, rsb int, beta float32, c *float32, ldc int) {
	if n <= 16 {
		gemmDots16AVX512(m, n, k, alpha, a, rsa, csa, b, rsb, beta, c, ldc)
	} else {
		gemmDots32AVX512(m, n, k, alpha, a, rsa, csa, b, rsb, beta, c, ldc)
	}
}
