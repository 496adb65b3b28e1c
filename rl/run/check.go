package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
)

// Fault is something that is wrong in a run's folder.
type Fault struct {
	// Path is the file, relative to the folder and slash-separated.
	Path string
	// Err says what is wrong with it.
	Err error
	// Remedy says what Repair does about it; "" = nothing can be done.
	Remedy string

	repair func() error
}

// String returns "path: error".
func (f Fault) String() string { return fmt.Sprintf("%s: %v", f.Path, f.Err) }

// Check reads everything in the folder and lists what is damaged. Lines after the last
// checkpoint are not faults, because Resume cuts them off; only torn ones are listed,
// and only if nobody is writing the run. An error means that the check itself failed:
// the disk cannot be read, or the folder holds no run (ErrNoRun).
func Check(ctx context.Context, dir string) ([]Fault, error) {
	f := &Folder{dir: dir}
	writer, err := f.Writer()
	if err != nil {
		return nil, err
	}
	return check(ctx, f, writer != "")
}

func check(ctx context.Context, f *Folder, written bool) ([]Fault, error) {
	switch _, err := readManifest(f.dir); {
	case errors.Is(err, ErrDamaged):
		return []Fault{{Path: manifestName, Err: err}}, nil
	case err != nil:
		return nil, err
	}
	c := &checker{Folder: f, ctx: ctx, written: written}
	err := c.artefacts()
	stages, err2 := c.Stages()
	if err = errors.Join(err, err2); err != nil {
		return nil, err
	}
	for _, s := range stages {
		if err := errors.Join(c.logs(s), c.checkpoints(s)); err != nil {
			return nil, err
		}
	}
	return c.faults, nil
}

// Repair checks a run, applies the Remedy of each fault, and returns the faults that it
// found. Nobody may be writing the run: that is ErrInUse, but on a file system without
// locks it goes unnoticed. A file that it takes out stays beside its place as
// NAME.damaged, the manifest of a checkpoint as damaged-NAME; only torn lines at the end
// of a log are cut off for good.
func Repair(ctx context.Context, dir string) (faults []Fault, err error) {
	if _, err := readManifest(dir); err != nil {
		return nil, err
	}
	lock, err := takeLock(dir, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	if faults, err = check(ctx, &Folder{dir: dir}, false); err != nil {
		return nil, err
	}
	for _, f := range faults {
		if f.repair == nil {
			continue
		}
		if err := f.repair(); err != nil {
			return faults, fmt.Errorf("run: repairing %s: %w", f.Path, err)
		}
	}
	return faults, nil
}

type checker struct {
	*Folder
	ctx     context.Context
	written bool // somebody writes the run
	faults  []Fault
}

func (c *checker) fault(path string, err error, remedy string, repair func() error) {
	if rel, rerr := filepath.Rel(c.dir, path); rerr == nil {
		path = filepath.ToSlash(rel)
	}
	c.faults = append(c.faults, Fault{path, err, remedy, repair})
}

// setAside renames a file for people to look at.
func setAside(path string) error {
	if err := durable.Rename(path, path+".damaged"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.Sync(filepath.Dir(path))
}

func (c *checker) artefacts() error {
	path := c.path(artefactsName)
	x, err := c.readIndex()
	if errors.Is(err, ErrDamaged) {
		c.fault(path, err, "", nil)
		return nil
	}
	if err != nil {
		return err
	}
	names, err := c.Artefacts()
	if err != nil {
		return err
	}
	for _, name := range names {
		_, err := c.Artefact(name)
		switch file := c.path(filepath.FromSlash(name)); {
		case err == nil || errors.Is(err, fs.ErrNotExist): // a crash before its first write
		case errors.Is(err, ErrDamaged):
			c.fault(file, err, "set it aside; the program makes it again", func() error {
				if err := setAside(file); err != nil {
					return err
				}
				delete(x.Artefacts, name)
				return c.writeIndex(x)
			})
		default:
			return err
		}
	}
	return c.ctx.Err()
}

// logs checks the logs of a stage.
func (c *checker) logs(stage string) error {
	logs, err := c.Logs(stage)
	if err != nil {
		return err
	}
	saved, err := c.saved(stage)
	if err != nil {
		return err
	}
	for _, log := range logs {
		path := c.logPath(stage, log)
		step := saved.step
		e, err := measure(path, step)
		switch {
		case errors.Is(err, ErrDamaged):
			c.fault(path, err, "take the damaged lines out", func() error { return c.salvage(path, step) })
		case err != nil:
			return err
		case e.torn > 0 && !c.written:
			c.fault(path, fmt.Errorf("%d torn lines behind step %d, which resuming cuts", e.torn, step), "cut them", func() error { return durable.Truncate(path, e.size) })
		case e.lines < saved.Lines[log]:
			c.fault(path, fmt.Errorf("it has %d lines up to step %d, and had %d when that was saved", e.lines, step, saved.Lines[log]), "", nil)
		}
		if log == Metrics && err == nil {
			if err := c.twice(stage, log); err != nil {
				c.fault(path, err, "", nil)
			}
		}
	}
	for log := range saved.Lines {
		if _, err := os.Lstat(c.logPath(stage, log)); errors.Is(err, fs.ErrNotExist) && saved.Lines[log] > 0 {
			c.fault(c.logPath(stage, log), fmt.Errorf("it is missing, and had %d lines when step %d was saved", saved.Lines[log], saved.step), "", nil)
		}
	}
	return c.ctx.Err()
}

// twice returns an error if a log has a step twice.
func (c *checker) twice(stage, log string) error {
	last := int64(0)
	for l, err := range c.Lines(stage, log) {
		if err != nil {
			return nil // behind the last checkpoint
		}
		if l.Step == last {
			return fmt.Errorf("it has step %d twice", l.Step)
		}
		last = l.Step
	}
	return nil
}

// salvage replaces a log by its good lines up to a training step.
func (c *checker) salvage(path string, step int64) error {
	s := salvaging{step: step}
	if err := scan(path, s.line); err != nil {
		return err
	}
	if err := setAside(path); err != nil {
		return err
	}
	return durable.ReplaceFile(path, s.good.Bytes())
}

// savedState is what the last whole checkpoint of a stage says; the zero value if there
// is none. It is a Training that is only restored.
type savedState struct {
	trackedState
	step int64
}

func (s *savedState) Steps() int64                                 { return s.step }
func (s *savedState) Metrics() map[string]float64                  { return nil }
func (s *savedState) Save(context.Context, string) ([]byte, error) { return nil, errors.ErrUnsupported }
func (s *savedState) Restore(_ context.Context, saved []byte) error {
	return json.Unmarshal(saved, &s.trackedState)
}

func (c *checker) saved(stage string) (s savedState, err error) {
	store := c.Checkpoints(stage)
	last, err := store.Latest(c.ctx)
	switch {
	case errors.Is(err, checkpoint.ErrNone), errors.Is(err, ErrDamaged):
		return s, nil // checkpoints names the damaged ones
	case err != nil:
		return s, err
	}
	s.step = last.Step
	if err = store.Restore(c.ctx, &s, last.Name); removed(err) {
		return c.saved(stage)
	}
	return s, err
}

// removed reports whether a run that goes on has removed a checkpoint since it was listed.
func removed(err error) bool {
	return errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrDamaged)
}

// checkpoints checks those of a stage. Damaged ones can be removed if there is a whole
// one to go on from.
func (c *checker) checkpoints(stage string) error {
	store := c.Checkpoints(stage)
	list, err := store.List()
	if err != nil {
		return err
	}
	whole := 0
	damage := make([]error, len(list))
	for i, k := range list {
		switch err := store.Verify(c.ctx, k.Name); {
		case err == nil:
			whole++
		case errors.Is(err, ErrDamaged):
			damage[i] = err
		case !removed(err):
			return err
		}
	}
	for i, k := range list {
		if damage[i] == nil {
			continue
		}
		path := filepath.Join(store.Dir, k.Name)
		if whole == 0 {
			c.fault(path, damage[i], "", nil)
			continue
		}
		c.fault(path, damage[i], "set it aside; another one is whole", func() error { return store.SetAside(c.ctx, k.Name) })
	}
	return nil
}
