package relevance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/task"
)

// Options are what a run needs besides its task and settings. The zero value trains
// the model of the configuration in a new folder and says nothing.
type Options struct {
	// Resume goes on with the run in the folder.
	Resume bool
	// Out receives progress, warnings and results for people; nil discards them.
	Out io.Writer
	// Models makes the policies; nil means those of Config.Policy.
	Models Models
	// Remove, if not nil, deletes what a checkpoint that is not kept has outside the
	// folder, such as tinker.Client.Remove: see run.Config. Of each stage the last two
	// checkpoints are kept, and with validation the best.
	Remove func(ctx context.Context, ref string) error
	// Beliefs, if not empty, is a file in which the teacher's beliefs are kept, so that
	// several runs with the same rows, and the same settings but for the student's, ask
	// the teacher once; those of a run with more Student.Examples begin with those of one
	// with fewer. The beliefs of others are an error.
	Beliefs string
	// Data holds digests, by a name of your choice, of what the source was made of,
	// beside that of its rows, such as "task file".
	Data map[string]string
	// Notes says what was found in the data, a sentence each, for the report.
	Notes []string
	// Collection is what the task's criteria know of all its documents: the baseline of
	// criteria takes the roles of fields from it, and Student.Weak makes its pairs of it.
	// Nil means the documents of the training pairs, and criteria.DefaultRoles.
	Collection *criteria.Collection
	// Info is recorded in the run's folder, but not compared: paths, the command.
	Info map[string]string
}

// pipeline is a run: what its stages share.
type pipeline struct {
	c      Config
	o      Options
	dir    string
	f      *run.Writer
	w      io.Writer
	src    *rows.Source
	digest string // of the task, and
	data   string // of its rows
	// documents is the digest of the documents that criteria know.
	documents string
	models    Models
	tok       *tokenizer.Tokenizer
	task      *task.Task[rows.Example]
	rules     *reward.Counter
	backend   tensor.Backend
	asked     int            // steps of warm-up, before they were bounded
	before    []string       // warnings before training
	held      []rows.Example // validation
	probed    bool           // the rules have been
	whole     *wholeRows     // before their texts are cut; nil without criteria
}

// stage is a part of the run that is done once, and resumed if it was
// interrupted.
type stage struct {
	name, title string
	kind        report.Kind
	run         func(context.Context) (*report.Stage, error)
}

// Interrupted is the error of a run that was asked to stop. What it says was saved, and
// Options.Resume goes on from there.
type Interrupted struct{ Stage, Saved string }

// Error says where the run stopped.
func (e *Interrupted) Error() string {
	return fmt.Sprintf("interrupted in stage %s; saved %s", e.Stage, e.Saved)
}

// Train does a whole run in a folder (package rl/run): baselines, warm-up,
// reinforcement learning with every credit of the configuration, and the student. It
// evaluates each on the source's test sets, writes the model folders and the report,
// and returns what that shows. Stages that the folder holds the results of are not
// done again. Once ctx is done, the run saves where it is and returns an
// [*Interrupted].
//
// Of rules of steps that have a method Probe(context.Context) error, such as those of
// judge models (remote/judge), it is called before the first stage that is not done: an
// error ends the run before it trains.
//
// A source is used by one run at a time.
func Train(ctx context.Context, src *rows.Source, c Config, dir string, o Options) (r *report.Run, err error) {
	p, err := open(ctx, src, c, dir, o)
	if err != nil {
		return nil, interruption(ctx, "loading", err)
	}
	defer func() { err = errors.Join(err, p.f.Close(), tensor.Close(p.backend)) }()
	start := time.Now()
	if err := p.prepare(ctx); err != nil {
		return nil, interruption(ctx, "loading", err)
	}
	stages := p.baselines()
	if p.c.Warmup.Steps > 0 {
		stages = append(stages, stage{warmupStage, "Warm-up: supervised on the teacher's traces", report.KindWarmup, p.warmup})
	}
	if p.c.Reinforce.Steps > 0 {
		for _, credit := range p.c.Reinforce.Credits {
			title := "Reinforcement learning, step credit: " + credit.Name
			if credit.Name == "outcome" {
				title = "Reinforcement learning, outcome-only credit"
			}
			stages = append(stages, stage{creditStage(credit), title, report.KindReinforce, p.reinforce(credit)})
		}
	}
	if p.c.Student.Encoder != nil && (len(p.policyStages()) > 0 || p.begun()) {
		stages = append(stages, stage{studentStage, "Distillation into the student", report.KindStudent, p.distill})
	}

	var results []*report.Stage
	for _, s := range stages {
		r, err := p.once(ctx, s)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	if len(p.policyStages()) > 0 {
		if err := p.writePolicyFolder(ctx); err != nil {
			return nil, interruption(ctx, "model", err)
		}
	}
	if r, err = p.report(ctx, results, time.Since(start)); err != nil {
		return nil, err
	}
	if p.c.Smoke {
		return r, checkSmoke(results)
	}
	return r, nil
}

// begun reports whether the policy can teach before it is trained here.
func (p *pipeline) begun() bool {
	_, pretrained := p.c.Policy.(Pretrained)
	return pretrained || p.o.Models != nil
}

// The names of stages. That of a credit begins with rlPrefix.
const (
	warmupStage  = "warmup"
	rlPrefix     = "rl-"
	studentStage = "distill"
	weakStage    = "weak"
)

func creditStage(c NamedCredit) string { return rlPrefix + c.Name }

// interruption makes an error an Interrupted if it only says that ctx is done.
func interruption(ctx context.Context, stage string, err error) error {
	if ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
		return err
	}
	if _, ok := errors.AsType[*Interrupted](err); ok {
		return err
	}
	return &Interrupted{stage, "what came before"}
}

// RunConfig returns the settings with which the run in a folder was started, and what
// else was recorded then.
func RunConfig(dir string) (Config, map[string]string, error) {
	f, err := run.Open(dir)
	if err != nil {
		return Config{}, nil, err
	}
	var c Config
	if err := json.Unmarshal(f.Manifest().Settings, &c); err != nil {
		return Config{}, nil, fmt.Errorf("%s: settings: %w", dir, err)
	}
	return c, f.Manifest().Info, nil
}

// folders looks into the folders of models, so that what the student lacks is not found
// after all training.
func (c *Config) folders() error {
	var layers int
	switch k := c.Policy.(type) {
	case Scratch:
		layers = k.Shape.Layers
	case Pretrained:
		config, err := model.ReadConfig(k.Dir)
		if err != nil {
			return fmt.Errorf("policy.dir: %w", err)
		}
		layers = config.Layers
	}
	switch k := c.Student.Encoder.(type) {
	case Teacher:
		if k.Layers > layers {
			return fmt.Errorf("student.encoder.layers is %d, want at most the policy's %d", k.Layers, layers)
		}
	case Pretrained:
		if _, err := tokenizer.Load(filepath.Join(k.Dir, "tokenizer.json")); err != nil {
			return fmt.Errorf("student.encoder.dir: %w", err)
		}
	}
	return nil
}

// open checks the settings, and makes or reopens the run's folder.
func open(ctx context.Context, src *rows.Source, c Config, dir string, o Options) (p *pipeline, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if _, ok := c.Student.Encoder.(Teacher); ok && o.Models != nil {
		return nil, errors.New("relevance: Config.Student.Encoder is of kind teacher, but the policies are those of Options.Models, whose weights may be elsewhere: want scratch or pretrained")
	}
	if o.Models == nil {
		if err := c.folders(); err != nil {
			return nil, err
		}
	}
	if c.Student.Encoder != nil {
		if err := c.Student.Head.Validate(len(src.Labels)); err != nil {
			return nil, fmt.Errorf("relevance: Config.Student.Head: %w", err)
		}
	}
	for _, set := range slices.Concat(src.Tests, []rows.TestSet{{Name: ValidationSet, Examples: src.Validation}}) {
		if err := labelled(src, set.Examples); err != nil && (set.Name != ValidationSet || len(set.Examples) > 0) {
			return nil, fmt.Errorf("relevance: the set %s: %w", set.Name, err)
		}
	}
	b, err := tensor.Open(c.Backend)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tensor.Close(b))
		}
	}()
	p = &pipeline{c: c, o: o, dir: dir, w: o.Out, src: src, backend: b, rules: &reward.Counter{}}
	if p.w == nil {
		p.w = io.Discard
	}
	data := maps.Clone(o.Data)
	if data == nil {
		data = map[string]string{}
	}
	if data["task"], err = taskDigest(src); err != nil {
		return nil, err
	}
	if data["data"], err = dataDigest(ctx, src); err != nil {
		return nil, err
	}
	if t := c.Reinforce.Teacher; t != nil {
		if data["teacher"], err = run.DigestPath(ctx, t.Dir); err != nil {
			return nil, fmt.Errorf("reinforce.teacher: %w", err)
		}
	}
	p.digest, p.data, p.documents = data["task"], data["data"], DocumentsDigest(src)
	info := maps.Clone(o.Info)
	if info == nil {
		info = map[string]string{}
	}
	info["source"] = src.Name
	begin := run.Start
	if o.Resume {
		begin = run.Resume
	}
	keep := checkpoint.Keep{Last: 2} // one to fall back on
	if c.Validation.Rows > 0 {
		keep.Best, keep.Metric = 1, evalName(qualityName)
	}
	p.f, err = begin(run.Config{
		Dir: dir, Settings: c, Data: data, Seed: c.Seed, Info: info, Keep: keep, Remove: o.Remove, Logger: p.logger(p.w),
	})
	p.asked, p.c.Warmup.Steps = c.Warmup.Steps, c.Warmup.bounded(src.Size)
	p.c.Student.bound(src.Size)
	return p, err
}

func (p *pipeline) logger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
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
		p.src.Name, p.dir, p.c.Seed, runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), p.backend.Name())
	var err error
	if p.models, err = p.openModels(ctx); err != nil {
		return err
	}
	p.tok = p.models.Tokenizer()
	if p.task, err = newTask(p.src, p.models, p.c.Reinforce.Group, p.c.MaxTokens, p.rules); err != nil {
		return err
	}
	p.keepWhole()
	if err := p.clipSource(ctx); err != nil {
		return err
	}
	for _, part := range p.count() {
		fmt.Fprintf(p.w, "%-11s %d rows of %d queries\n", part.Name, part.Rows, part.Queries)
	}
	if w := p.c.Warmup; w.Steps < p.asked {
		fmt.Fprintf(p.w, "warm-up     %d steps, not the %d asked for, which are %.0f passes over the training rows (warmup.passes is %v)\n",
			w.Steps, p.asked, float64(p.asked*w.Batch)/float64(p.src.Size), w.Passes)
	}
	for _, w := range p.warnings() {
		p.before = append(p.before, w)
		fmt.Fprintln(p.w, "warning    ", w)
	}
	return p.describe()
}

// openModels returns the run's models. A tokenizer that was learnt is an artefact.
func (p *pipeline) openModels(ctx context.Context) (Models, error) {
	switch k := p.c.Policy.(type) {
	case Pretrained:
		if p.o.Models == nil {
			return newPretrained(k, p.c.Seed, p.backend)
		}
	case Scratch:
		if p.o.Models == nil {
			tok, err := p.tokenizer(ctx, k.Vocab)
			return &scratch{k, p.c.Seed, p.backend, tok}, err
		}
	}
	return p.o.Models, nil
}

func (p *pipeline) tokenizer(ctx context.Context, vocab int) (*tokenizer.Tokenizer, error) {
	const file = "tokenizer.json"
	data, err := p.f.Artefact(file)
	if err == nil {
		return tokenizer.Parse(data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	tok, err := trainTokenizer(ctx, p.src, vocab, p.c.DocumentTokens)
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
		fmt.Fprintf(p.w, "    %-12s %s\n", s.Name, cmp.Or(e.Truth[k], "(unknown)"))
	}
	return nil
}

// once returns a stage's stored result, or runs the stage and stores it.
func (p *pipeline) once(ctx context.Context, s stage) (*report.Stage, error) {
	r := &report.Stage{}
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
		return nil, &Interrupted{s.name, "the stages before it"}
	}
	if err := p.probeRules(ctx); err != nil {
		return nil, interruption(ctx, s.name, err)
	}
	if r, err = s.run(ctx); err != nil {
		return nil, interruption(ctx, s.name, err)
	}
	r.Name, r.Kind, r.Title, r.Rules = s.name, s.kind, s.title, p.tallies()
	p.printScores(r)
	return r, p.writeJSON(resultFile(s.name), r)
}

// probeRules finds out before the first stage whether rules that ask others get answers.
func (p *pipeline) probeRules(ctx context.Context) error {
	if p.probed {
		return nil
	}
	for _, s := range p.src.Steps {
		if r, ok := s.Rule.(interface{ Probe(context.Context) error }); ok {
			if err := r.Probe(ctx); err != nil {
				return fmt.Errorf("step %q: %w", s.Name, err)
			}
		}
	}
	p.probed = true
	return nil
}

// heading prints a line that opens a stage.
func heading(w io.Writer, title string) {
	fmt.Fprintf(w, "\n%s\n%s\n", title, strings.Repeat("─", len([]rune(title))))
}
