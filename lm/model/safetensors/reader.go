package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/exp/mmap"

	"github.com/stepwise-rl/stepwise/internal/infile"
)

// Reader reads tensors from a file, from the files of an index, or from any
// io.ReaderAt. It is safe for concurrent use if its source is; files are.
type Reader struct {
	name    string // for errors
	files   []*file
	entries []place
	byName  map[string]int
}

// file is one source of tensors.
type file struct {
	src      io.ReaderAt
	close    func() error
	name     string
	data     int64 // offset of the data
	metadata map[string]string
}

// place is a tensor and the file that holds it.
type place struct {
	entry
	file *file
}

// Open maps a file into memory and checks its header. The caller closes the
// reader. The file must not be truncated while the reader is open.
func Open(path string) (*Reader, error) {
	f, entries, err := openFile(path)
	if err != nil {
		return nil, err
	}
	r := &Reader{name: path, byName: map[string]int{}}
	r.add(f, entries)
	return r, nil
}

// NewReader returns a reader of the size bytes of src. Its Close does nothing.
func NewReader(src io.ReaderAt, size int64) (*Reader, error) {
	f := &file{src: src, close: func() error { return nil }, name: "input"}
	entries, err := f.parse(size)
	if err != nil {
		return nil, err
	}
	r := &Reader{name: f.name, byName: map[string]int{}}
	r.add(f, entries)
	return r, nil
}

func openFile(path string) (*file, []entry, error) {
	err := infile.Regular(path)
	var src *mmap.ReaderAt
	if err == nil {
		src, err = mmap.Open(path)
	}
	if err != nil {
		if named := (*fs.PathError)(nil); errors.As(err, &named) {
			err = named.Err
		}
		return nil, nil, fmt.Errorf("safetensors: %s: %w", path, err)
	}
	f := &file{src: src, close: src.Close, name: path}
	entries, err := f.parse(int64(src.Len()))
	if err != nil {
		_ = src.Close() // err says more
		return nil, nil, err
	}
	return f, entries, nil
}

// parse reads and checks the header of a source of size bytes. It allocates no
// more than the source holds.
func (f *file) parse(size int64) ([]entry, error) {
	fail := func(format string, args ...any) ([]entry, error) {
		return nil, fmt.Errorf("safetensors: %s: %w", f.name, fmt.Errorf(format, args...))
	}
	if size < 8 {
		return fail("%d bytes are too few for a header length", size)
	}
	var length [8]byte
	if _, err := f.src.ReadAt(length[:], 0); err != nil && err != io.EOF {
		return fail("reading the header length: %w", err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if limit := min(maxHeader, size-8); n > uint64(limit) {
		return fail("the header length is %d, want at most %d", n, limit)
	}
	header := make([]byte, n)
	if k, err := f.src.ReadAt(header, 8); k < len(header) {
		return fail("reading the header: %w", err)
	}
	f.data = 8 + int64(n)
	entries, metadata, err := parseHeader(header, size-f.data)
	if err != nil {
		return fail("%w", err)
	}
	f.metadata = metadata
	return entries, nil
}

// add adds a file. Its tensors take the places of others of the same name.
func (r *Reader) add(f *file, entries []entry) {
	r.files = append(r.files, f)
	for _, e := range entries {
		p := place{entry: e, file: f}
		if i, ok := r.byName[e.Name]; ok {
			r.entries[i] = p
			continue
		}
		r.byName[e.Name] = len(r.entries)
		r.entries = append(r.entries, p)
	}
}

// Close closes the files that Open or OpenIndex opened.
func (r *Reader) Close() error {
	var first error
	for _, f := range r.files {
		if err := f.close(); first == nil {
			first = err
		}
	}
	return first
}

// Metadata returns the free-form strings of the header, or of the first file's
// header if there are several; nil if there are none.
func (r *Reader) Metadata() map[string]string {
	if len(r.files) == 0 {
		return nil
	}
	return r.files[0].metadata
}

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

// Read reads the elements from index from on into dst. A tensor that does not
// exist, is of a type that CheckFloat refuses or has too few elements, and a failing source,
// are errors that name the tensor.
func (r *Reader) Read(dst []float32, name string, from int) error {
	i, ok := r.byName[name]
	if !ok {
		return fmt.Errorf("safetensors: %s: no tensor %q", r.name, name)
	}
	e := &r.entries[i]
	if err := e.DType.CheckFloat(); err != nil {
		return fmt.Errorf("safetensors: %s: tensor %q %w", e.file.name, name, err)
	}
	if from < 0 || from > e.Len() || len(dst) > e.Len()-from {
		return fmt.Errorf("safetensors: %s: tensor %q has %d elements, want %d from %d on", e.file.name, name, e.Len(), len(dst), from)
	}
	size := e.DType.bytes()
	buf := make([]byte, min(len(dst), ioBlock)*size)
	for len(dst) > 0 {
		n := min(len(dst), ioBlock)
		raw := buf[:n*size]
		if k, err := e.file.src.ReadAt(raw, e.file.data+e.from+int64(from)*int64(size)); k < len(raw) {
			return fmt.Errorf("safetensors: %s: tensor %q: %w", e.file.name, name, err)
		}
		Decode(dst[:n], raw, e.DType)
		dst, from = dst[n:], from+n
	}
	return nil
}

// ioBlock is how many elements are converted at once.
const ioBlock = 1 << 14
