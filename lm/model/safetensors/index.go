package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// OpenIndex opens the files of a sharded checkpoint, given the path of its index
// (model.safetensors.index.json): JSON with an object weight_map that gives the
// file of every tensor. The files are in the directory of the index. A tensor
// that is not in its file, one that the index does not list or lists twice, and
// a file name that contains a path are errors. The index's metadata is not used.
// The caller closes the reader.
func OpenIndex(path string) (_ *Reader, err error) {
	text, err := readLimited(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	fail := func(format string, args ...any) (*Reader, error) {
		return nil, fmt.Errorf("safetensors: %s: %w", path, fmt.Errorf(format, args...))
	}
	fileOf, names, err := parseIndex(text)
	if err != nil {
		return fail("%w", err)
	}
	r := &Reader{name: path, byName: map[string]int{}}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	for _, name := range names {
		f, entries, err := openFile(filepath.Join(filepath.Dir(path), name))
		if err != nil {
			return nil, err
		}
		r.files = append(r.files, f)
		for _, e := range entries {
			switch want, ok := fileOf[e.Name]; {
			case !ok:
				return fail("tensor %q of %s is not in the index", e.Name, name)
			case want != name:
				return fail("tensor %q is in %s, but the index says %s", e.Name, name, want)
			}
			r.byName[e.Name] = len(r.entries)
			r.entries = append(r.entries, place{entry: e, file: f})
		}
	}
	for tensor, name := range fileOf {
		if _, ok := r.byName[tensor]; !ok {
			return fail("tensor %q is not in %s", tensor, name)
		}
	}
	return r, nil
}

// readLimited reads a file of at most maxHeader bytes.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxHeader+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxHeader {
		return nil, fmt.Errorf("%s: longer than %d bytes", path, maxHeader)
	}
	return text, nil
}

// parseIndex returns the file of every tensor, and the files sorted.
func parseIndex(text []byte) (fileOf map[string]string, names []string, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	seen := map[string]bool{}
	err = object(dec, func(key string) error {
		if seen[key] {
			return fmt.Errorf("%q appears twice", key)
		}
		seen[key] = true
		switch key {
		case "metadata":
			var m map[string]any
			return jsonError(dec.Decode(&m))
		case "weight_map":
			fileOf, err = stringMap(dec, "weight_map")
			return err
		}
		return fmt.Errorf("unknown key %q", key)
	})
	if err != nil {
		return nil, nil, err
	}
	if rest := bytes.TrimSpace(text[dec.InputOffset():]); len(rest) > 0 {
		return nil, nil, errors.New("the JSON text goes on after its closing brace")
	}
	if fileOf == nil {
		return nil, nil, errors.New(`no "weight_map"`)
	}
	for tensor, name := range fileOf {
		if name != filepath.Base(name) || !filepath.IsLocal(name) {
			return nil, nil, fmt.Errorf("tensor %q is said to be in %q, want a plain file name", tensor, name)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return fileOf, slices.Compact(names), nil
}
