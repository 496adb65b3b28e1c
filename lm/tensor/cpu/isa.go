package cpu

import "fmt"

// ISA names an instruction set that kernels are written for.
type ISA int

const (
	// ISAAuto is the best instruction set of the machine.
	ISAAuto ISA = iota
	// ISAGo is plain Go, which runs everywhere.
	ISAGo
	// ISAAVX2 is AVX2 with FMA3, on amd64.
	ISAAVX2
	// ISAAVX512 is AVX-512 F, BW, DQ and VL, on amd64.
	ISAAVX512
)

// String returns the name of the instruction set.
func (i ISA) String() string {
	switch i {
	case ISAAuto:
		return "auto"
	case ISAGo:
		return "go"
	case ISAAVX2:
		return "avx2"
	case ISAAVX512:
		return "avx512"
	}
	return fmt.Sprintf("ISA(%d)", int(i))
}

// Available lists the instruction sets that this machine runs, slowest first.
func Available() []ISA {
	var list []ISA
	for _, isa := range []ISA{ISAGo, ISAAVX2, ISAAVX512} {
		if kernelsFor(isa) != nil {
			list = append(list, isa)
		}
	}
	return list
}
