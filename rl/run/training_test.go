package run_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	"github.com/stepwise-rl/stepwise/rl/internal/toy"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rl/run"
)

// table is policytest's, which is its own engine, but saves to disk: a directory that
// is written aside and renamed. It leaves the syncs of directories to the store.
type table struct {
	*policytest.TablePolicy
	dir string
}

func newTable(dir string) *table {
	p := &table{policytest.NewTablePolicy(toy.Vocab, nil, -1), dir}
	p.Randomize(1, 0.5)
	return p
}

func (p *table) Save(_ context.Context, name string) (string, error) {
	ref := filepath.Join(p.dir, name)
	if err := durable.MkdirAll(p.dir); err != nil {
		return "", err
	}
	tmp, err := durable.TempDir(ref)
	if err != nil {
		return "", err
	}
	defer durable.RemoveAll(tmp)
	err = durable.Write(filepath.Join(tmp, "state"), func(w io.Writer) error { return json.NewEncoder(w).Encode(p) })
	if err == nil {
		err = durable.Rename(tmp, ref)
	}
	return ref, err
}

func (p *table) Load(_ context.Context, ref string) error {
	text, err := os.ReadFile(filepath.Join(ref, "state"))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, p)
}

// settings of the test program.
type settings struct {
	LR    float64 `json:"lr"`
	Steps int64   `json:"steps"`
}

func config(dir string, steps int64) run.Config {
	return run.Config{
		Dir: dir, Settings: settings{1, steps}, Seed: 3, Data: map[string]string{"problems": "d1"},
		Keep: checkpoint.Keep{Last: 1},
	}
}

// trainer returns a training whose metrics, rollouts and checkpoints go to the stage,
// with so many training steps between two checkpoints. saved, if not nil, is called
// after each.
func trainer(stage *run.Stage, p *table, steps, every int64, saved func(step int64) error) (*rl.Trainer, error) {
	c := toy.Config(p)
	c.Steps, c.Recorder, c.CheckpointEvery = steps, stage, every
	c.OnRollouts = func(step int64, r *rl.Rollouts) error {
		for g := range r.Groups {
			if err := stage.Append(run.Rollouts, step, r.Groups[g][0].Tokens); err != nil {
				return err
			}
		}
		return nil
	}
	c.Checkpoint = func(ctx context.Context, t *rl.Trainer) error {
		err := stage.Save(ctx, t)
		if err == nil && saved != nil {
			err = saved(t.Steps())
		}
		return err
	}
	return rl.NewTrainer(c)
}

// program is a whole training program: it starts a run or goes on with one, makes an
// artefact, trains, and leaves a result.
func program(ctx context.Context, c run.Config, steps, every int64) (err error) {
	w, err := run.Resume(c)
	if errors.Is(err, run.ErrNoRun) {
		w, err = run.Start(c)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	switch _, err := w.Artefact("data/vocabulary"); {
	case errors.Is(err, fs.ErrNotExist):
		if err := w.WriteArtefact("data/vocabulary", []byte("0 1 2 3 4")); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	if _, err := w.Artefact("stages/train/progress"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	stage, err := w.Stage("train")
	if err != nil {
		return err
	}
	p := newTable(stage.Checkpoints().Dir)
	progress := func(step int64) error { return w.WriteArtefact("stages/train/progress", fmt.Append(nil, step)) }
	t, err := trainer(stage, p, steps, every, progress)
	if err != nil {
		return err
	}
	if _, err := stage.Resume(ctx, t); err != nil {
		return err
	}
	if err := t.Run(ctx); err != nil {
		return err
	}
	if err := progress(t.Steps()); err != nil { // a crash may have come before it
		return err
	}
	result, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return w.WriteArtefact("stages/train/result", result)
}

// outcome is what must not depend on what happened meanwhile.
type outcome struct {
	Policy    string            // the last checkpoint's file
	Logs      map[string]string // lines without times
	Artefacts map[string]string
}

func read(ctx context.Context, dir string) (out outcome, err error) {
	f, err := run.Open(dir)
	if err != nil {
		return out, err
	}
	out.Logs, out.Artefacts = map[string]string{}, map[string]string{}
	for _, log := range []string{run.Metrics, run.Rollouts} {
		for l, err := range f.Lines("train", log) {
			if err != nil {
				return out, err
			}
			data := string(l.Data)
			if log == run.Metrics {
				m, err := run.ParseMetrics(l)
				if err != nil {
					return out, err
				}
				delete(m, "time/collect_s")
				delete(m, "time/update_s")
				data = fmt.Sprint(m)
			}
			out.Logs[log] += fmt.Sprintln(l.Step, data)
		}
	}
	names, err := f.Artefacts()
	if err != nil {
		return out, err
	}
	for _, name := range names {
		data, err := f.Artefact(name)
		if err != nil {
			return out, err
		}
		out.Artefacts[name] = string(data)
	}
	last, err := f.Checkpoints("train").Latest(ctx)
	if err != nil {
		return out, err
	}
	text, err := os.ReadFile(filepath.Join(last.Ref, "state"))
	out.Policy = string(text)
	return out, err
}
