package safetensors

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
)

// Reader reads tensors from a file or anything else that can be read at any
// offset. It is safe for concurrent use if its source is.
type Reader struct {
	src      io.ReaderAt
	close    func() error
	name     string // for errors
	data     int64  // offset of the data
	entries  []entry
	byName   map[string]int
	metadata map[string]string
}

// Open opens a file and checks its header. The caller closes the reader.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	r, err := newReader(f, info.Size(), path)
	if err != nil {
		f.Close()
		return nil, err
	}
	r.close = f.Close
	return r, nil
}

// NewReader returns a reader of the size bytes of src. Its Close does nothing.
func NewReader(src io.ReaderAt, size int64) (*Reader, error) {
	return newReader(src, size, "input")
}

func newReader(src io.ReaderAt, size int64, name string) (*Reader, error) {
	fail := func(format string, args ...any) (*Reader, error) {
		return nil, fmt.Errorf("safetensors: %s: %w", name, fmt.Errorf(format, args...))
	}
	if size < 8 {
		return fail("%d bytes are too few for a header length", size)
	}
	var length [8]byte
	if _, err := src.ReadAt(length[:], 0); err != nil && err != io.EOF {
		return fail("reading the header length: %w", err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader || int64(n) > size-8 {
		return fail("the header length is %d, want at most %d", n, min(maxHeader, size-8))
	}
	header := make([]byte, n)
	if k, err := src.ReadAt(header, 8); k < len(header) {
		return fail("reading the header: %w", err)
	}
	r := &Reader{src: src, close: func() error { return nil }, name: name, data: 8 + int64(n), byName: map[string]int{}}
	var err error
	if r.entries, r.metadata, err = parseHeader(header, size-r.data); err != nil {
		return fail("%w", err)
	}
	for i, e := range r.entries {
		r.byName[e.Name] = i
	}
	return r, nil
}

// Close closes a file that Open opened.
func (r *Reader) Close() error { return r.close() }

// Metadata returns the header's free-form strings; nil if there are none.
func (r *Reader) Metadata() map[string]string { return r.metadata }

// Tensors lists the tensors in the order of their data.
func (r *Reader) Tensors() []Tensor {
	all := make([]Tensor, len(r.entries))
	for i, e := range r.entries {
		all[i] = e.Tensor
	}
	return all
}

// Lookup returns the description of a tensor, and whether there is one.
func (r *Reader) Lookup(name string) (Tensor, bool) {
	i, ok := r.byName[name]
	if !ok {
		return Tensor{}, false
	}
	return r.entries[i].Tensor, true
}

// Read reads the elements from index from on into dst. The error names the
// tensor if there is none of that name, if its type is neither F32 nor BF16,
// if it has too few elements, or if the source fails.
func (r *Reader) Read(dst []float32, name string, from int) error {
	i, ok := r.byName[name]
	if !ok {
		return fmt.Errorf("safetensors: %s: no tensor %q", r.name, name)
	}
	e := &r.entries[i]
	if e.DType != F32 && e.DType != BF16 {
		return fmt.Errorf("safetensors: %s: tensor %q is %s, want F32 or BF16", r.name, name, e.DType)
	}
	if from < 0 || from > e.Len() || len(dst) > e.Len()-from {
		return fmt.Errorf("safetensors: %s: tensor %q has %d elements, want %d from %d on", r.name, name, e.Len(), len(dst), from)
	}
	size := int(dtypeBytes[e.DType])
	buf := make([]byte, min(len(dst), ioBlock)*size)
	for len(dst) > 0 {
		n := min(len(dst), ioBlock)
		raw := buf[:n*size]
		if k, err := r.src.ReadAt(raw, r.data+e.from+int64(from)*int64(size)); k < len(raw) {
			return fmt.Errorf("safetensors: %s: tensor %q: %w", r.name, name, err)
		}
		decode(dst[:n], raw, e.DType)
		dst, from = dst[n:], from+n
	}
	return nil
}

// ioBlock is how many elements are converted at once.
const ioBlock = 1 << 14

func decode(dst []float32, raw []byte, t DType) {
	for i := range dst {
		if t == BF16 {
			dst[i] = bf16Value(binary.LittleEndian.Uint16(raw[2*i:]))
		} else {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	}
}
