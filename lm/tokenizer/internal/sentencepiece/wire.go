package sentencepiece

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// wireType is how a field of a protocol buffer is encoded.
type wireType uint8

const (
	wireVarint wireType = 0
	wireFixed8 wireType = 1 // eight bytes
	wireBytes  wireType = 2
	wireFixed4 wireType = 5 // four bytes
)

// field is one field of a message.
type field struct {
	number int
	wire   wireType
	bits   uint64 // of a number
	data   []byte // of a string or a message
}

// fields calls f for each field of a message, in order.
func fields(message []byte, f func(field) error) error {
	for at := 0; at < len(message); {
		x, n, err := readField(message[at:])
		if err != nil {
			return fmt.Errorf("byte %d: %w", at, err)
		}
		if err := f(x); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// readField reads the field that data starts with, and its length.
func readField(data []byte) (x field, n int, err error) {
	key, n, err := readVarint(data)
	if err != nil {
		return x, 0, err
	}
	if number := key >> 3; number == 0 || number > 1<<29-1 {
		return x, 0, fmt.Errorf("field number %d is none", number)
	}
	x.number, x.wire = int(key>>3), wireType(key&7)
	rest := data[n:]
	switch x.wire {
	case wireVarint:
		bits, k, err := readVarint(rest)
		x.bits = bits
		return x, n + k, err
	case wireFixed8:
		if len(rest) < 8 {
			return x, 0, errShort
		}
		x.bits = binary.LittleEndian.Uint64(rest)
		return x, n + 8, nil
	case wireFixed4:
		if len(rest) < 4 {
			return x, 0, errShort
		}
		x.bits = uint64(binary.LittleEndian.Uint32(rest))
		return x, n + 4, nil
	case wireBytes:
		size, k, err := readVarint(rest)
		if err != nil {
			return x, 0, err
		}
		if rest = rest[k:]; size > uint64(len(rest)) {
			return x, 0, fmt.Errorf("%w: field %d wants %d bytes, %d are left", errShort, x.number, size, len(rest))
		}
		x.data = rest[:size]
		return x, n + k + int(size), nil
	}
	return x, 0, fmt.Errorf("field %d has wire type %d, want 0, 1, 2 or 5", x.number, x.wire)
}

var errShort = errors.New("the message ends inside a field")

func readVarint(data []byte) (v uint64, n int, err error) {
	v, n = binary.Uvarint(data)
	switch {
	case n == 0:
		return 0, 0, errShort
	case n < 0:
		return 0, 0, errors.New("a number is larger than 64 bits")
	}
	return v, n, nil
}

// The following read a field of a certain type.

func (x field) want(w wireType) error {
	if x.wire != w {
		return fmt.Errorf("field %d has wire type %d, want %d", x.number, x.wire, w)
	}
	return nil
}

func (x field) bool() (bool, error) {
	if err := x.want(wireVarint); err != nil {
		return false, err
	}
	return x.bits != 0, nil
}

func (x field) float32() (float32, error) {
	if err := x.want(wireFixed4); err != nil {
		return 0, err
	}
	return math.Float32frombits(uint32(x.bits)), nil
}

func (x field) string() (string, error) {
	if err := x.want(wireBytes); err != nil {
		return "", err
	}
	return string(x.data), nil
}
