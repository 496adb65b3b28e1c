package safetensors

import "math"

// DType is the type in which a tensor's elements are stored.
type DType string

// The types that can be read and written.
const (
	// F32 is IEEE 754 binary32.
	F32 DType = "F32"
	// BF16 is bfloat16: the upper half of a binary32.
	BF16 DType = "BF16"
)

// dtypeBytes holds the element size of every type of the format.
var dtypeBytes = map[DType]int64{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1,
	"I16": 2, "U16": 2, "F16": 2, BF16: 2,
	"I32": 4, "U32": 4, F32: 4,
	"I64": 8, "U64": 8, "F64": 8,
}

// bf16Bits rounds v to bfloat16, to nearest and ties to even, and returns its
// bits. A NaN stays a NaN.
func bf16Bits(v float32) uint16 {
	bits := math.Float32bits(v)
	if v != v {
		return uint16(bits>>16) | 0x0040 // quiet, so that it cannot become an infinity
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// bf16Value is the exact value of a bfloat16.
func bf16Value(bits uint16) float32 { return math.Float32frombits(uint32(bits) << 16) }
