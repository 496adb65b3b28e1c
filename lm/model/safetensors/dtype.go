package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/d4l3k/go-bfloat16"

	"github.com/stepwise-rl/stepwise/lm/internal/float16"
)

// DType is the type in which a tensor's elements are stored.
type DType string

// The types that can be read and written.
const (
	// F32 is IEEE 754 binary32.
	F32 DType = "F32"
	// F16 is IEEE 754 binary16.
	F16 DType = "F16"
	// BF16 is bfloat16: the upper half of a binary32.
	BF16 DType = "BF16"
)

// Float reports whether t is one of the types that can be read and written.
func (t DType) Float() bool { return t == F32 || t == F16 || t == BF16 }

// Size returns the size of an element in bytes; 0 for a type that the format
// does not have.
func (t DType) Size() int { return int(dtypeBytes[t]) }

// dtypeBytes holds the element size of every type of the format.
var dtypeBytes = map[DType]int64{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1,
	"I16": 2, "U16": 2, F16: 2, BF16: 2,
	"I32": 4, "U32": 4, F32: 4,
	"I64": 8, "U64": 8, "F64": 8,
}

// Decode sets dst to the elements in raw, which are of type F32, F16 or BF16.
func Decode(dst []float32, raw []byte, t DType) {
	for i := range dst {
		switch t {
		case BF16:
			dst[i] = bfloat16.ToFloat32(bfloat16.FromBytes(raw[2*i:]))
		case F16:
			dst[i] = float16.FromF16(binary.LittleEndian.Uint16(raw[2*i:]))
		default:
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	}
}

// Encode appends values to dst as elements of type F32, F16 or BF16, rounded to
// nearest, ties to even. A finite value that rounds to an infinity is an error.
func Encode(dst []byte, values []float32, t DType) ([]byte, error) {
	for _, v := range values {
		var bits uint16
		var back float32
		switch t {
		case BF16:
			b := float16.ToBF16(v)
			bits, back = uint16(b), bfloat16.ToFloat32(b)
		case F16:
			bits = float16.ToF16(v)
			back = float16.FromF16(bits)
		default:
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
			continue
		}
		if math.IsInf(float64(back), 0) && !math.IsInf(float64(v), 0) {
			return dst, fmt.Errorf("%v is too large for %s", v, t)
		}
		dst = binary.LittleEndian.AppendUint16(dst, bits)
	}
	return dst, nil
}
