package record

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/internal/durable"
)

// TensorBoard is an rl.Recorder that writes event files for TensorBoard, one scalar
// per metric. Scalars are float32, as TensorBoard's own are; a count above 2^24 is
// rounded.
//
// One goroutine of one process writes in a folder at a time.
type TensorBoard struct {
	f *durable.File
	guard
	started bool // the start of the session is written
}

const eventPrefix = "events.out.tfevents."

// OpenTensorBoard creates an event file in the folder, and the folder if it does
// not exist. TensorBoard takes a folder for one run, so it should hold no event
// files of other runs. A run that is resumed has several files; TensorBoard reads
// them in the order of their names, which is the order in which they were created.
//
// The first step that is recorded starts a session: TensorBoard then drops that
// step and all later ones of earlier files, so a run that is resumed, or started
// again, shows every step once.
func OpenTensorBoard(dir string) (*TensorBoard, error) {
	if err := durable.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	name, err := eventFile(dir, time.Now())
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	f, err := durable.Create(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	t := &TensorBoard{f: f}
	err = t.event(0, func(m *message) {
		m.string(eventFileVersion, "brain.Event:2")
		m.sub(eventSource, func(m *message) { m.string(sourceWriter, "github.com/stepwise-rl/stepwise/record") })
	})
	if err == nil {
		err = durable.Sync(dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("record: %w", err), f.Close())
	}
	return t, nil
}

// eventFile returns the name of the next event file: the time in seconds and
// the host, as TensorFlow and those who look for its files expect it. The time
// is later than that of every file that is there, whatever the clock says.
func eventFile(dir string, now time.Time) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	seconds := now.Unix()
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), eventPrefix); ok {
			digits, _, _ := strings.Cut(rest, ".")
			if s, err := strconv.ParseInt(digits, 10, 64); err == nil && len(digits) == 10 {
				seconds = max(seconds, s+1)
			}
		}
	}
	host, err := os.Hostname()
	if err != nil || host == "" || strings.ContainsAny(host, `/\`) {
		host = "localhost"
	}
	return fmt.Sprintf("%s%010d.%s", eventPrefix, seconds, host), nil
}

// Record writes the metrics of a training step as scalars. When it returns, the
// operating system has them, so that killing the process loses nothing; Sync makes
// them survive a power failure.
func (t *TensorBoard) Record(step int64, metrics map[string]float64) error {
	list, err := t.check(step, metrics)
	if err != nil {
		return err
	}
	err = t.value(step, func(m *message) {
		for _, metric := range list {
			m.sub(summaryValue, func(m *message) {
				m.string(valueTag, metric.name)
				m.float(valueSimple, float32(metric.value))
			})
		}
	})
	if err != nil {
		return fmt.Errorf("record: training step %d: %w", step, err)
	}
	t.last = step
	return nil
}

// Text writes a text, such as samples (progress.Samples), which TensorBoard shows
// verbatim, not as Markdown. Call it before the training step is recorded, for
// example in rl.Config.OnRollouts. An empty text writes nothing. The name must not
// be that of a metric.
func (t *TensorBoard) Text(step int64, name, text string) error {
	if text == "" {
		return nil
	}
	list, err := t.check(step, map[string]float64{name: 0})
	if err != nil {
		return err
	}
	// Indented by four columns it is code to Markdown, whatever it holds.
	text = strings.ToValidUTF8(strings.TrimSuffix(text, "\n"), "\uFFFD")
	text = "    " + strings.ReplaceAll(text, "\n", "\n    ")
	err = t.value(step, func(m *message) {
		m.sub(summaryValue, func(m *message) {
			m.string(valueTag, list[0].name)
			m.sub(valueTensor, func(m *message) {
				m.varint(tensorType, dataTypeString)
				m.sub(tensorShape, func(*message) {})
				m.string(tensorString, text)
			})
			m.sub(valueMeta, func(m *message) {
				m.sub(metaPlugin, func(m *message) { m.string(pluginName, "text") })
			})
		})
	})
	if err != nil {
		return fmt.Errorf("record: training step %d: %w", step, err)
	}
	return nil
}

// value writes an event with a summary, and before the first one the start of
// the session.
func (t *TensorBoard) value(step int64, fill func(*message)) error {
	if !t.started {
		err := t.event(step, func(m *message) {
			m.sub(eventSessionLog, func(m *message) { m.varint(sessionStatus, sessionStart) })
		})
		if err != nil {
			return err
		}
		t.started = true
	}
	return t.event(step, func(m *message) { m.sub(eventSummary, fill) })
}

// event writes an event. Where that fails it removes what was written of it, for
// nothing behind a torn record is read.
func (t *TensorBoard) event(step int64, fill func(*message)) error {
	var m message
	m.double(eventWallTime, float64(time.Now().UnixMilli())/1e3)
	m.varint(eventStep, uint64(step))
	fill(&m)
	return t.f.Add(tfRecord(m))
}

// Sync makes what was recorded survive a power failure. Call it before saving a
// checkpoint: metrics up to the checkpoint are not recorded again.
func (t *TensorBoard) Sync() error {
	if err := t.f.Sync(); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// Close syncs and closes the file.
func (t *TensorBoard) Close() error { return errors.Join(t.Sync(), t.f.Close()) }
