package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/internal/infile"
)

// maxLine bounds the length of a line of a log.
const maxLine = 64 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// formatLine returns a line with its checksum, which is of all that comes before
// `,"crc"`, and the line break.
func formatLine(step int64, v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	line := fmt.Appendf(nil, `{"step":%d,"data":%s`, step, data)
	line = fmt.Appendf(line, `,"crc":"%08x"}`+"\n", crc32.Checksum(line, castagnoli))
	if len(line) > maxLine {
		return nil, fmt.Errorf("a line of %d bytes, want at most %d", len(line), maxLine)
	}
	return line, nil
}

// parseLine is the inverse of formatLine.
func parseLine(line []byte) (l Line, err error) {
	whole, ok := bytes.CutSuffix(line, []byte("\n"))
	at := len(whole) - len(`,"crc":"00000000"}`)
	switch {
	case !ok:
		return l, errors.New("the line is torn")
	case at < 0 || string(whole[at:]) != fmt.Sprintf(`,"crc":"%08x"}`, crc32.Checksum(whole[:at], castagnoli)):
		return l, errors.New("its checksum is not the one in it")
	}
	if err := json.Unmarshal(whole, &l); err != nil {
		return l, err
	}
	l.Data = bytes.Clone(l.Data)
	return l, nil
}

// scan calls f for every line of a file, with its number from 1, its text, line break
// included if it has one, and the offset of its start. The text is valid until f
// returns. A file that is not there has no lines.
func scan(path string, f func(n int, text []byte, offset int64) error) error {
	r, _, err := infile.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	defer r.Close()
	return scanReader(r, path, f)
}

// scanReader is scan of what r reads from a file.
func scanReader(r io.Reader, path string, f func(n int, text []byte, offset int64) error) error {
	for l, err := range infile.Lines(r, maxLine) {
		if err != nil {
			return fmt.Errorf("run: %s: %w", path, err)
		}
		if err := f(l.Number, l.Text, l.Offset); err != nil {
			return err
		}
	}
	return nil
}

// extent is what a log has up to a training step.
type extent struct {
	size  int64 // of the lines up to the step
	lines int
	last  int64 // the step of the last of them
	// beyond counts the whole lines after them, torn the others.
	beyond, torn int
}

// measure finds what a log has up to a training step. Damage among those lines is an
// error; what a crash may have torn lies behind them.
func measure(path string, step int64) (extent, error) {
	m := measuring{path: path, step: step}
	err := scan(path, m.line)
	return m.extent, err
}

type measuring struct {
	extent
	path string
	step int64
	bad  error // the first damage
}

// line takes the next line; see scan.
func (m *measuring) line(n int, text []byte, offset int64) error {
	l, err := parseLine(text)
	switch {
	case err != nil:
		m.torn++
		if m.bad == nil {
			m.bad = fmt.Errorf("run: %s:%d %w: %w; \"stepwise run check -repair\" takes it out", m.path, n, ErrDamaged, err)
		}
		return nil
	case l.Step > m.step:
		m.beyond++
		return nil
	case m.bad != nil:
		return m.bad
	case m.beyond > 0 || l.Step < m.last:
		return fmt.Errorf("run: %s:%d %w: step %d comes after a later one", m.path, n, ErrDamaged, l.Step)
	}
	m.size, m.lines, m.last = offset+int64(len(text)), m.lines+1, l.Step
	return nil
}

// salvaging collects the good lines up to a training step, in their order.
type salvaging struct {
	good bytes.Buffer
	step int64
	last int64
}

// line takes the next line; see scan.
func (s *salvaging) line(_ int, text []byte, _ int64) error {
	if l, err := parseLine(text); err == nil && l.Step >= s.last && l.Step <= s.step {
		s.good.Write(text)
		s.last = l.Step
	}
	return nil
}

// logFile is a log open for writing.
type logFile struct {
	path   string
	f      *durable.File
	extent extent
	synced bool
	failed error // of a sync
}

// openLog opens a log whose content is known.
func openLog(path string, e extent) (*logFile, error) {
	f, err := durable.Append(path)
	if err != nil {
		return nil, err
	}
	return &logFile{path: path, f: f, extent: e}, nil
}

// append writes a line. After an error the log is as it was.
func (l *logFile) append(step int64, v any) error {
	if l.failed != nil {
		return l.failed
	}
	if step < max(l.extent.last, 1) {
		return fmt.Errorf("%s: step %d after step %d: steps count from 1 and do not go back", l.path, step, l.extent.last)
	}
	line, err := formatLine(step, v)
	if err != nil {
		return fmt.Errorf("%s: step %d: %w", l.path, step, err)
	}
	if err := l.f.Add(line); err != nil {
		return err
	}
	l.extent.size += int64(len(line))
	l.extent.lines++
	l.extent.last, l.synced = step, false
	return nil
}

// sync makes the lines survive a power failure; the directory is synced by the caller.
func (l *logFile) sync() error {
	if l.failed != nil || l.synced {
		return l.failed
	}
	if err := l.f.Sync(); err != nil {
		l.failed = err // the lines may be lost, whatever a second sync says
		return err
	}
	l.synced = true
	return nil
}

// jsonMetrics are metrics as JSON holds them: null for what is not finite.
func jsonMetrics(metrics map[string]float64) map[string]*float64 {
	out := make(map[string]*float64, len(metrics))
	for k, v := range metrics {
		out[k] = nil
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			out[k] = &v
		}
	}
	return out
}

// ParseMetrics decodes a line of the log Metrics. It returns what Stage.Record was given,
// with NaN for values that were not finite.
func ParseMetrics(l Line) (map[string]float64, error) {
	var in map[string]*float64
	if err := json.Unmarshal(l.Data, &in); err != nil {
		return nil, fmt.Errorf("run: metrics of step %d: %w", l.Step, err)
	}
	out := make(map[string]float64, len(in))
	for k, v := range in {
		out[k] = math.NaN()
		if v != nil {
			out[k] = *v
		}
	}
	return out, nil
}
