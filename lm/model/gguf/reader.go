package gguf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"golang.org/x/exp/mmap"

	"github.com/stepwise-rl/stepwise/internal/infile"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
)

// Reader reads a file. It is safe for concurrent use if its source is; files
// are.
type Reader struct {
	src      io.ReaderAt
	close    func() error
	name     string // for errors
	metadata []KV
	tensors  []Tensor
	places   map[string]place
}

// place is where a tensor's data is.
type place struct {
	index int
	from  int64
}

// Open maps a file into memory and checks its header. The caller closes the
// reader. The file must not be truncated while the reader is open.
func Open(path string) (*Reader, error) {
	err := infile.Regular(path)
	var src *mmap.ReaderAt
	if err == nil {
		src, err = mmap.Open(path)
	}
	if err != nil {
		if named := (*fs.PathError)(nil); errors.As(err, &named) {
			err = named.Err
		}
		return nil, fmt.Errorf("gguf: %s: %w", path, err)
	}
	r, err := newReader(src, int64(src.Len()), path)
	if err != nil {
		_ = src.Close() // err says more
		return nil, err
	}
	r.close = src.Close
	return r, nil
}

// NewReader returns a reader of the size bytes of src. Its Close does nothing.
func NewReader(src io.ReaderAt, size int64) (*Reader, error) {
	return newReader(src, size, "input")
}

func newReader(src io.ReaderAt, size int64, name string) (*Reader, error) {
	r := &Reader{src: src, close: func() error { return nil }, name: name, places: map[string]place{}}
	if err := r.parse(newCursor(src, size)); err != nil {
		return nil, fmt.Errorf("gguf: %s: %w", name, err)
	}
	return r, nil
}

// The smallest sizes of an entry in a file.
const (
	minKV     = 8 + 4 + 1
	minTensor = 8 + 4 + 8 + 4 + 8
)

func (r *Reader) parse(c *cursor) error {
	if got := string(c.bytes(len(magic))); c.err == nil && got != magic {
		return fmt.Errorf("the file begins with %q, want %q", got, magic)
	}
	if got := c.uint32(); c.err == nil && got != version {
		return fmt.Errorf("the file is of version %d, want %d", got, version)
	}
	tensors, kvs := c.count(minTensor), c.count(minKV)
	seen := map[string]bool{}
	for range kvs {
		key := c.string()
		if seen[key] || key == "" {
			c.fail("key %q is empty or appears twice", key)
		}
		seen[key] = true
		kv := KV{Key: key, Value: c.value()}
		if c.err != nil {
			return fmt.Errorf("%s: %w", key, c.err)
		}
		r.metadata = append(r.metadata, kv)
	}
	for range tensors {
		if err := r.parseTensor(c); err != nil {
			return err
		}
	}
	if c.err != nil {
		return c.err
	}
	return r.place(align(c.at), c.size)
}

// parseTensor reads the description of a tensor. Its place is relative to the
// beginning of the data for now.
func (r *Reader) parseTensor(c *cursor) error {
	t := Tensor{Name: c.string()}
	dims := c.uint32()
	if c.err == nil && dims > maxDims {
		return fmt.Errorf("tensor %q has %d dimensions, want 1 to %d", t.Name, dims, maxDims)
	}
	if c.err != nil {
		return c.err
	}
	t.Shape = make([]int, dims)
	for i := len(t.Shape) - 1; i >= 0; i-- {
		t.Shape[i] = int(min(c.uint64(), math.MaxInt64))
	}
	t.Type = Type(c.uint32())
	offset := c.uint64()
	if c.err != nil {
		return c.err
	}
	if err := t.check(); err != nil {
		return err
	}
	if _, ok := r.places[t.Name]; ok || t.Name == "" {
		return fmt.Errorf("tensor name %q is empty or appears twice", t.Name)
	}
	r.places[t.Name] = place{index: len(r.tensors), from: int64(min(offset, math.MaxInt64))}
	r.tensors = append(r.tensors, t)
	return nil
}

// place checks that the tensors' data follow each other, aligned, from byte data
// of the file to its end, and makes their places absolute.
func (r *Reader) place(data, size int64) error {
	end := int64(0)
	for _, t := range r.tensors {
		p := r.places[t.Name]
		if p.from != end {
			return fmt.Errorf("tensor %q begins at byte %d of the data, want %d, where the one before it ends", t.Name, p.from, end)
		}
		if t.bytes() > size-data-end {
			return fmt.Errorf("tensor %q of %d bytes reaches beyond the end of the file", t.Name, t.bytes())
		}
		p.from += data
		r.places[t.Name] = p
		end = align(end + t.bytes())
	}
	if len(r.tensors) > 0 && data+end != size {
		return fmt.Errorf("the tensors end at byte %d of %d", data+end, size)
	}
	return nil
}

// Close closes a file that Open opened.
func (r *Reader) Close() error { return r.close() }

// Metadata lists the metadata in the order of the file.
func (r *Reader) Metadata() []KV { return r.metadata }

// Value returns the value of a key; nil if there is none.
func (r *Reader) Value(key string) any {
	for _, kv := range r.metadata {
		if kv.Key == key {
			return kv.Value
		}
	}
	return nil
}

// Tensors lists the tensors in the order of their data.
func (r *Reader) Tensors() []Tensor { return r.tensors }

// Read reads the elements of a tensor into dst. A tensor that does not exist or
// has another number of elements, and a failing source, are errors that name the
// tensor.
func (r *Reader) Read(dst []float32, name string) error {
	p, ok := r.places[name]
	if !ok {
		return fmt.Errorf("gguf: %s: no tensor %q", r.name, name)
	}
	t := &r.tensors[p.index]
	if len(dst) != t.Len() {
		return fmt.Errorf("gguf: %s: tensor %q has %d elements, want %d", r.name, name, t.Len(), len(dst))
	}
	raw := make([]byte, min(len(dst), ioBlock)*t.Type.size())
	at := p.from
	for len(dst) > 0 {
		n := min(len(dst), ioBlock)
		part := raw[:n*t.Type.size()]
		if k, err := r.src.ReadAt(part, at); k < len(part) {
			return fmt.Errorf("gguf: %s: tensor %q: %w", r.name, name, err)
		}
		safetensors.Decode(dst[:n], part, t.Type.dtype())
		dst, at = dst[n:], at+int64(len(part))
	}
	return nil
}
