package safetensors

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/bits"
	"slices"
	"unicode/utf8"

	"github.com/stepwise-rl/stepwise/internal/infile"
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

// Bytes returns the size of the elements in a file.
func (t *Tensor) Bytes() int64 { return int64(t.Len()) * int64(dtypeBits[t.DType]) / 8 }

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
	dec := json.NewDecoder(bytes.NewReader(header))
	tensors := map[string]entry{} // of a name that occurs twice the last counts
	var metadata map[string]string
	described := false
	err := object(dec, func(name string) error {
		if name == metadataKey {
			if described {
				return fmt.Errorf("the header has %q twice", name)
			}
			described = true
			var err error
			metadata, err = parseMetadata(dec)
			return err
		}
		e, err := parseEntry(dec, name)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		tensors[name] = e
		return nil
	})
	if err != nil {
		return nil, nil, infile.Explain(header, err)
	}
	if rest := bytes.Trim(header[dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, nil, errors.New("the header goes on after its closing brace with something other than white space")
	}
	entries := slices.Collect(maps.Values(tensors))
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), cmp.Compare(a.Name, b.Name))
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

// parseMetadata reads an object of strings, or null.
func parseMetadata(dec *json.Decoder) (map[string]string, error) {
	var values map[string]*string
	if err := decode(dec, metadataKey, &values); err != nil || values == nil {
		return nil, err
	}
	metadata := make(map[string]string, len(values))
	for key, v := range values {
		if v == nil {
			return nil, fmt.Errorf("%s: %q is null, want a string", metadataKey, key)
		}
		metadata[key] = *v
	}
	return metadata, nil
}

// integers reads a list of integers.
func integers(dec *json.Decoder, key string, v *[]int64) error {
	var values []*int64
	if err := decode(dec, key, &values); err != nil {
		return err
	}
	if values == nil {
		return fmt.Errorf("%s is null, want a list", key)
	}
	for _, n := range values {
		if n == nil {
			return fmt.Errorf("%s has null, want integers", key)
		}
		*v = append(*v, *n)
	}
	return nil
}

// decode reads the value of a key into v.
func decode(dec *json.Decoder, key string, v any) error {
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", key, jsonError(err))
	}
	return nil
}

// entryKeys are what the description of a tensor must have.
var entryKeys = []string{"dtype", "shape", "data_offsets"}

func parseEntry(dec *json.Decoder, name string) (entry, error) {
	e := entry{Tensor: Tensor{Name: name}}
	var shape, offsets []int64
	seen := map[string]bool{}
	err := object(dec, func(key string) error {
		if seen[key] && slices.Contains(entryKeys, key) {
			return fmt.Errorf("%q appears twice", key)
		}
		seen[key] = true
		switch key {
		case "dtype":
			return decode(dec, key, &e.DType)
		case "shape":
			return integers(dec, key, &shape)
		case "data_offsets":
			return integers(dec, key, &offsets)
		}
		var ignored json.RawMessage // as the reference does
		return decode(dec, key, &ignored)
	})
	if err != nil {
		return entry{}, err
	}
	for _, key := range entryKeys {
		if !seen[key] {
			return entry{}, fmt.Errorf("no %q", key)
		}
	}
	if len(offsets) != 2 || offsets[0] < 0 || offsets[1] < offsets[0] {
		return entry{}, fmt.Errorf("data_offsets are %v, want [begin, end]", offsets)
	}
	e.from, e.to = offsets[0], offsets[1]
	size, ok := dtypeBits[e.DType]
	if !ok {
		return entry{}, fmt.Errorf("unknown dtype %q", e.DType)
	}
	want := uint64(size) // bits
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
	if want%8 != 0 {
		return entry{}, fmt.Errorf("dtype %s and shape %v need %d bits, want whole bytes", e.DType, shape, want)
	}
	if got := uint64(e.to - e.from); got != want/8 {
		return entry{}, fmt.Errorf("data_offsets %v hold %d bytes, but dtype %s and shape %v need %d", offsets, got, e.DType, shape, want/8)
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
