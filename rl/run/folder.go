package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
)

var (
	// ErrNoRun is wrapped in the error if a folder holds no run.
	ErrNoRun = errors.New("it holds no run")
	// ErrBegun is wrapped in the error of Start if the run in the folder has begun.
	ErrBegun = errors.New("it holds a run already")
	// ErrInUse is wrapped in the error if another process is writing the run.
	ErrInUse = errors.New("another process writes this run")
	// ErrDamaged is wrapped in every error about a file that is missing, torn or
	// altered.
	ErrDamaged = checkpoint.ErrDamaged
)

// Names in the folder.
const (
	manifestName  = "run.json"
	lockName      = "lock"
	artefactsName = "artefacts.json"
	stagesName    = "stages"
	storeName     = "checkpoints"
	logEnd        = ".jsonl"
)

// Names of the logs that most stages have.
const (
	Metrics  = "metrics"  // written by Stage.Record
	Rollouts = "rollouts" // sampled completions
)

// Folder reads a run, also while another process is writing it.
type Folder struct {
	dir      string
	manifest Manifest
}

// Open opens a folder to read the run in it. The error wraps ErrNoRun if there is none.
func Open(dir string) (*Folder, error) {
	m, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	return &Folder{dir, m}, nil
}

// Dir returns the folder's path.
func (f *Folder) Dir() string { return f.dir }

// Manifest returns what the run was started with.
func (f *Folder) Manifest() Manifest { return f.manifest }

// Writer describes the process that is writing the run, such as "process 12 on host,
// since …"; "" if none is, and always on a file system without locks.
func (f *Folder) Writer() (string, error) {
	h, held, err := durable.LockHolder(f.path(lockName))
	if err != nil || !held {
		return "", err
	}
	return h.String(), nil
}

func (f *Folder) path(parts ...string) string {
	return filepath.Join(append([]string{f.dir}, parts...)...)
}

func (f *Folder) logPath(stage, log string) string { return f.path(stagesName, stage, log+logEnd) }

// Stages returns the names of the stages that have written anything, sorted.
func (f *Folder) Stages() ([]string, error) {
	var names []string
	entries, err := readDir(f.path(stagesName))
	for _, e := range entries {
		if e.IsDir() && validName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Logs returns the names of a stage's logs, sorted.
func (f *Folder) Logs(stage string) ([]string, error) {
	var names []string
	entries, err := readDir(f.path(stagesName, stage))
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), logEnd); ok && validName(name) {
			names = append(names, name)
		}
	}
	return names, err
}

// readDir is os.ReadDir, except that a directory that is not there has no entries.
func readDir(path string) ([]os.DirEntry, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	return entries, nil
}

// Lines yields the lines of a stage's log, in order. A last line that is still being
// written, or was torn by a crash, is left out. An error names file and line and ends
// the sequence. A log that does not exist has no lines.
func (f *Folder) Lines(stage, log string) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		path := f.logPath(stage, log)
		var bad error // of the line before
		stop := errors.New("stop")
		err := scan(path, func(n int, text []byte, _ int64) error {
			if bad != nil {
				return bad
			}
			l, err := parseLine(text)
			if err != nil {
				bad = fmt.Errorf("run: %s:%d %w: %w", path, n, ErrDamaged, err)
				return nil
			}
			if !yield(l, nil) {
				return stop
			}
			return nil
		})
		if err != nil && !errors.Is(err, stop) {
			yield(Line{}, err)
		}
	}
}

// Checkpoints returns the store of a stage's checkpoints, for reading.
func (f *Folder) Checkpoints(stage string) *checkpoint.Store {
	return &checkpoint.Store{Dir: f.path(stagesName, stage, storeName)}
}

// begun reports whether a stage has logged, saved or left an artefact.
func (f *Folder) begun() (bool, error) {
	stages, err := f.Stages()
	if err != nil {
		return false, err
	}
	for _, s := range stages {
		logs, err := f.Logs(s)
		if err != nil {
			return false, err
		}
		for _, l := range logs {
			if info, err := os.Stat(f.logPath(s, l)); err != nil || info.Size() > 0 {
				return true, err
			}
		}
		list, err := f.Checkpoints(s).List()
		if err != nil || len(list) > 0 {
			return true, err
		}
	}
	index, err := f.readIndex()
	if err != nil {
		return false, err
	}
	for name := range index.Artefacts {
		if strings.HasPrefix(name, stagesName+"/") {
			return true, nil
		}
	}
	return false, nil
}

// validName reports whether a stage or a log can have a name.
func validName(name string) bool {
	return fs.ValidPath(name) && name != "." && name[0] != '.' && !strings.ContainsAny(name, `/\:*?"<>|`) &&
		!slices.ContainsFunc([]rune(name), func(r rune) bool { return r < ' ' })
}

// Line is one line of a log.
type Line struct {
	// Step is the training step that it is about, counted from 1.
	Step int64 `json:"step"`
	// Data is what was logged, as JSON.
	Data json.RawMessage `json:"data"`
}
