package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
)

// Stage is a part of a run with its own logs and checkpoints, such as a warm-up. When it
// is resumed, both go back to the same training step. It is an rl.Recorder.
type Stage struct {
	w    *Writer
	name string
	// extents are the logs as Resume left them; nil before Resume.
	extents map[string]extent
	logs    map[string]*logFile
	// saved is the trainer that the last checkpoint is of, and savedStep its step.
	saved     *rl.Trainer
	savedStep int64
}

var _ rl.Recorder = (*Stage)(nil)

// Name returns the stage's name.
func (s *Stage) Name() string { return s.name }

// Checkpoints returns the store of the stage's checkpoints. The policy must save in the
// store's Dir. Call Save and Resume of the stage, not of the store: the store's know
// nothing of the logs.
func (s *Stage) Checkpoints() *checkpoint.Store {
	store := s.w.Folder.Checkpoints(s.name)
	store.Keep, store.Remove, store.Logger = s.w.config.Keep, s.w.config.Remove, s.w.config.Logger
	return store
}

// Resume restores the last whole checkpoint, reports whether there is one, and cuts the
// logs back to its training step. Without a checkpoint it empties the logs. Call it
// first, in a new run too: Append, Record and Save are errors before it.
func (s *Stage) Resume(ctx context.Context, t checkpoint.Training) (found bool, err error) {
	if err := s.close(); err != nil {
		return false, err
	}
	tr := &tracked{Training: t, stage: s}
	if found, err = s.Checkpoints().Resume(ctx, tr); err != nil {
		return found, fmt.Errorf("run: stage %s: %w", s.name, err)
	}
	step := int64(0)
	if found {
		step = t.Steps()
	}
	if err := s.cut(step, tr.state.Lines); err != nil {
		return found, err
	}
	if found {
		s.note(t)
	}
	return found, nil
}

// cut takes the logs back to a training step. lines is how many lines each had when
// that step was saved.
func (s *Stage) cut(step int64, lines map[string]int) error {
	logs, err := s.w.Logs(s.name)
	if err != nil {
		return err
	}
	extents := map[string]extent{}
	for _, log := range logs {
		path := s.w.logPath(s.name, log)
		e, err := measure(path, step)
		if err != nil {
			return err
		}
		if e.beyond+e.torn > 0 {
			s.w.log.Info("cutting a log to the last checkpoint", "log", path, "step", step, "lines_cut", e.beyond, "torn_lines_cut", e.torn)
			if err := durable.Truncate(path, e.size); err != nil {
				return fmt.Errorf("run: %w", err)
			}
		}
		e.beyond, e.torn = 0, 0
		extents[log] = e
	}
	for log, want := range lines {
		if have := extents[log].lines; have < want {
			s.w.log.Warn("a log has lost lines", "log", s.w.logPath(s.name, log), "lines", have, "saved_with", want)
		}
	}
	s.extents = extents
	return nil
}

// errOrder is returned if Resume was not called.
var errOrder = errors.New("Resume comes first, in a new run too: it cuts what an earlier process wrote after its last checkpoint")

// Append adds a line about a training step, counted from 1, to the log of that name.
// v is anything that encodes as JSON. A log may have several lines about one step, but
// steps must not descend. After an error the log is unchanged.
func (s *Stage) Append(log string, step int64, v any) error {
	l, err := s.open(log)
	if err == nil {
		err = l.append(step, v)
	}
	if err != nil {
		return fmt.Errorf("run: stage %s: %w", s.name, err)
	}
	return nil
}

// Record adds the metrics of a training step to the log Metrics; values that are not
// finite are written as null. A step that was recorded before is an error.
func (s *Stage) Record(step int64, metrics map[string]float64) error {
	l, err := s.open(Metrics)
	if err == nil && step >= 1 && step <= l.extent.last {
		err = fmt.Errorf("metrics of step %d after those of step %d", step, l.extent.last)
	}
	if err == nil {
		err = l.append(step, jsonMetrics(metrics))
	}
	if err != nil {
		return fmt.Errorf("run: stage %s: %w", s.name, err)
	}
	return nil
}

// open opens a log, and makes it if need be.
func (s *Stage) open(log string) (*logFile, error) {
	if l := s.logs[log]; l != nil {
		return l, nil
	}
	switch {
	case s.extents == nil:
		return nil, errOrder
	case !validName(log):
		return nil, fmt.Errorf("%q is no name for a log", log)
	}
	if err := durable.MkdirAll(s.w.path(stagesName, s.name)); err != nil {
		return nil, err
	}
	l, err := openLog(s.w.logPath(s.name, log), s.extents[log])
	if err != nil {
		return nil, err
	}
	if s.logs == nil {
		s.logs = map[string]*logFile{}
	}
	s.logs[log] = l
	return l, nil
}

// Save syncs the logs to disk, saves a checkpoint of t, and then removes the checkpoints
// that Config.Keep does not select. If the last checkpoint is of the same *rl.Trainer, saved
// or resumed at the same step, Save only syncs the logs.
func (s *Stage) Save(ctx context.Context, t checkpoint.Training) error {
	if s.extents == nil {
		return fmt.Errorf("run: stage %s: %w", s.name, errOrder)
	}
	var err error
	if tr, ok := t.(*rl.Trainer); ok && tr == s.saved && tr.Steps() == s.savedStep {
		err = s.sync()
	} else if err = s.Checkpoints().Save(ctx, &tracked{Training: t, stage: s}); err == nil {
		s.note(t)
	}
	if err != nil {
		return fmt.Errorf("run: stage %s: %w", s.name, err)
	}
	return nil
}

// note notes that the last checkpoint is of t as it is now. Of other trainings than a
// trainer the state may change between two steps.
func (s *Stage) note(t checkpoint.Training) {
	if s.saved, _ = t.(*rl.Trainer); s.saved != nil {
		s.savedStep = s.saved.Steps()
	}
}

// sync makes the logs survive a power failure.
func (s *Stage) sync() error {
	some := false
	for _, l := range s.logs {
		some = some || !l.synced
		if err := l.sync(); err != nil {
			return err
		}
	}
	if !some {
		return nil
	}
	return durable.Sync(s.w.path(stagesName, s.name)) // their names
}

// close syncs and closes the logs. Resume must come before anything else then.
func (s *Stage) close() error {
	err := s.sync()
	for _, l := range s.logs {
		err = errors.Join(err, l.f.Close())
	}
	s.logs, s.extents, s.saved = nil, nil, nil
	if err != nil {
		return fmt.Errorf("run: stage %s: %w", s.name, err)
	}
	return nil
}

// lines is how many lines each log has.
func (s *Stage) lines() map[string]int {
	n := map[string]int{}
	for log, e := range s.extents {
		n[log] = e.lines
	}
	for log, l := range s.logs {
		n[log] = l.extent.lines
	}
	return n
}

// tracked is a training whose checkpoints know the run and its logs.
type tracked struct {
	checkpoint.Training
	stage *Stage
	state trackedState // that was restored
}

type trackedState struct {
	Policy string `json:"policy"`
	// Run is the digest of the manifest.
	Run string `json:"run"`
	// Lines is how many lines each log had.
	Lines map[string]int `json:"lines"`
	// Training is the state of the training itself, without its reference to the
	// policy.
	Training json.RawMessage `json:"training"`
}

func (t *tracked) Save(ctx context.Context, name string) ([]byte, error) {
	if err := t.stage.sync(); err != nil {
		return nil, err
	}
	state, err := t.Training.Save(ctx, name)
	if err != nil {
		return nil, err
	}
	s := trackedState{Run: t.stage.w.manifest.Digest(), Lines: t.stage.lines()}
	if s.Policy, err = rl.PolicyRef(state); err != nil {
		return nil, err
	}
	if s.Training, err = rl.WithPolicyRef(state, ""); err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

func (t *tracked) Restore(ctx context.Context, saved []byte) error {
	if err := json.Unmarshal(saved, &t.state); err != nil {
		return fmt.Errorf("run: checkpoint: %w", err)
	}
	if have, want := t.state.Run, t.stage.w.manifest.Digest(); have != want {
		return fmt.Errorf("run: the checkpoint is of another run: it has the digest %.12s…, %s has %.12s…", have, manifestName, want)
	}
	state, err := rl.WithPolicyRef(t.state.Training, t.state.Policy)
	if err != nil {
		return err
	}
	return t.Training.Restore(ctx, state)
}
