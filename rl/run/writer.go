package run

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"

	"github.com/stepwise-rl/stepwise/internal/durable"
)

// Writer writes a run. A run has at most one, in one process, and only one goroutine at
// a time may use it and its stages.
type Writer struct {
	*Folder
	config Config
	lock   *durable.Lock
	log    *slog.Logger
	stages map[string]*Stage
}

// Start starts a run in a folder that is new or holds a run that has not begun. The error
// wraps ErrBegun if the run there has begun, and ErrInUse if another process is writing
// it. Stages in a folder without run.json are an error too, whatever became of that. An
// invalid Config is an error before anything is written. The caller must close the
// writer.
func Start(c Config) (*Writer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return open(c, false)
}

// Resume opens the run in the folder to continue it. The error wraps ErrNoRun if there is
// none and ErrInUse if another process is writing it, and it is a *[DifferenceError] if
// the run was started with other settings, data or seed. The caller must close the
// writer.
func Resume(c Config) (*Writer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if _, err := readManifest(c.Dir); err != nil {
		return nil, err
	}
	return open(c, true)
}

func open(c Config, resume bool) (w *Writer, err error) {
	if err := durable.MkdirAll(c.Dir); err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	lock, err := takeLock(c.Dir, c.Logger)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Release())
		}
	}()
	w = &Writer{Folder: &Folder{dir: c.Dir}, config: c, lock: lock, log: c.Logger, stages: map[string]*Stage{}}
	w.log = cmp.Or(w.log, slog.New(slog.DiscardHandler))
	now, err := c.manifest()
	if err != nil {
		return nil, err
	}
	begun, err := w.find()
	switch {
	case err != nil:
		return nil, err
	case begun && !resume:
		return nil, fmt.Errorf("run: %s: %w: resume it, or choose another folder", c.Dir, ErrBegun)
	case begun:
		if d := w.manifest.Differences(&now); len(d) > 0 {
			return nil, &DifferenceError{c.Dir, d}
		}
		return w, w.tidy()
	}
	return w, w.begin(now)
}

// takeLock keeps other writers out of a folder, or warns log that it cannot.
func takeLock(dir string, log *slog.Logger) (*durable.Lock, error) {
	lock, err := durable.TryLock(filepath.Join(dir, lockName), log)
	if _, ok := errors.AsType[*durable.LockedError](err); ok {
		return nil, fmt.Errorf("run: %s: %w: %w", dir, ErrInUse, err)
	}
	if err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	return lock, nil
}

// find reads the manifest, if there is one, and reports whether the run has begun.
func (w *Writer) find() (begun bool, err error) {
	w.manifest, err = readManifest(w.dir)
	if errors.Is(err, ErrNoRun) {
		return false, w.orphaned()
	}
	if err != nil {
		return false, err
	}
	return w.begun()
}

// orphaned returns an error if a folder without a manifest has what is only written
// beside one: somebody's stages, which begin would delete.
func (w *Writer) orphaned() error {
	for _, name := range []string{stagesName, artefactsName} {
		switch _, err := os.Lstat(w.path(name)); {
		case err == nil:
			return fmt.Errorf("run: %s has %s but no %s: put that back, or choose another folder", w.dir, name, manifestName)
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("run: %w", err)
		}
	}
	return nil
}

// begin writes the manifest of a run that has not begun, having removed what one
// before it may have left.
func (w *Writer) begin(m Manifest) error {
	if err := w.tidy(); err != nil {
		return err
	}
	x, err := w.readIndex()
	if err != nil && !errors.Is(err, ErrDamaged) {
		return err
	}
	leftovers := []string{stagesName}
	for name := range x.Artefacts {
		leftovers = append(leftovers, filepath.FromSlash(name))
	}
	for _, name := range append(leftovers, artefactsName) { // the list of them last
		if err := durable.RemoveAll(w.path(name)); err != nil {
			return fmt.Errorf("run: %w", err)
		}
	}
	text, err := durable.Seal(m)
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	if err := durable.ReplaceFile(w.path(manifestName), text); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	w.manifest = m
	return nil
}

// temporary matches the names that package durable gives to unfinished files.
var temporary = regexp.MustCompile(`^\..+\.[0-9a-f]{16}\.tmp$`)

// tidy removes the unfinished files that a crash left behind. Stores of checkpoints
// tidy themselves.
func (w *Writer) tidy() error {
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == storeName:
			return filepath.SkipDir
		case d.Type().IsRegular() && temporary.MatchString(d.Name()):
			return durable.Remove(path)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	return nil
}

// Stage returns the stage of that name. Its directory is created when something is first
// written to it. The name must be a plain file name that does not begin with a dot.
func (w *Writer) Stage(name string) (*Stage, error) {
	if !validName(name) {
		return nil, fmt.Errorf("run: %q is no name for a stage", name)
	}
	s := w.stages[name]
	if s == nil {
		s = &Stage{w: w, name: name}
		w.stages[name] = s
	}
	return s, nil
}

// Close syncs and closes the logs and releases the lock.
func (w *Writer) Close() error {
	var errs []error
	for _, s := range w.stages {
		errs = append(errs, s.close())
	}
	return errors.Join(append(errs, w.lock.Release())...)
}
