package gguf

import (
	"fmt"
	"math/bits"

	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
)

// The head of a file.
const (
	magic     = "GGUF"
	version   = 3
	alignment = 32 // of each tensor's data; the format's default
)

// KV is an entry of the metadata. Its value is a uint32, uint64, int32, float32,
// bool or string, or a slice of int32, float32 or string. The format has other
// types too, which this package neither needs nor reads.
type KV struct {
	Key   string
	Value any
}

// Type is the type in which a tensor's elements are stored.
type Type uint32

// The types that can be read and written, with llama.cpp's numbers.
const (
	F32  Type = 0
	F16  Type = 1
	BF16 Type = 30
)

// String returns the type's name.
func (t Type) String() string {
	switch t {
	case F32:
		return "F32"
	case F16:
		return "F16"
	case BF16:
		return "BF16"
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// dtype returns the same type in package safetensors, whose elements have the
// same encoding.
func (t Type) dtype() safetensors.DType { return safetensors.DType(t.String()) }

// size returns the size of an element in bytes; 0 for an unknown type.
func (t Type) size() int {
	switch t {
	case F32:
		return 4
	case F16, BF16:
		return 2
	}
	return 0
}

// Tensor describes a tensor in a file.
type Tensor struct {
	Name string
	Type Type
	// Shape holds one to four dimensions, row-major: the last is the fastest.
	Shape []int
}

// maxDims is the format's limit.
const maxDims = 4

// Len returns the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// check returns an error unless t can be stored and its bytes fit an int64.
func (t *Tensor) check() error {
	if t.Type.size() == 0 {
		return fmt.Errorf("tensor %q is of %v, want F32, F16 or BF16", t.Name, t.Type)
	}
	if len(t.Shape) == 0 || len(t.Shape) > maxDims {
		return fmt.Errorf("tensor %q has %d dimensions, want 1 to %d", t.Name, len(t.Shape), maxDims)
	}
	n := uint64(t.Type.size())
	for _, d := range t.Shape {
		if d < 1 {
			return fmt.Errorf("tensor %q has shape %v, want positive dimensions", t.Name, t.Shape)
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > 1<<62 {
			return fmt.Errorf("tensor %q has shape %v, which is too large", t.Name, t.Shape)
		}
		n = lo
	}
	return nil
}

// bytes returns the size of the tensor's data.
func (t *Tensor) bytes() int64 { return int64(t.Len()) * int64(t.Type.size()) }

// align rounds n up to the alignment.
func align(n int64) int64 { return (n + alignment - 1) / alignment * alignment }

// The types of metadata values that are used.
const (
	kindUint32  = 4
	kindInt32   = 5
	kindFloat32 = 6
	kindBool    = 7
	kindString  = 8
	kindArray   = 9
	kindUint64  = 10
)
