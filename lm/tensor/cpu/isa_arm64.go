package cpu

// bf16Needs names what processors need for products of bfloat16s.
const bf16Needs = "FEAT_BF16"

// kernelsFor returns the kernels of an instruction set, nil if this machine
// cannot run it. Every arm64 processor has NEON.
func kernelsFor(isa ISA) *kernels {
	switch isa {
	case ISAGo:
		return &goKernels
	case ISANEON:
		return &neonKernels
	}
	return nil
}

var neonKernels = kernels{
	rows: 6, tile: 16, vector: 4,
	gemm:          gemmNEON,
	stream:        streamNEON,
	gemmPairs:     gemmPairsNEON,
	streamPairs:   streamPairsNEON,
	roundPairs:    roundPairsNEON,
	bf16:          bf16NEON(),
	streamRows:    1,
	transpose8:    transpose8NEON,
	copyLines:     copyLinesGo,
	peak:          peakNEON,
	peakFlops:     30 * 4 * 2,
	axpy:          axpyNEON,
	sumSquares:    sumSquaresNEON,
	max:           maxNEON,
	total:         totalNEON,
	expSums:       expSumsNEON,
	softmaxGrad:   softmaxGradNEON,
	scores:        scoresNEON,
	cacheKeys:     cacheKernel{6, 16, decodeNEON},
	cacheValues:   cacheKernel{6, 16, decodeNEON},
	attendSoftmax: attendSoftmaxNEON,
	attendSums:    attendSumsNEON,
	attendGrad:    attendGradNEON,
	rowDots:       rowDotsNEON,
	scaleRows:     scaleRowsNEON,
	rmsNorm:       rmsNormNEON,
	rmsNormGrad:   rmsNormGradNEON,
	layerNorm:     layerNormNEON,
	layerNormGrad: layerNormGradNEON,
	rotate:        rotateNEON,
	swiGLU:        swiGLUNEON,
	swiGLUGrad:    swiGLUGradNEON,
	gelu:          geluNEON,
	geluGrad:      geluGradNEON,
	adamW:         adamWNEON,
}
