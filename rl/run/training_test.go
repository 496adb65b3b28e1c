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
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

const vocab = 5

// successor is a problem: after token p write p+1, then p+2, modulo the vocabulary.
// Each token is a step; the reward is the last's.
type successor int32

func (s successor) Request() (rollout.Request, error) {
	return rollout.Request{Prompt: []int32{int32(s)}, N: 4, Params: rollout.Params{Temperature: 1, MaxTokens: 2}}, nil
}

func (s successor) Judge(_ context.Context, c *rollout.Completion) error {
	for k, name := range []string{"first", "second"} {
		st := rollout.Step{Name: name, Start: k, End: k + 1, Verdict: rollout.VerdictIncorrect, Final: k == 1}
		if c.Tokens[k] == (int32(s)+int32(k)+1)%vocab {
			st.Verdict, st.Reward = rollout.VerdictCorrect, 1
		}
		c.Steps = append(c.Steps, st)
	}
	c.Rewards = []float64{c.Steps[1].Reward}
	return nil
}

// table is policytest's, which is its own engine, but saves to disk: a directory that
// is written aside and renamed. It leaves the syncs of directories to the store.
type table struct {
	*policytest.TablePolicy
	dir string
}

func newTable(dir string) *table {
	p := &table{policytest.NewTablePolicy(vocab, nil, -1), dir}
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
	source := &rl.SliceSource{Seed: 2}
	for i := range int32(vocab) {
		source.Problems = append(source.Problems, successor(i))
	}
	return rl.NewTrainer(rl.Config{
		Policy: p, Engine: p, Source: source,
		Estimator:   advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4}),
		Credit:      sam.Mask{},
		Objective:   objective.PPO{ClipLow: 0.2, ClipHigh: 0.28},
		Aggregation: objective.TokenMean{},
		Batching:    rl.Batching{Prompts: 3, GroupSize: 4},
		LR:          rl.Constant{LR: 1},
		Seed:        3, Steps: steps,
		Recorder: stage,
		OnRollouts: func(step int64, r *rl.Rollouts) error {
			for g := range r.Groups {
				if err := stage.Append(run.Rollouts, step, r.Groups[g][0].Tokens); err != nil {
					return err
				}
			}
			return nil
		},
		CheckpointEvery: every,
		Checkpoint: func(ctx context.Context, t *rl.Trainer) error {
			err := stage.Save(ctx, t)
			if err == nil && saved != nil {
				err = saved(t.Steps())
			}
			return err
		},
	})
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
