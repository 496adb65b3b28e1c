package safetensors

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/infile"
)

// OpenIndex opens the files of a sharded checkpoint, given the path of its index
// (model.safetensors.index.json): JSON with an object weight_map that gives the
// file of every tensor. The files are in the directory of the index. As in
// transformers, the reader has every tensor of every file that the index names,
// whether or not the index lists it there, and of tensors of the same name that
// of the last file by name; a tensor that the index lists and no file holds is
// just absent. A file name that contains a path is an error. The caller closes
// the reader.
func OpenIndex(path string) (_ *Reader, err error) {
	text, err := infile.Read(path, maxHeader)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	names, err := parseIndex(text)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %s: %w", path, err)
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
		r.add(f, entries)
	}
	return r, nil
}

// parseIndex returns the files that hold tensors, sorted.
func parseIndex(text []byte) (names []string, err error) {
	var index map[string]json.RawMessage
	if err := infile.JSON(text, &index); err != nil {
		return nil, err
	}
	var fileOf map[string]string
	if err := json.Unmarshal(index["weight_map"], &fileOf); err != nil && index["weight_map"] != nil {
		return nil, fmt.Errorf("weight_map: %w", err)
	}
	if fileOf == nil {
		return nil, errors.New(`no "weight_map"`)
	}
	for tensor, name := range fileOf {
		if name != filepath.Base(name) || !filepath.IsLocal(name) {
			return nil, fmt.Errorf("tensor %q is said to be in %q, want a plain file name", tensor, name)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
