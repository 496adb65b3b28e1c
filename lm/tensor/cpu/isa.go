package cpu

import "fmt"

// ISA names an instruction set that kernels are written for.
type ISA int

const (
	// Auto is the best instruction set of the machine.
	Auto ISA = iota
	// Go is plain Go, which runs everywhere.
	Go
	// AVX2 is AVX2 with FMA3, on amd64.
	AVX2
	// AVX512 is AVX-512 F, BW, DQ and VL, on amd64.
	AVX512
)

// String returns the name of the instruction set.
func (i ISA) String() string {
	switch i {
	case Auto:
		return "auto"
	case Go:
		return "go"
	case AVX2:
		return "avx2"
	case AVX512:
		return "avx512"
	}
	return fmt.Sprintf("ISA(%d)", int(i))
}

// Available lists the instruction sets that this machine runs, slowest first.
func Available() []ISA {
	var list []ISA
	for _, isa := range []ISA{Go, AVX2, AVX512} {
		if kernelsFor(isa) != nil {
			list = append(list, isa)
		}
	}
	return list
}
