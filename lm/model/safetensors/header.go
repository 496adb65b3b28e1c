package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sort"
	"strings"
	"unicode/utf8"
)

// maxHeader bounds the header's length, as the reference implementation does.
const maxHeader = 100_000_000

const metadataKey = "__metadata__"

// Tensor describes a tensor in a file.
type Tensor struct {
	Name  string
	DType DType
	// Shape holds the dimensions; an empty shape is a scalar.
	Shape []int
}

// Len returns the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// entry is a tensor and its place in the data.
type entry struct {
	Tensor
	from, to int64 // bytes
}

// parseHeader reads a header and checks it against the number of data bytes that
// follow it. It returns the entries in the order of their data.
func parseHeader(header []byte, dataSize int64) ([]entry, map[string]string, error) {
	if !utf8.Valid(header) {
		return nil, nil, errors.New("the header is not valid UTF-8")
	}
	if len(header) == 0 || header[0] != '{' {
		return nil, nil, errors.New("the header does not begin with '{'")
	}
	dec := json.NewDecoder(bytes.NewReader(header))
	var entries []entry
	var metadata map[string]string
	seen := map[string]bool{}
	err := object(dec, func(name string) error {
		if seen[name] {
			return fmt.Errorf("the header has %q twice", name)
		}
		seen[name] = true
		if name == metadataKey {
			m, err := stringMap(dec, metadataKey)
			metadata = m
			return err
		}
		e, err := parseEntry(dec, name)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if rest := header[dec.InputOffset():]; strings.Trim(string(rest), " ") != "" {
		return nil, nil, errors.New("the header goes on after its closing brace with something other than spaces")
	}
	sort.SliceStable(entries, func(i, j int) bool {
		a, b := entries[i], entries[j]
		return a.from < b.from || a.from == b.from && a.to < b.to
	})
	return entries, metadata, checkPlaces(entries, dataSize)
}

// object reads a JSON object. It calls value after each key to read its value.
func object(dec *json.Decoder, value func(key string) error) error {
	tok, err := dec.Token()
	if err != nil {
		return jsonError(err)
	}
	if tok != json.Delim('{') {
		return fmt.Errorf("%v where an object was expected", tok)
	}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return jsonError(err)
		}
		if err := value(tok.(string)); err != nil { // a key is always a string
			return err
		}
	}
	_, err = dec.Token()
	return jsonError(err)
}

// jsonError turns the end of input, which is never expected, into a message.
func jsonError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the JSON text ends in the middle")
	}
	return err
}

// stringMap reads an object of strings, which errors call what.
func stringMap(dec *json.Decoder, what string) (map[string]string, error) {
	m := map[string]string{}
	err := object(dec, func(key string) error {
		if _, ok := m[key]; ok {
			return fmt.Errorf("%s has %q twice", what, key)
		}
		tok, err := dec.Token()
		if err != nil {
			return jsonError(err)
		}
		s, ok := tok.(string)
		if !ok {
			return fmt.Errorf("%s: %q is %v, want a string", what, key, tok)
		}
		m[key] = s
		return nil
	})
	return m, err
}

func parseEntry(dec *json.Decoder, name string) (entry, error) {
	e := entry{Tensor: Tensor{Name: name}}
	var shape, offsets []int64
	seen := map[string]bool{}
	err := object(dec, func(key string) error {
		if seen[key] {
			return fmt.Errorf("%q appears twice", key)
		}
		seen[key] = true
		var err error
		switch key {
		case "dtype":
			err = dec.Decode(&e.DType)
		case "shape":
			err = dec.Decode(&shape)
		case "data_offsets":
			err = dec.Decode(&offsets)
		default:
			return fmt.Errorf("unknown key %q", key)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, jsonError(err))
		}
		return nil
	})
	if err != nil {
		return entry{}, err
	}
	for _, key := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[key] {
			return entry{}, fmt.Errorf("no %q", key)
		}
	}
	if len(offsets) != 2 || offsets[0] < 0 || offsets[1] < offsets[0] {
		return entry{}, fmt.Errorf("data_offsets are %v, want [begin, end]", offsets)
	}
	if shape == nil {
		return entry{}, errors.New("shape is null, want a list")
	}
	e.from, e.to = offsets[0], offsets[1]
	size, ok := dtypeBytes[e.DType]
	if !ok {
		return entry{}, fmt.Errorf("unknown dtype %q", e.DType)
	}
	want := uint64(size)
	for _, d := range shape {
		if d < 0 {
			return entry{}, fmt.Errorf("shape is %v, want no negative dimension", shape)
		}
		hi, lo := bits.Mul64(want, uint64(d))
		if hi != 0 || lo > 1<<62 {
			return entry{}, fmt.Errorf("shape %v is too large", shape)
		}
		want = lo
		e.Shape = append(e.Shape, int(d))
	}
	if got := uint64(e.to - e.from); got != want {
		return entry{}, fmt.Errorf("data_offsets %v hold %d bytes, but dtype %s and shape %v need %d", offsets, got, e.DType, shape, want)
	}
	return e, nil
}

// checkPlaces returns an error unless the sorted entries cover the data
// without gap or overlap.
func checkPlaces(entries []entry, dataSize int64) error {
	end := int64(0)
	for _, e := range entries {
		if e.from != end {
			return fmt.Errorf("tensor %q begins at byte %d of the data, want %d, where the one before it ends", e.Name, e.from, end)
		}
		end = e.to
	}
	if end != dataSize {
		return fmt.Errorf("the tensors end at byte %d of the data, which has %d", end, dataSize)
	}
	return nil
}
