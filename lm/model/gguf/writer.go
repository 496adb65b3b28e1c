package gguf

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
)

// Writer writes a file whose metadata and tensors are known in advance.
type Writer struct {
	w       io.Writer
	tensors []Tensor
	at      int // the tensor being written
	written int // elements of it
	buf     []byte
}

// NewWriter writes all of a file except the tensors' values. Write them next, in
// the same order. A repeated or empty name, a value of a type that KV does not
// allow, and a tensor that cannot be stored are errors.
func NewWriter(w io.Writer, metadata []KV, tensors []Tensor) (*Writer, error) {
	head := []byte(magic)
	head = binary.LittleEndian.AppendUint32(head, version)
	head = binary.LittleEndian.AppendUint64(head, uint64(len(tensors)))
	head = binary.LittleEndian.AppendUint64(head, uint64(len(metadata)))
	seen := map[string]bool{"": true}
	for _, kv := range metadata {
		if seen[kv.Key] {
			return nil, fmt.Errorf("gguf: key %q is empty or repeated", kv.Key)
		}
		seen[kv.Key] = true
		head = appendString(head, kv.Key)
		var err error
		if head, err = appendValue(head, kv.Value); err != nil {
			return nil, fmt.Errorf("gguf: %s: %w", kv.Key, err)
		}
	}
	offset := int64(0)
	seen = map[string]bool{"": true}
	for _, t := range tensors {
		if seen[t.Name] {
			return nil, fmt.Errorf("gguf: tensor name %q is empty or repeated", t.Name)
		}
		seen[t.Name] = true
		if err := t.check(); err != nil {
			return nil, fmt.Errorf("gguf: %w", err)
		}
		head = appendString(head, t.Name)
		head = binary.LittleEndian.AppendUint32(head, uint32(len(t.Shape)))
		for i := len(t.Shape) - 1; i >= 0; i-- {
			head = binary.LittleEndian.AppendUint64(head, uint64(t.Shape[i]))
		}
		head = binary.LittleEndian.AppendUint32(head, uint32(t.Type))
		head = binary.LittleEndian.AppendUint64(head, uint64(offset))
		offset = align(offset + t.bytes())
	}
	head = append(head, make([]byte, align(int64(len(head)))-int64(len(head)))...)
	if _, err := w.Write(head); err != nil {
		return nil, err
	}
	return &Writer{w: w, tensors: tensors}, nil
}

// Write writes the next elements of the current tensor. Once that is complete,
// the next call begins the next tensor. More values than the tensor still needs
// are an error, and so is a finite value that its type cannot hold.
func (w *Writer) Write(values []float32) error {
	if len(values) == 0 {
		return nil
	}
	if w.at == len(w.tensors) {
		return fmt.Errorf("gguf: %d values after the end of the last tensor", len(values))
	}
	t := &w.tensors[w.at]
	if lacking := t.Len() - w.written; len(values) > lacking {
		return fmt.Errorf("gguf: %d values for the last %d elements of tensor %q", len(values), lacking, t.Name)
	}
	w.written += len(values)
	for len(values) > 0 {
		n := min(len(values), ioBlock)
		var err error
		if w.buf, err = safetensors.Encode(w.buf[:0], values[:n], t.Type.dtype()); err != nil {
			return fmt.Errorf("gguf: tensor %q: %w", t.Name, err)
		}
		if _, err := w.w.Write(w.buf); err != nil {
			return fmt.Errorf("gguf: tensor %q: %w", t.Name, err)
		}
		values = values[n:]
	}
	if w.written < t.Len() {
		return nil
	}
	w.at, w.written = w.at+1, 0
	_, err := w.w.Write(make([]byte, align(t.bytes())-t.bytes()))
	return err
}

// Close returns an error unless every tensor is complete. It does not close
// the underlying writer.
func (w *Writer) Close() error {
	if w.at < len(w.tensors) {
		t := &w.tensors[w.at]
		return fmt.Errorf("gguf: tensor %q got %d of %d elements", t.Name, w.written, t.Len())
	}
	return nil
}

// ioBlock is how many elements are converted at once.
const ioBlock = 1 << 14
