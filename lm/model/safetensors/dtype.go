package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/d4l3k/go-bfloat16"

	"github.com/stepwise-rl/stepwise/lm/internal/float16"
)

// DType is the type in which a tensor's elements are stored.
type DType string

// The types that can be read. All but F64 can be written.
const (
	// F32 is IEEE 754 binary32.
	F32 DType = "F32"
	// F16 is IEEE 754 binary16.
	F16 DType = "F16"
	// BF16 is bfloat16: the upper half of a binary32.
	BF16 DType = "BF16"
	// F64 is IEEE 754 binary64, which is rounded to binary32 when it is read.
	F64 DType = "F64"
)

// CheckFloat returns an error that says what is wanted unless t is one of the types that
// can be read.
func (t DType) CheckFloat() error {
	switch {
	case t == F32 || t == F16 || t == BF16 || t == F64:
		return nil
	case strings.HasPrefix(string(t), "F8_"):
		return fmt.Errorf("is %s, want F32, F16, BF16 or F64: values of eight bits mean nothing without their scales, so save the model dequantized", t)
	}
	return fmt.Errorf("is %s, want F32, F16, BF16 or F64", t)
}

// bytes returns the size of an element of a type that can be read.
func (t DType) bytes() int { return dtypeBits[t] / 8 }

// dtypeBits holds the size in bits of an element of every type that safetensors
// 0.8 knows.
var dtypeBits = map[DType]int{
	"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
	"BOOL": 8, "U8": 8, "I8": 8,
	"F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
	"I16": 16, "U16": 16, F16: 16, BF16: 16,
	"I32": 32, "U32": 32, F32: 32,
	"I64": 64, "U64": 64, F64: 64, "C64": 64,
}

// Decode sets dst to the elements in raw, which are of a type that can be read. One that
// is too large for a float32 becomes an infinity.
func Decode(dst []float32, raw []byte, t DType) {
	for i := range dst {
		switch t {
		case BF16:
			dst[i] = bfloat16.ToFloat32(bfloat16.FromBytes(raw[2*i:]))
		case F16:
			dst[i] = float16.FromF16(binary.LittleEndian.Uint16(raw[2*i:]))
		case F64:
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])))
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
