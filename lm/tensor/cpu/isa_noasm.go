//go:build !amd64 && !arm64

package cpu

// bf16Needs names what processors need for products of bfloat16s.
const bf16Needs = "AVX512_BF16 or FEAT_BF16"

// kernelsFor returns the kernels of an instruction set, nil if this machine
// cannot run it.
func kernelsFor(isa ISA) *kernels {
	if isa == ISAGo {
		return &goKernels
	}
	return nil
}
