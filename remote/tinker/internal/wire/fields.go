package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// field is one field of a message: its number, and its value, still encoded.
type field struct {
	num   protowire.Number
	typ   protowire.Type
	value []byte
}

// each calls f for every field of a message.
func each(b []byte, f func(field) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return fmt.Errorf("field %d: %w", num, protowire.ParseError(n))
		}
		if err := f(field{num, typ, b[:n]}); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// want returns an error unless the field has the type.
func (f field) want(t protowire.Type) error {
	if f.typ != t {
		return fmt.Errorf("field %d has wire type %d, want %d", f.num, f.typ, t)
	}
	return nil
}

func (f field) bytes() ([]byte, error) {
	if err := f.want(protowire.BytesType); err != nil {
		return nil, err
	}
	v, n := protowire.ConsumeBytes(f.value)
	return v, parseError(n)
}

func (f field) text() (string, error) {
	b, err := f.bytes()
	if err == nil && !utf8.Valid(b) {
		err = fmt.Errorf("field %d is not UTF-8", f.num)
	}
	return string(b), err
}

func (f field) varint() (uint64, error) {
	if err := f.want(protowire.VarintType); err != nil {
		return 0, err
	}
	v, n := protowire.ConsumeVarint(f.value)
	return v, parseError(n)
}

func (f field) double() (float64, error) {
	if err := f.want(protowire.Fixed64Type); err != nil {
		return 0, err
	}
	v, n := protowire.ConsumeFixed64(f.value)
	return math.Float64frombits(v), parseError(n)
}

// each calls g for every field of the message that f is.
func (f field) each(g func(field) error) error {
	b, err := f.bytes()
	if err != nil {
		return err
	}
	return each(b, g)
}

func parseError(n int) error {
	if n < 0 {
		return protowire.ParseError(n)
	}
	return nil
}

// number is what tensors and lists hold, as raw little-endian bytes.
type number interface{ int32 | int64 | float32 }

// numbers decodes a field of numbers.
func numbers[T number](f field) ([]T, error) {
	b, err := f.bytes()
	if err != nil {
		return nil, err
	}
	return parse[T](b)
}

func parse[T number](b []byte) ([]T, error) {
	var x T
	size := binary.Size(x)
	if len(b)%size != 0 {
		return nil, fmt.Errorf("%d bytes are no %T numbers", len(b), x)
	}
	out := make([]T, len(b)/size)
	_, err := binary.Decode(b, binary.LittleEndian, out)
	return out, err
}

func raw[T number](v []T) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, v)
	if err != nil {
		panic(err) // numbers are of a fixed size
	}
	return b
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

func appendString(b []byte, num protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
}

func appendVarint(b []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

// within puts where an error happened before it.
func within(err error, format string, a ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(a, err)...)
}
