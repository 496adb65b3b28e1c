package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/stepwise-rl/stepwise/examples/relevance/internal/rows"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/task"
)

// pipeline is a run: what its stages share.
type pipeline struct {
	o       options
	s       settings
	f       folder
	w       io.Writer
	src     *rows.Source
	tok     *tokenizer.Tokenizer
	task    *task.Task[rows.Example]
	rules   *reward.Counter
	backend tensor.Backend
}

// stageResult is what a stage leaves behind: a part of the report.
type stageResult struct {
	Name    string  `json:"name"`
	Title   string  `json:"title"`
	Seconds float64 `json:"seconds"`
	// Tokens counts the tokens that the stage sampled and trained on.
	Tokens int `json:"tokens"`
	// Tests holds the scores per test set.
	Tests map[string]*scores `json:"test_sets,omitempty"`
	// Numbers holds what else the stage measured.
	Numbers map[string]float64 `json:"numbers,omitempty"`
	// Checkpoint is the reference of the weights that the stage ended with.
	Checkpoint string `json:"checkpoint,omitempty"`
	// Note says in words what the stage decided.
	Note string `json:"note,omitempty"`
}

// stage is a part of the run that is done once, and resumed if it was
// interrupted.
type stage struct {
	name, title string
	run         func(context.Context) (*stageResult, error)
}

// interruptedError says where a run was asked to stop.
type interruptedError struct{ stage, saved string }

func (e *interruptedError) Error() string {
	return fmt.Sprintf("interrupted in stage %s; saved %s", e.stage, e.saved)
}

// run does all stages that the run folder does not hold the results of yet.
func run(ctx context.Context, o options, w io.Writer) error {
	p, err := open(&o, w)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := p.prepare(); err != nil {
		return err
	}
	credited := "rl-" + p.o.Credit
	stages := []stage{
		{"baseline", "Baseline: bag of words", p.baseline},
		{"warmup", "Warm-up: supervised on a fallible teacher's traces", p.warmup},
		{"rl-outcome", "Reinforcement learning, outcome-only credit", p.reinforce("rl-outcome", "outcome")},
	}
	if credited != "rl-outcome" {
		stages = append(stages, stage{credited, "Reinforcement learning, step credit: " + p.o.Credit, p.reinforce(credited, p.o.Credit)})
	}
	stages = append(stages, stage{"distill", "Distillation into the student", p.distill})

	var results []*stageResult
	for _, s := range stages {
		r, err := p.once(ctx, s)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	if err := p.report(results, time.Since(start)); err != nil {
		return err
	}
	if p.o.Quick {
		return checkQuick(results)
	}
	return nil
}

// open makes or reopens the run folder, and chooses data and settings.
func open(o *options, w io.Writer) (*pipeline, error) {
	f := folder{o.Out}
	var before options
	found, err := f.readJSON(&before, "run.json")
	switch {
	case err != nil:
		return nil, err
	case found && !o.Resume:
		return nil, fmt.Errorf("%s holds a run already; -resume goes on with it, another -out starts anew", o.Out)
	case !found && o.Resume:
		return nil, fmt.Errorf("%s holds no run to resume: run.json is missing", o.Out)
	case found:
		before.Out, before.Resume = o.Out, true
		*o = before // a run goes on with what it was started with
	default:
		if err := f.writeJSON(o, "run.json"); err != nil {
			return nil, err
		}
	}
	b, err := tensor.Open(o.Backend)
	if err != nil {
		return nil, err
	}
	p := &pipeline{o: *o, f: f, w: w, backend: b, rules: &reward.Counter{}, s: defaultSettings()}
	if o.Quick {
		p.s = quickSettings()
	}
	if p.src, err = openSource(*o, &p.s); err != nil {
		return nil, err
	}
	if o.Steps > 0 {
		p.s.RLSteps = o.Steps
	}
	return p, nil
}

// prepare trains or loads the tokenizer and binds the task.
func (p *pipeline) prepare() error {
	heading(p.w, "Relevance in steps")
	fmt.Fprintf(p.w, "data        %s\nrun folder  %s\nseed        %d (one run shows one seed)\nmachine     %s/%s, %d cores, %s\n",
		p.src.Name, p.o.Out, p.o.Seed, runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), p.backend.Name())
	path := p.f.path("tokenizer.json")
	tok, err := tokenizer.Load(path)
	if errors.Is(err, os.ErrNotExist) {
		if tok, err = trainTokenizer(p.src, p.s); err != nil {
			return err
		}
		data, err := tok.MarshalJSON()
		if err != nil {
			return err
		}
		if err := p.f.write(data, "tokenizer.json"); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	p.tok = tok
	p.s.Teacher.Vocab, p.s.Student.Vocab = tok.VocabSize(), tok.VocabSize()
	if p.task, err = newTask(p.src, tok, p.s, p.rules); err != nil {
		return err
	}
	if err := p.clipSource(); err != nil {
		return err
	}
	return p.describe()
}

// describe prints an example as the model reads it, with its true steps.
func (p *pipeline) describe() error {
	e := p.src.Train(0)
	fmt.Fprintf(p.w, "vocabulary  %d tokens\n\nAn example:\n%s", p.tok.VocabSize(), indent(p.task.Template().Render(e)))
	fmt.Fprintf(p.w, "Its true steps:\n")
	for k, s := range p.src.Steps {
		fmt.Fprintf(p.w, "    %-12s %s\n", s.Name, e.Truth[k])
	}
	return nil
}

// once returns a stage's stored result, or runs the stage and stores it.
func (p *pipeline) once(ctx context.Context, s stage) (*stageResult, error) {
	r := &stageResult{}
	found, err := p.f.readJSON(r, "stages", s.name+".json")
	if err != nil {
		return nil, err
	}
	heading(p.w, s.title)
	if found {
		fmt.Fprintln(p.w, "done before")
		return r, nil
	}
	if ctx.Err() != nil {
		return nil, &interruptedError{s.name, "the stages before it"}
	}
	if r, err = s.run(ctx); err != nil {
		return nil, err
	}
	r.Name, r.Title = s.name, s.title
	p.printScores(r)
	return r, p.f.writeJSON(r, "stages", s.name+".json")
}
