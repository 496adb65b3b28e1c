package run

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/internal/infile"
)

// index is the sealed content of artefacts.json.
type index struct {
	Artefacts map[string]artefact `json:"artefacts"`
}

// artefact is what a file must be. While it is replaced, and after a crash then, it
// may still be what it was before.
type artefact struct {
	SHA256 string `json:"sha256"`
	// Before is the checksum of what was replaced; empty = there was nothing.
	Before string `json:"before,omitempty"`
}

func (f *Folder) readIndex() (x index, err error) {
	path := f.path(artefactsName)
	text, err := infile.Read(path, infile.NoLimit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err != nil:
		err = fmt.Errorf("run: %w", err)
	default:
		if err = durable.Unseal(text, &x); err != nil {
			err = fmt.Errorf("run: %s %w: %w", path, ErrDamaged, err)
		}
	}
	if x.Artefacts == nil {
		x.Artefacts = map[string]artefact{}
	}
	return x, err
}

func (f *Folder) writeIndex(x index) error {
	text, err := durable.Seal(x)
	if err != nil {
		return err
	}
	return durable.ReplaceFile(f.path(artefactsName), text)
}

// Artefacts returns the names of the artefacts, sorted.
func (f *Folder) Artefacts() ([]string, error) {
	x, err := f.readIndex()
	return slices.Sorted(maps.Keys(x.Artefacts)), err
}

// Artefact returns the content of an artefact after checking it against its checksum.
// The error wraps fs.ErrNotExist if there is no such artefact, and ErrDamaged if the
// content is not what was written.
func (f *Folder) Artefact(name string) ([]byte, error) {
	for again := true; ; again = false {
		x, err := f.readIndex()
		if err != nil {
			return nil, err
		}
		data, err := f.readArtefact(name, x.Artefacts[name])
		if again && errors.Is(err, ErrDamaged) {
			continue // perhaps it was replaced meanwhile
		}
		return data, err
	}
}

func (f *Folder) readArtefact(name string, a artefact) ([]byte, error) {
	path := f.path(filepath.FromSlash(name))
	missing := fmt.Errorf("run: artefact %q of %s: %w", name, f.dir, fs.ErrNotExist)
	if a.SHA256 == "" {
		return nil, missing
	}
	data, err := infile.Read(path, infile.NoLimit)
	switch {
	case errors.Is(err, fs.ErrNotExist) && a.Before == "":
		return nil, missing // a crash came between index and file
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("run: %s %w: it is missing", path, ErrDamaged)
	case err != nil:
		return nil, fmt.Errorf("run: %w", err)
	}
	if sum := checksum(data); sum != a.SHA256 && sum != a.Before {
		return nil, fmt.Errorf("run: %s %w: its SHA-256 is not the one in %s", path, ErrDamaged, artefactsName)
	}
	return data, nil
}

// WriteArtefact writes an artefact, or replaces it. The name is a slash-separated path
// in the folder. After a crash the artefact has either its old content or all of data.
// A name that the folder uses itself, such as run.json, is an error.
func (w *Writer) WriteArtefact(name string, data []byte) error {
	if !artefactName(name) {
		return fmt.Errorf("run: %q is no name for an artefact", name)
	}
	x, err := w.readIndex()
	if err != nil {
		return err
	}
	target := w.path(filepath.FromSlash(name))
	next := artefact{SHA256: checksum(data), Before: x.Artefacts[name].SHA256}
	if old, err := infile.Read(target, infile.NoLimit); err == nil && checksum(old) == x.Artefacts[name].Before {
		next.Before = x.Artefacts[name].Before // the last replacement never came
	}
	x.Artefacts[name] = next
	if err := durable.MkdirAll(filepath.Dir(target)); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	// What the file has now must be what it has after a power failure, even if a
	// process was killed before it synced that.
	if err := durable.Sync(filepath.Dir(target)); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	if err := w.writeIndex(x); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	if err := durable.ReplaceFile(target, data); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	return nil
}

// artefactName reports whether an artefact can have a name.
func artefactName(name string) bool {
	elements := strings.Split(name, "/")
	for _, e := range elements {
		if !validName(e) {
			return false
		}
	}
	switch {
	case slices.Contains([]string{manifestName, lockName, artefactsName, stagesName}, elements[0]) && len(elements) == 1:
		return false
	case elements[0] == stagesName: // stages/NAME/FILE
		return len(elements) == 3 && elements[2] != storeName && path.Ext(name) != logEnd
	}
	return true
}

func checksum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}
