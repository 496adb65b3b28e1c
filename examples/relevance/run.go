package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/task"
)

// pipeline is a run: what its stages share.
type pipeline struct {
	o       options
	s       settings
	f       *run.Writer
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
	// Rules tallies what the rules have answered in the run so far.
	Rules map[string]ruleTally `json:"rules,omitempty"`
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

// execute does all stages that the run's folder does not hold the results of yet.
func execute(ctx context.Context, o options, w io.Writer) (err error) {
	p, err := open(ctx, o, w)
	if err != nil {
		return interruption(ctx, "loading", err)
	}
	defer func() { err = errors.Join(err, p.f.Close()) }()
	start := time.Now()
	if err := p.prepare(ctx); err != nil {
		return interruption(ctx, "loading", err)
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

// interruption makes an error an interruptedError if it only says that ctx is done.
func interruption(ctx context.Context, stage string, err error) error {
	if ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
		return err
	}
	if _, ok := errors.AsType[*interruptedError](err); ok {
		return err
	}
	return &interruptedError{stage, "what came before"}
}

// fixed is what must not change in a run: all options that matter for its results,
// and the settings that follow from them.
type fixed struct {
	Labels   string   `json:"labels"`
	Fold     int      `json:"fold"`
	Steps    int      `json:"steps"`
	Credit   string   `json:"credit"`
	Quick    bool     `json:"quick"`
	Backend  string   `json:"backend"`
	Settings settings `json:"settings"`
}

// resumed returns the options with which a run was started, changed by those that were
// given on this command line. If they do not fit the run, it will not be resumed.
func (o options) resumed() (options, error) {
	f, err := run.Open(o.Out)
	if err != nil {
		return o, err
	}
	m := f.Manifest()
	var s fixed
	if err := json.Unmarshal(m.Settings, &s); err != nil {
		return o, fmt.Errorf("%s: settings: %w", o.Out, err)
	}
	before := options{
		Out: o.Out, Data: m.Info["data"], Labels: s.Labels, Fold: s.Fold, Seed: m.Seed, Steps: s.Steps,
		Credit: s.Credit, Resume: true, Quick: s.Quick, Backend: s.Backend, given: o.given,
	}
	for name, set := range map[string]func(){
		"data":    func() { before.Data = o.Data },
		"labels":  func() { before.Labels = o.Labels },
		"fold":    func() { before.Fold = o.Fold },
		"seed":    func() { before.Seed = o.Seed },
		"steps":   func() { before.Steps = o.Steps },
		"credit":  func() { before.Credit = o.Credit },
		"quick":   func() { before.Quick = o.Quick },
		"backend": func() { before.Backend = o.Backend },
	} {
		if o.given[name] {
			set()
		}
	}
	return before, nil
}

// open loads the data, chooses settings, and makes or reopens the run's folder.
func open(ctx context.Context, o options, w io.Writer) (*pipeline, error) {
	if o.Resume {
		var err error
		if o, err = o.resumed(); err != nil {
			return nil, err
		}
	}
	b, err := tensor.Open(o.Backend)
	if err != nil {
		return nil, err
	}
	p := &pipeline{o: o, w: w, backend: b, rules: &reward.Counter{}, s: defaultSettings()}
	if o.Quick {
		p.s = quickSettings()
	}
	if p.src, err = openSource(o, &p.s); err != nil {
		return nil, err
	}
	if o.Steps > 0 {
		p.s.RLSteps = o.Steps
	}
	digest, err := dataDigest(ctx, o, p.src)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	begin := run.Start
	if o.Resume {
		begin = run.Resume
	}
	p.f, err = begin(run.Config{
		Dir:      o.Out,
		Settings: fixed{o.Labels, o.Fold, o.Steps, o.Credit, o.Quick, o.Backend, p.s},
		Data:     map[string]string{"data": digest},
		Seed:     o.Seed,
		Info:     map[string]string{"data": o.Data, "source": p.src.Name, "command": strings.Join(os.Args[1:], " ")},
		Keep:     checkpoint.Keep{Last: 2}, // one to fall back on
		Logger:   slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: withoutTime})),
	})
	return p, err
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// prepare trains or loads the tokenizer and binds the task.
func (p *pipeline) prepare(ctx context.Context) error {
	heading(p.w, "Relevance in steps")
	fmt.Fprintf(p.w, "data        %s\nrun folder  %s\nseed        %d (one run shows one seed)\nmachine     %s/%s, %d cores, %s\n",
		p.src.Name, p.o.Out, p.o.Seed, runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), p.backend.Name())
	tok, err := p.tokenizer(ctx)
	if err != nil {
		return err
	}
	p.tok = tok
	p.s.Teacher.Vocab, p.s.Student.Vocab = tok.VocabSize(), tok.VocabSize()
	if p.task, err = newTask(p.src, tok, p.s, p.rules); err != nil {
		return err
	}
	if err := p.clipSource(ctx); err != nil {
		return err
	}
	return p.describe()
}

func (p *pipeline) tokenizer(ctx context.Context) (*tokenizer.Tokenizer, error) {
	const file = "tokenizer.json"
	data, err := p.f.Artefact(file)
	if err == nil {
		return tokenizer.Parse(data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	tok, err := trainTokenizer(ctx, p.src, p.s)
	if err != nil {
		return nil, err
	}
	if data, err = tok.MarshalJSON(); err != nil {
		return nil, err
	}
	return tok, p.f.WriteArtefact(file, data)
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
	found, err := readJSON(p.f.Folder, resultFile(s.name), r)
	if err != nil {
		return nil, err
	}
	heading(p.w, s.title)
	if found {
		fmt.Fprintln(p.w, "done before")
		p.restoreTallies(r.Rules)
		return r, nil
	}
	if ctx.Err() != nil {
		return nil, &interruptedError{s.name, "the stages before it"}
	}
	if r, err = s.run(ctx); err != nil {
		return nil, interruption(ctx, s.name, err)
	}
	r.Name, r.Title, r.Rules = s.name, s.title, p.tallies()
	p.printScores(r)
	return r, p.writeJSON(resultFile(s.name), r)
}
