package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// Writer writes a file whose tensors are known in advance.
type Writer struct {
	w       io.Writer
	tensors []Tensor
	at      int // the tensor being written
	written int // elements of it
	buf     []byte
}

// NewWriter writes the header of a file with the given tensors. Write their
// values next, in the same order. An empty, reserved or repeated name, a type
// other than F32, F16 and BF16, and a negative dimension are errors. metadata
// may be nil.
func NewWriter(w io.Writer, tensors []Tensor, metadata map[string]string) (*Writer, error) {
	type place struct {
		DType   DType    `json:"dtype"`
		Shape   []int    `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	header := map[string]any{} // encoding/json sorts the keys
	if metadata != nil {
		header[metadataKey] = metadata
	}
	end := int64(0)
	for _, t := range tensors {
		if _, ok := header[t.Name]; ok || t.Name == "" || t.Name == metadataKey {
			return nil, fmt.Errorf("safetensors: tensor name %q is empty, reserved or repeated", t.Name)
		}
		if t.DType.CheckFloat() != nil || t.DType == F64 {
			return nil, fmt.Errorf("safetensors: tensor %q is to be %q, want F32, F16 or BF16", t.Name, t.DType)
		}
		for _, d := range t.Shape {
			if d < 0 {
				return nil, fmt.Errorf("safetensors: tensor %q has shape %v", t.Name, t.Shape)
			}
		}
		from := end
		end += t.Bytes()
		header[t.Name] = place{t.DType, append([]int{}, t.Shape...), [2]int64{from, end}}
	}
	text, err := json.Marshal(header)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	for len(text)%8 != 0 { // aligns the data
		text = append(text, ' ')
	}
	if len(text) > maxHeader {
		return nil, fmt.Errorf("safetensors: a header of %d bytes is too long", len(text))
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(text)))); err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	wr := &Writer{w: w, tensors: tensors}
	wr.skipEmpty()
	return wr, nil
}

// Write writes the next elements of the current tensor. Once that is complete,
// the next call begins the next tensor. More values than the tensor still needs
// are an error, and so is a finite value that its type cannot hold.
func (w *Writer) Write(values []float32) error {
	if len(values) == 0 {
		return nil
	}
	if w.at == len(w.tensors) {
		return fmt.Errorf("safetensors: %d values after the end of the last tensor", len(values))
	}
	t := &w.tensors[w.at]
	if len(values) > t.Len()-w.written {
		return fmt.Errorf("safetensors: %d values for the last %d elements of tensor %q", len(values), t.Len()-w.written, t.Name)
	}
	for len(values) > 0 {
		n := min(len(values), ioBlock)
		var err error
		if w.buf, err = Encode(w.buf[:0], values[:n], t.DType); err != nil {
			return fmt.Errorf("safetensors: tensor %q: %w", t.Name, err)
		}
		if _, err := w.w.Write(w.buf); err != nil {
			return fmt.Errorf("safetensors: tensor %q: %w", t.Name, err)
		}
		values = values[n:]
		w.written += n
	}
	if w.written == t.Len() {
		w.at, w.written = w.at+1, 0
		w.skipEmpty()
	}
	return nil
}

// skipEmpty skips tensors without elements.
func (w *Writer) skipEmpty() {
	for w.at < len(w.tensors) && w.tensors[w.at].Len() == 0 {
		w.at++
	}
}

// Close returns an error unless every tensor is complete. It does not close
// the underlying writer.
func (w *Writer) Close() error {
	if w.at < len(w.tensors) {
		t := &w.tensors[w.at]
		return fmt.Errorf("safetensors: tensor %q got %d of %d elements", t.Name, w.written, t.Len())
	}
	return nil
}
