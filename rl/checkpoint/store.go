package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/rl"
)

var (
	// ErrNone is wrapped in the error of Store.Latest if there are no checkpoints.
	ErrNone = errors.New("no checkpoint")
	// ErrDamaged is wrapped in every error about a file that is missing, torn or
	// altered.
	ErrDamaged = errors.New("is damaged")
)

// Training is what a store saves and restores: an *rl.Trainer, a *Loop, or your own.
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

// Store is a directory of checkpoints. All its state is in the directory. Only Dir is
// required.
type Store struct {
	// Dir is the directory; Save creates it if it does not exist. A policy whose
	// references are paths must save in it too.
	Dir string
	// Keep says which checkpoints stay; the zero value keeps all.
	Keep Keep
	// Remove, if not nil, deletes the policy's part of a checkpoint that is no
	// longer kept, if its reference is not a path. If a crash comes before the
	// call, that part is left behind.
	Remove func(ctx context.Context, ref string) error
	// Logger receives warnings about damaged checkpoints; nil = no log.
	Logger *slog.Logger
}

// Validate returns an error that names the first invalid setting. All methods
// call it.
func (s *Store) Validate() error {
	if s.Dir == "" {
		return errors.New("Store.Dir is empty")
	}
	return s.Keep.Validate()
}

func (s *Store) log() *slog.Logger { return cmp.Or(s.Logger, slog.New(slog.DiscardHandler)) }

// Checkpoint describes a checkpoint in a store.
type Checkpoint struct {
	// Name is its name in the store, such as "000007-step-140". The policy saved
	// under this name.
	Name string
	// Step is the number of training steps done.
	Step int64
	// Ref is the policy's reference, for rl.Policy.Load. If it is a path, it says
	// where the files are now, even if the directory was moved.
	Ref string
	// Metrics are the finite metrics of its training step.
	Metrics map[string]float64
	// Files maps each file of the policy, by its path from Ref ("." if Ref is
	// itself the file), to its SHA-256. Checkpoints with equal Files hold the same
	// policy.
	Files map[string]string
	// Damage, if not nil, says why the manifest cannot be read. Then only Name and
	// Step are set.
	Damage error
}

// serial is its place in the order of saving.
func (c *Checkpoint) serial() int64 {
	i, _ := parseID(c.Name)
	return i.serial
}

// Save adds a checkpoint of t as the last one, and then removes those that Keep does not
// select. It is an error if the policy's reference is a path other than the given name
// in Dir, or if another process is saving.
func (s *Store) Save(ctx context.Context, t Training) (err error) {
	lock, err := s.lock()
	if err != nil {
		return fmt.Errorf("checkpoint: saving step %d: %w", t.Steps(), err)
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	if err := s.save(ctx, t); err != nil {
		return fmt.Errorf("checkpoint: saving step %d: %w", t.Steps(), err)
	}
	if err := s.prune(ctx); err != nil {
		return fmt.Errorf("checkpoint: step %d is saved; removing older ones: %w", t.Steps(), err)
	}
	return nil
}

// lock makes the directory and keeps other processes from saving in it.
func (s *Store) lock() (*durable.Lock, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(s.Dir); err != nil {
		return nil, err
	}
	// Without a log: a run's writer warns once where there are no locks, not with each save.
	return durable.TryLock(filepath.Join(s.Dir, lockName), nil)
}

func (s *Store) save(ctx context.Context, t Training) error {
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

// List returns the checkpoints in the order of saving, damaged ones included. A
// directory that does not exist has none.
func (s *Store) List() ([]Checkpoint, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	var all []Checkpoint
	for _, id := range ids {
		m, err := s.readManifest(id.String())
		switch {
		case err != nil && s.gone(id.String()):
		case errors.Is(err, ErrDamaged):
			all = append(all, Checkpoint{Name: id.String(), Step: id.step, Damage: err})
		case err != nil:
			return nil, fmt.Errorf("checkpoint: %w", err)
		default:
			all = append(all, s.checkpoint(id, m))
		}
	}
	return all, nil
}

// Latest returns the last checkpoint that is whole; it reads all its files to find out.
// Damaged checkpoints after it are named in the log. The error wraps ErrNone if there
// are no checkpoints; if all are damaged, it names them all.
func (s *Store) Latest(ctx context.Context) (Checkpoint, error) {
	m, err := s.latest(ctx)
	if err != nil {
		return Checkpoint{}, err
	}
	id, _ := parseID(m.Name)
	return s.checkpoint(id, m), nil
}

func (s *Store) latest(ctx context.Context) (*manifest, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("checkpoint: %s: %w", s.Dir, ErrNone)
	}
	var damage []error
	for _, id := range slices.Backward(ids) {
		m, err := s.verify(ctx, id.String())
		if err == nil {
			return m, nil
		}
		if s.gone(id.String()) && ctx.Err() == nil {
			return s.latest(ctx) // there are later ones now
		}
		damage = append(damage, fmt.Errorf("checkpoint: %w", err))
		if !errors.Is(err, ErrDamaged) {
			break
		}
		s.log().Warn("skipping a damaged checkpoint", "checkpoint", id.String(), "damage", err)
	}
	return nil, errors.Join(damage...)
}

func (s *Store) checkpoint(id id, m *manifest) Checkpoint {
	c := Checkpoint{Name: m.Name, Step: id.step, Ref: m.ref, Metrics: m.Metrics}
	if m.Entry != "" {
		c.Ref, c.Files = filepath.Join(s.Dir, m.Entry), map[string]string{}
		for _, f := range m.Files {
			c.Files[cmp.Or(strings.TrimPrefix(strings.TrimPrefix(f.Path, m.Entry), "/"), ".")] = f.SHA256
		}
	}
	return c
}

// Resume restores the last whole checkpoint, as Latest finds it, and reports whether
// there is one.
func (s *Store) Resume(ctx context.Context, t Training) (found bool, err error) {
	m, err := s.latest(ctx)
	switch {
	case errors.Is(err, ErrNone):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, s.restore(ctx, t, m)
}

// Restore takes t back to a checkpoint. All files are checked before t is changed; the
// error is then that of Verify.
func (s *Store) Restore(ctx context.Context, t Training, name string) error {
	m, err := s.verify(ctx, name)
	if err != nil {
		return fmt.Errorf("checkpoint: restoring %s: %w", name, err)
	}
	return s.restore(ctx, t, m)
}

func (s *Store) restore(ctx context.Context, t Training, m *manifest) (err error) {
	state := []byte(m.State)
	if m.Entry != "" {
		state, err = rl.WithPolicyRef(state, filepath.Join(s.Dir, m.Entry))
	}
	if err == nil {
		err = t.Restore(ctx, state)
	}
	if err != nil {
		return fmt.Errorf("checkpoint: restoring %s: %w", m.Name, err)
	}
	return nil
}

// SetAside takes a damaged checkpoint out of the store. Its manifest is renamed, so that
// people can still look at it, and the next Save removes its other files. It is an error
// if the checkpoint is whole.
func (s *Store) SetAside(ctx context.Context, name string) error {
	_, err := s.verify(ctx, name)
	if !errors.Is(err, ErrDamaged) {
		return fmt.Errorf("checkpoint: %s is not damaged: %w", name, cmp.Or(err, errors.New("all its files are as they were saved")))
	}
	path := s.manifestPath(name)
	if err := durable.Rename(path, filepath.Join(s.Dir, "damaged-"+name+manifestEnd)); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := durable.Sync(s.Dir); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// Verify reads and checks all files of a checkpoint; the error names the first that is
// missing or damaged. If there is no such checkpoint, because a run that goes on has
// removed it meanwhile for example, the error wraps fs.ErrNotExist and not ErrDamaged.
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
	if err == nil {
		err = s.verifyFiles(ctx, m)
	}
	if errors.Is(err, ErrDamaged) && s.gone(name) {
		err = &fs.PathError{Op: "read", Path: s.manifestPath(name), Err: fs.ErrNotExist}
	}
	return m, err
}

// gone reports whether a checkpoint is not there, or not any more: its manifest goes first.
func (s *Store) gone(name string) bool {
	_, err := os.Lstat(s.manifestPath(name))
	return errors.Is(err, fs.ErrNotExist)
}

func (s *Store) verifyFiles(ctx context.Context, m *manifest) error {
	for _, f := range m.Files {
		path := filepath.Join(s.Dir, filepath.FromSlash(f.Path))
		sum, size, err := durable.Checksum(ctx, path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s %w: %w", path, ErrDamaged, err)
		case err != nil:
			return err
		case size != f.Size:
			return fmt.Errorf("%s %w: it has %d bytes, but was saved with %d", path, ErrDamaged, size, f.Size)
		case sum != f.SHA256:
			return fmt.Errorf("%s %w: its SHA-256 is not the one it was saved with", path, ErrDamaged)
		}
	}
	return nil
}
