package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/rl"
)

// ErrNone is returned, wrapped, by Store.Latest of a store without checkpoints.
var ErrNone = errors.New("no checkpoint")

// Training is what a store saves and restores: an *rl.Trainer, or your own loop.
type Training interface {
	// Steps is the number of training steps done.
	Steps() int64
	// Metrics are those of the last training step; nil = none. Values that are
	// not finite are left out of the checkpoint.
	Metrics() map[string]float64
	// Save tells the policy to save under name and returns the whole state: a
	// JSON object whose field "policy" is the policy's reference. A loop around
	// a trainer may add fields.
	Save(ctx context.Context, name string) ([]byte, error)
	// Restore goes back to what Save returned, except that "policy" may be
	// another path: where the policy's files are now.
	Restore(ctx context.Context, saved []byte) error
}

var _ Training = (*rl.Trainer)(nil)

// Store is a directory of checkpoints. It has no state but the directory. Only Dir
// is required.
type Store struct {
	// Dir is the directory. It is made if it does not exist. A policy whose
	// references are paths must save in it too.
	Dir string
	// Keep says which checkpoints stay; the zero value keeps all.
	Keep Keep
	// Remove, if not nil, deletes the policy's part of a checkpoint that is no
	// longer kept, if its reference is not a path. After a crash before that
	// call the part stays where it is.
	Remove func(ctx context.Context, ref string) error
}

// Validate returns an error that names the first invalid setting. All methods
// call it.
func (s *Store) Validate() error {
	if s.Dir == "" {
		return errors.New("Store.Dir is empty")
	}
	return s.Keep.Validate()
}

// Checkpoint describes a checkpoint in a store.
type Checkpoint struct {
	// Name is its name in the store, under which the policy saved.
	Name string
	// Step is the number of training steps done.
	Step int64
	// Ref is the policy's reference, for Policy.Load. If it is a path, it is
	// the one where the files are now.
	Ref string
	// Metrics are those of its training step.
	Metrics map[string]float64
}

// Save makes a checkpoint, the store's last, and then removes those that Keep does
// not select. It is an error if the policy saves anywhere in the file system but
// under the given name in Dir.
func (s *Store) Save(ctx context.Context, t Training) error {
	if err := s.save(ctx, t); err != nil {
		return fmt.Errorf("checkpoint: saving step %d: %w", t.Steps(), err)
	}
	if err := s.prune(ctx); err != nil {
		return fmt.Errorf("checkpoint: step %d is saved; removing older ones: %w", t.Steps(), err)
	}
	return nil
}

func (s *Store) save(ctx context.Context, t Training) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o777); err != nil {
		return err
	}
	ids, err := s.tidy()
	if err != nil {
		return err
	}
	next := id{serial: 1, step: t.Steps()}
	if n := len(ids); n > 0 {
		next.serial = ids[n-1].serial + 1
	}
	state, err := t.Save(ctx, next.String())
	if err != nil {
		return err
	}
	m, err := s.describe(ctx, next.String(), state)
	if err != nil {
		return err
	}
	m.Metrics = finite(t.Metrics())
	return s.writeManifest(m)
}

// List returns the checkpoints in the order of saving. A directory that does not
// exist has none.
func (s *Store) List() ([]Checkpoint, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	var all []Checkpoint
	for _, id := range ids {
		m, err := s.readManifest(id.String())
		if err != nil {
			return nil, fmt.Errorf("checkpoint: %w", err)
		}
		all = append(all, s.checkpoint(id, m))
	}
	return all, nil
}

// Latest returns the last checkpoint; the error is ErrNone, wrapped, if there is
// none.
func (s *Store) Latest() (Checkpoint, error) {
	ids, err := s.ids()
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: %w", err)
	}
	if len(ids) == 0 {
		return Checkpoint{}, fmt.Errorf("checkpoint: %s: %w", s.Dir, ErrNone)
	}
	last := ids[len(ids)-1]
	m, err := s.readManifest(last.String())
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: %w", err)
	}
	return s.checkpoint(last, m), nil
}

func (s *Store) checkpoint(id id, m *manifest) Checkpoint {
	c := Checkpoint{Name: m.Name, Step: id.step, Ref: m.ref, Metrics: m.Metrics}
	if m.Entry != "" {
		c.Ref = filepath.Join(s.Dir, m.Entry)
	}
	return c
}

// Resume restores the last checkpoint, and reports whether there is one.
func (s *Store) Resume(ctx context.Context, t Training) (found bool, err error) {
	c, err := s.Latest()
	switch {
	case errors.Is(err, ErrNone):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, s.Restore(ctx, t, c.Name)
}

// Restore goes back to a checkpoint. All its files are checked before anything is
// changed; the error names the first that is missing or damaged.
func (s *Store) Restore(ctx context.Context, t Training, name string) error {
	m, err := s.verify(ctx, name)
	if err != nil {
		return fmt.Errorf("checkpoint: restoring %s: %w", name, err)
	}
	state := []byte(m.State)
	if m.Entry != "" {
		if state, err = rl.WithPolicyRef(state, filepath.Join(s.Dir, m.Entry)); err != nil {
			return fmt.Errorf("checkpoint: restoring %s: %w", name, err)
		}
	}
	if err := t.Restore(ctx, state); err != nil {
		return fmt.Errorf("checkpoint: restoring %s: %w", name, err)
	}
	return nil
}

// Verify reads all files of a checkpoint; the error names the first that is
// missing or damaged.
func (s *Store) Verify(ctx context.Context, name string) error {
	if _, err := s.verify(ctx, name); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

func (s *Store) verify(ctx context.Context, name string) (*manifest, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if _, ok := parseID(name); !ok {
		return nil, fmt.Errorf("%q is no name of a checkpoint, such as %q", name, id{serial: 7, step: 140})
	}
	m, err := s.readManifest(name)
	if err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		path := filepath.Join(s.Dir, filepath.FromSlash(f.Path))
		sum, size, err := durable.Checksum(ctx, path)
		switch {
		case err != nil:
			return nil, err
		case size != f.Size:
			return nil, fmt.Errorf("%s is damaged: it has %d bytes, but was saved with %d", path, size, f.Size)
		case sum != f.SHA256:
			return nil, fmt.Errorf("%s is damaged: its SHA-256 is not the one it was saved with", path)
		}
	}
	return m, nil
}
