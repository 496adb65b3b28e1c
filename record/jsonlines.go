package record

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/internal/infile"
)

// Line is one line of a JSON lines file: the metrics of one training step. See
// the package comment for the format.
type Line struct {
	Step    int64              // the training step, counted from 1
	Time    time.Time          // when it was recorded
	Metrics map[string]float64 // by escaped name (EscapeName)
}

// jsonLine is the format of a Line. encoding/json sorts the metrics by name.
type jsonLine struct {
	Step    int64             `json:"step"`
	Time    time.Time         `json:"time"`
	Metrics map[string]number `json:"metrics"`
}

// number is a float64 of which JSON can say that it is no number. The three
// strings are those of Protocol Buffers' JSON mapping.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	switch v := float64(n); {
	case math.IsNaN(v):
		return []byte(`"NaN"`), nil
	case math.IsInf(v, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(v, -1):
		return []byte(`"-Infinity"`), nil
	default:
		return json.Marshal(v)
	}
}

func (n *number) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case `"NaN"`:
		*n = number(math.NaN())
	case `"Infinity"`:
		*n = number(math.Inf(1))
	case `"-Infinity"`:
		*n = number(math.Inf(-1))
	default:
		v, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return fmt.Errorf(`is %.40s, want a number, "NaN", "Infinity" or "-Infinity"`, text)
		}
		*n = number(v)
	}
	return nil
}

// MarshalJSON returns the line without its newline.
func (l Line) MarshalJSON() ([]byte, error) {
	j := jsonLine{l.Step, l.Time, make(map[string]number, len(l.Metrics))}
	for name, v := range l.Metrics {
		j.Metrics[name] = number(v)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(j)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// UnmarshalJSON is the inverse of MarshalJSON. It ignores unknown fields. A step
// below 1, a missing time or metrics, and a metric that is not a number are errors.
func (l *Line) UnmarshalJSON(text []byte) error {
	var j struct {
		Step    *int64                     `json:"step"`
		Time    *time.Time                 `json:"time"`
		Metrics map[string]json.RawMessage `json:"metrics"`
	}
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	switch {
	case j.Step == nil || *j.Step < 1:
		return errors.New(`field "step": want a number from 1`)
	case j.Time == nil:
		return errors.New(`field "time" is missing`)
	case j.Metrics == nil:
		return errors.New(`field "metrics" is missing`)
	}
	*l = Line{*j.Step, *j.Time, make(map[string]float64, len(j.Metrics))}
	for name, value := range j.Metrics {
		var n number
		if err := n.UnmarshalJSON(value); err != nil {
			return fmt.Errorf("metric %.40q %w", name, err)
		}
		l.Metrics[name] = float64(n)
	}
	return nil
}

// maxLine bounds the bytes of a line that is read back: twice what the bounds on
// names can give.
const maxLine = 4 << 20

// Lines yields the lines of a JSON lines file, also while a run is writing it. Text
// after the last newline is a line that is still being written or was torn by a
// crash; it is left out. The first invalid line ends the sequence with an error
// that gives its number.
func Lines(r io.Reader) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		_, err := scan(r, func(l Line, _ int64) error {
			if !yield(l, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(Line{}, err)
		}
	}
}

var errStop = errors.New("enough lines")

// scan calls fn with every line and the offset at which it begins. It returns
// how many bytes follow the last line: a torn tail.
func scan(r io.Reader, fn func(l Line, at int64) error) (torn int64, err error) {
	last := int64(0)
	for line, err := range infile.Lines(r, maxLine) {
		if err != nil {
			return 0, fmt.Errorf("record: %w", err)
		}
		n, text := line.Number, line.Text
		if !bytes.HasSuffix(text, []byte("\n")) {
			if n == 1 && !begun(text) {
				return 0, errors.New("record: line 1 is not the beginning of a line of metrics")
			}
			return int64(len(text)), nil
		}
		var l Line
		if err := json.Unmarshal(text, &l); err != nil {
			return 0, fmt.Errorf("record: line %d: %w", n, err)
		}
		if l.Step <= last {
			return 0, fmt.Errorf("record: line %d: training step %d after %d: want ascending steps", n, l.Step, last)
		}
		if err := fn(l, line.Offset); err != nil {
			return 0, err
		}
		last = l.Step
	}
	return 0, nil
}

// begun reports whether a torn first line can be ours, so that a file that was
// named by mistake is not cut off. A power failure can leave zeros.
func begun(text []byte) bool {
	const start = `{"step":`
	text = bytes.TrimRight(text, "\x00")
	return strings.HasPrefix(string(text), start) || strings.HasPrefix(start, string(text))
}

// JSONLines is an rl.Recorder that appends a line per training step to a file.
// One goroutine of one process writes a file at a time.
type JSONLines struct {
	f    *durable.File
	path string
	log  *slog.Logger
	guard
	end   int64       // where the lines that were found end
	found []foundLine // what was there when the file was opened; nil after the first step
	torn  int64       // bytes of a torn tail
}

type foundLine struct{ step, at int64 }

// OpenJSONLines opens the file for appending, or creates it. It reads the file but
// does not change it yet: the first step that is recorded cuts off a torn last
// line, and the lines of that step and all later ones. So a run that is resumed, or
// started again, has every step once. The logger, which can be nil, is told what
// was cut off.
//
// It is an error if the file is not a regular file or a link to one, or has an
// invalid line, whose number the error gives. The file is then left as it is.
func OpenJSONLines(path string, log *slog.Logger) (*JSONLines, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // package durable follows no links
	}
	log = cmp.Or(log, slog.New(slog.DiscardHandler))
	j := &JSONLines{path: path, log: log}
	created, err := j.read()
	if err != nil {
		return nil, err
	}
	if j.f, err = durable.Append(path); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if created {
		if err := durable.Sync(filepath.Dir(path)); err != nil {
			return nil, errors.Join(fmt.Errorf("record: %w", err), j.f.Close())
		}
	}
	return j, nil
}

// read finds the lines that are there and reports whether there is no file yet.
func (j *JSONLines) read() (created bool, err error) {
	f, size, err := infile.Open(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("record: %w", err)
	}
	defer f.Close()
	j.torn, err = scan(f, func(l Line, at int64) error {
		j.found = append(j.found, foundLine{l.Step, at})
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("%s: %w", j.path, err)
	}
	j.end = size - j.torn
	return false, nil
}

// Record appends the line of a training step. When it returns, the operating system
// has the line, so that killing the process loses nothing; Sync makes it survive a
// power failure. If writing fails, what was written of the line is cut off again;
// if that fails too, so does every later call.
func (j *JSONLines) Record(step int64, metrics map[string]float64) error {
	list, err := j.check(step, metrics)
	if err != nil {
		return err
	}
	l := Line{step, time.Now().UTC().Truncate(time.Millisecond), make(map[string]float64, len(list))}
	for _, m := range list {
		l.Metrics[m.name] = m.value
	}
	text, err := l.MarshalJSON()
	if err != nil {
		return fmt.Errorf("record: training step %d: %w", step, err)
	}
	if j.last == 0 {
		if err := j.cut(step); err != nil {
			return fmt.Errorf("record: cutting off the lines from training step %d on: %w", step, err)
		}
	}
	text = append(text, '\n')
	if err := j.f.Add(text); err != nil {
		return fmt.Errorf("record: training step %d: %w", step, err)
	}
	j.last = step
	return nil
}

// cut removes what was found from the step on.
func (j *JSONLines) cut(step int64) error {
	kept := len(j.found)
	for kept > 0 && j.found[kept-1].step >= step {
		kept--
		j.end = j.found[kept].at
	}
	if kept < len(j.found) || j.torn > 0 {
		// Truncate also syncs, so that no power failure mixes old lines with new ones.
		if err := j.f.Truncate(j.end); err != nil {
			return err
		}
	}
	if dropped := len(j.found) - kept; dropped > 0 {
		j.log.Warn("metrics recorded again from here on: earlier lines cut off", "file", j.path, "step", step, "lines", dropped)
	}
	if j.torn > 0 {
		j.log.Warn("a torn line at the end of the metrics cut off", "file", j.path, "bytes", j.torn)
	}
	j.found, j.torn = nil, 0
	return nil
}

// Sync makes what was recorded survive a power failure. Call it before saving a
// checkpoint: metrics up to the checkpoint are not recorded again.
func (j *JSONLines) Sync() error {
	if err := j.f.Sync(); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// Close syncs and closes the file.
func (j *JSONLines) Close() error { return errors.Join(j.Sync(), j.f.Close()) }
