package checkpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/internal/infile"
	"github.com/stepwise-rl/stepwise/rl"
)

// manifestFormat counts the changes of the layout.
const manifestFormat = 2

// manifest is what a manifest file holds, sealed.
type manifest struct {
	Format int    `json:"format"`
	Name   string `json:"name"`
	// Entry is the file or directory that the policy saved in the store's;
	// empty if its reference is not a path.
	Entry string `json:"entry,omitempty"`
	// Files are the entry's.
	Files   []savedFile        `json:"files,omitempty"`
	Metrics map[string]float64 `json:"metrics,omitempty"`
	State   json.RawMessage    `json:"state"`

	ref string // the policy's reference in State
}

type savedFile struct {
	Path   string `json:"path"` // in the store's directory, with slashes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// describe makes the manifest of what was just saved, and syncs its files.
func (s *Store) describe(ctx context.Context, name string, state []byte) (*manifest, error) {
	ref, err := rl.PolicyRef(state)
	if err != nil {
		return nil, err
	}
	m := &manifest{Format: manifestFormat, Name: name, State: state, ref: ref}
	if _, err := os.Lstat(ref); err != nil {
		return m, nil // not a path
	}
	if m.Entry, err = s.entry(name, ref); err != nil {
		return nil, err
	}
	if m.State, err = rl.WithPolicyRef(state, m.Entry); err != nil { // so that the directory can be moved
		return nil, err
	}
	err = filepath.WalkDir(filepath.Join(s.Dir, m.Entry), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return durable.Sync(path)
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is neither a file nor a directory", path)
		}
		f, err := describeFile(ctx, s.Dir, path)
		m.Files = append(m.Files, f)
		return err
	})
	return m, err
}

// entry returns the name in the store's directory of what the policy saved.
func (s *Store) entry(name, ref string) (string, error) {
	in, err := os.Stat(filepath.Dir(ref))
	if err != nil {
		return "", err
	}
	own, err := os.Stat(s.Dir)
	if err != nil {
		return "", err
	}
	base := filepath.Base(ref)
	if !os.SameFile(in, own) || !owned(base, name) {
		return "", fmt.Errorf("the policy saved %s, want %s: its directory must be the store's", ref, filepath.Join(s.Dir, name))
	}
	return base, nil
}

func describeFile(ctx context.Context, dir, path string) (savedFile, error) {
	if err := durable.Sync(path); err != nil {
		return savedFile{}, err
	}
	sum, size, err := durable.Checksum(ctx, path)
	if err != nil {
		return savedFile{}, err
	}
	rel, err := filepath.Rel(dir, path)
	return savedFile{Path: filepath.ToSlash(rel), Size: size, SHA256: sum}, err
}

// finite returns the metrics that JSON can hold.
func finite(metrics map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for k, v := range metrics {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			out[k] = v
		}
	}
	return out
}

// writeManifest gives the manifest its name, which makes the checkpoint.
func (s *Store) writeManifest(m *manifest) error {
	text, err := durable.Seal(m)
	if err != nil {
		return err
	}
	if err := durable.Sync(s.Dir); err != nil { // the policy's entry
		return err
	}
	return durable.ReplaceFile(s.manifestPath(m.Name), text)
}

// readManifest reads a manifest and checks it.
func (s *Store) readManifest(name string) (*manifest, error) {
	path := s.manifestPath(name)
	text, err := infile.Read(path, infile.NoLimit)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(text)
	switch {
	case err == nil && m.Format != manifestFormat:
		return nil, fmt.Errorf("%s has format %d, want %d", path, m.Format, manifestFormat)
	case err == nil && m.Name != name:
		err = fmt.Errorf("it is of checkpoint %q", m.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %w: %w", path, ErrDamaged, err)
	}
	return m, nil
}

// parseManifest reads the text of a manifest. Of another format only Format is set.
func parseManifest(text []byte) (*manifest, error) {
	m := &manifest{}
	if err := durable.Unseal(text, m); err != nil {
		return nil, err
	}
	if m.Format != manifestFormat {
		return &manifest{Format: m.Format}, nil
	}
	if m.Entry != "" && !owned(m.Entry, m.Name) {
		return nil, fmt.Errorf("its entry %q is no file of %s", m.Entry, m.Name)
	}
	for _, f := range m.Files {
		if !owned(f.Path, m.Name) {
			return nil, fmt.Errorf("%q is no file of %s", f.Path, m.Name)
		}
	}
	var err error
	m.ref, err = rl.PolicyRef(m.State)
	return m, err
}

// owned reports whether a path in the store's directory is, or is in, what a
// policy may save for a checkpoint: its name, perhaps with an ending.
func owned(path, name string) bool {
	first, _, _ := strings.Cut(path, "/")
	return fs.ValidPath(path) && first != name+manifestEnd && (first == name || strings.HasPrefix(first, name+"."))
}
