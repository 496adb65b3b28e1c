//go:build !amd64 && !arm64

package cpu

// kernelsFor returns the kernels of an instruction set, nil if this machine
// cannot run it.
func kernelsFor(isa ISA) *kernels {
	if isa == ISAGo {
		return &goKernels
	}
	return nil
}
