package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// folder is a run's folder:
//
//	run.json                what the run was started with
//	tokenizer.json          the tokenizer, trained on the training data
//	metrics.jsonl           one line per recorded step
//	rollouts.jsonl          sampled answers with steps, verdicts, advantages
//	stages/NAME.json        the result of a finished stage
//	checkpoints/NAME/       weights and progress of a stage (package rl/checkpoint)
//	distill/beliefs.json    what the teacher believes about the labels
//	report.json report.html the report
type folder struct{ root string }

func (f folder) path(parts ...string) string {
	return filepath.Join(append([]string{f.root}, parts...)...)
}

// writeJSON replaces a file as a whole, so that an interruption leaves either
// the old one or the new one.
func (f folder) writeJSON(v any, parts ...string) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return f.write(append(data, '\n'), parts...)
}

func (f folder) write(data []byte, parts ...string) error {
	path := f.path(parts...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// readJSON reports whether the file is there.
func (f folder) readJSON(v any, parts ...string) (bool, error) {
	path := f.path(parts...)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return true, nil
}

// logLine is what every line of metrics.jsonl and rollouts.jsonl begins with.
type logLine struct {
	Stage string `json:"stage"`
	Step  int64  `json:"step"`
}

func (f folder) appendLine(v any, name string) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w, err := os.OpenFile(f.path(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	return errors.Join(err, w.Close())
}

// dropLines removes the lines of a stage after a step: a resumed run writes
// them again.
func (f folder) dropLines(stage string, after int64, name string) error {
	data, err := os.ReadFile(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var keep bytes.Buffer
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var l logLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			continue // torn by the interruption
		}
		if l.Stage != stage || l.Step <= after {
			keep.Write(lines.Bytes())
			keep.WriteByte('\n')
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", f.path(name), err)
	}
	return f.write(keep.Bytes(), name)
}

// readLines calls fn for every line of a stage in a log.
func readLines[T any](f folder, name string, fn func(T)) error {
	r, err := os.Open(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<24)
	for n := 1; lines.Scan(); n++ {
		var v T
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			return fmt.Errorf("%s:%d: %w", f.path(name), n, err)
		}
		fn(v)
	}
	return lines.Err()
}
