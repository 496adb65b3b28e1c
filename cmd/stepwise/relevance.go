package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/serve"
	"github.com/stepwise-rl/stepwise/relevance/taskfile"
	"github.com/stepwise-rl/stepwise/rl/run"
)

var relevanceCommands = []command{
	{"criteria", "list the kinds of criteria, or check those of a task", runRelevanceCriteria},
	{"eval", "score a model on the test sets of a task", runRelevanceEval},
	{"report", "write the page of a run, or compare two runs", runRelevanceReport},
	{"score", "label a file of queries and documents", runRelevanceScore},
	{"train", "train a model on a task file", runRelevanceTrain},
}

func runRelevance(args []string, in io.Reader, out, errs io.Writer) int {
	return dispatch("stepwise relevance", relevanceCommands, args, in, out, errs)
}

// taskFlags are the flags that say how a task file is opened.
type taskFlags struct {
	dir, onBadRow *string
	fold          *int
	backend       string // that a model is opened on; empty = cpu
	unjudged      bool   // judge models are not asked
}

func newTaskFlags(f *flag.FlagSet) taskFlags {
	return taskFlags{
		dir:      f.String("data-dir", "", "the folder that the task's data files are in (default: the task file's)"),
		onBadRow: f.String("on-bad-row", "", "fail or skip: what to do about a malformed row (default: as the task says)"),
		fold:     f.Int("fold", -1, "the fold to test on; -1 is the task's"),
	}
}

// open reads the task and its data.
func (t taskFlags) open(path string, seed uint64) (*taskfile.Task, error) {
	o := taskfile.Options{Dir: *t.dir, Seed: seed, OnBadRow: rows.OnBadRow(*t.onBadRow), Unjudged: t.unjudged}
	if *t.fold >= 0 {
		o.Fold = t.fold
	}
	return taskfile.Open(path, o)
}

// openModel opens a model folder with its task. Of the data it says what changes the
// answers; training has said the rest.
func (t taskFlags) openModel(ctx context.Context, dir, path string, errs io.Writer) (relevance.Closer, *taskfile.Task, error) {
	info, err := relevance.ReadModelInfo(dir)
	if err != nil {
		return nil, nil, err
	}
	task, err := t.open(path, 1)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w (a model is used with the data of its task: the criteria know the documents from there; -data-dir names another folder)", err)
	}
	if err != nil {
		return nil, nil, err
	}
	if have := relevance.DocumentsDigest(task.Source); info.DocumentsDigest != "" && have != info.DocumentsDigest {
		fmt.Fprintf(errs, "warning: the documents of %s are not those that %s was trained with: the criteria compare a pair with all documents, so some answers may be others\n", path, dir)
	}
	s, err := relevance.Open(ctx, dir, task.Source, t.backend)
	return s, task, err
}

// base is the folder that the task's paths are relative to.
func (t taskFlags) base(path string) string { return cmp.Or(*t.dir, filepath.Dir(path)) }

// shortestTask is that of docs/taskfile.md.
const shortestTask = `version: 1
name: outdoor shop
labels: [0, 1, 2]                 # in ascending order of relevance
data:
  pairs: {file: pairs.csv}
prompt: {compact: true}           # for the small model that is trained by default
steps:
  - name: label
`

const relevanceTrainAbout = `TASK is a task file, as in: stepwise relevance train tasks/chorus.yaml

Trains a model on the task: baselines, a warm-up, reinforcement learning with
outcome-only credit and with step credit, and a light student. The run's folder
gets report.html, and model folders named model and student. docs/taskfile.md and
docs/relevance.md of the module explain task files and run files. The shortest task
file, for a pairs.csv with the columns query, title, body and label:

` + shortestTask

func runRelevanceTrain(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise relevance train"
	f := flag.NewFlagSet(prog, flag.ContinueOnError)
	open := newTaskFlags(f)
	file := f.String("run", "", "run file: how to train, YAML or JSON; what it does not name stays as -show prints it")
	dir := f.String("out", "", "the run's folder (default runs/NAME-TIME)")
	var seed *uint64
	f.Func("seed", "`seed` of everything random (default: the run file's, else 1)", func(text string) error {
		n, err := strconv.ParseUint(text, 0, 64)
		seed = &n
		return err
	})
	resume := f.Bool("resume", false, "go on in the folder -out where an earlier run stopped")
	quick := f.Bool("quick", false, "smoke run: a few seconds, checks itself, learns little")
	show := f.Bool("show", false, "print the run file with all settings, and train nothing")
	names, status, done := parseArguments(f, "TASK", relevanceTrainAbout, args, out, errs)
	if done {
		return status
	}
	if len(names) != 1 && !(*show && len(names) == 0) { // the settings are those of any task
		return misused(f, wrongNumber(names, "TASK"), errs)
	}
	if *resume && *dir == "" {
		return misused(f, errors.New("-resume needs -out, the folder of the run to resume"), errs)
	}
	return stopping(prog, dir, out, errs, func(ctx context.Context) error {
		var c relevance.Config
		var err error
		if *resume {
			var info map[string]string
			if c, info, err = relevance.RunConfig(*dir); err != nil {
				return err
			}
			if *file != "" || *quick || seed != nil {
				asked, err := runFile(*file, *quick, seed)
				if err != nil {
					return err
				}
				began, err := json.Marshal(c)
				if err != nil {
					return err
				}
				if now, err := json.Marshal(asked); err != nil || !bytes.Equal(now, began) {
					return fmt.Errorf("-run, -quick and -seed give other settings than the run in %s began with; leave them out to go on with those, or begin a run in another folder", *dir)
				}
			}
			if *open.fold < 0 && info["fold"] != "" {
				if *open.fold, err = strconv.Atoi(info["fold"]); err != nil {
					return fmt.Errorf("%s: fold: %w", *dir, err)
				}
			}
		} else if c, err = runFile(*file, *quick, seed); err != nil {
			return err
		}
		if *show {
			text, err := json.MarshalIndent(c, "", "  ")
			fmt.Fprintf(out, "%s\n", text)
			return err
		}
		task, err := open.open(names[0], c.Seed)
		if err != nil {
			return err
		}
		if *dir == "" {
			name := strings.TrimSuffix(filepath.Base(names[0]), filepath.Ext(names[0]))
			*dir = filepath.Join("runs", name+"-"+time.Now().Format("20060102-150405"))
		}
		o := relevance.Options{
			Resume: *resume, Out: out, Data: map[string]string{taskDigest: task.File.Digest()},
			Info:       map[string]string{"task": names[0], "command": prog + " " + strings.Join(args, " ")},
			Collection: task.Collection,
		}
		for _, r := range task.Reports {
			fmt.Fprint(errs, r)
			for line := range strings.Lines(r.String()) {
				o.Notes = append(o.Notes, strings.TrimSpace(line))
			}
		}
		if *open.fold >= 0 {
			o.Info["fold"] = strconv.Itoa(*open.fold)
		}
		for _, path := range task.Inputs {
			name := path // by what the task calls it, so that the folder may move
			if r, err := filepath.Rel(open.base(names[0]), path); err == nil {
				name = filepath.ToSlash(r)
			}
			if o.Data[name], err = run.DigestPath(ctx, path); err != nil {
				return err
			}
		}
		_, err = relevance.Train(ctx, task.Source, c, *dir, o)
		printJudges(out, task)
		return anotherTask(err, *dir, names[0])
	})
}

// runFile returns the settings of a run. A seed of nil is the file's.
func runFile(path string, quick bool, seed *uint64) (relevance.Config, error) {
	c := relevance.Default()
	if quick {
		c = relevance.Quick()
	}
	c.OpenVocabulary()
	if path != "" {
		var err error
		if c, err = relevance.ReadConfig(path, c); err != nil {
			return c, err
		}
	}
	if seed != nil {
		c.Seed = *seed
	}
	return c, nil
}

var errNoModel = errors.New("-model is missing, want the folder model or student of a run")

const relevanceEvalAbout = `TASK is a task file, as in:
stepwise relevance eval -model RUN/student tasks/chorus.yaml

Scores a model folder on the test sets of the task it was trained for, and prints
the numbers with 95% intervals.`

func runRelevanceEval(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise relevance eval"
	f := flag.NewFlagSet(prog, flag.ContinueOnError)
	open := newTaskFlags(f)
	backendFlag(f, &open.backend)
	dir := f.String("model", "", "the model folder: model or student in the folder of a run")
	byGrade := f.Bool("by-grade", false, "take the label by the cut points on the expected grade")
	names, status, done := theArguments(f, "TASK", relevanceEvalAbout, args, out, errs)
	if done {
		return status
	}
	if *dir == "" {
		return misused(f, errNoModel, errs)
	}
	return interruptible(prog, errs, func(ctx context.Context) error {
		s, task, err := open.openModel(ctx, *dir, names[0], errs)
		if err != nil {
			return err
		}
		defer s.Close()
		info, err := relevance.ReadModelInfo(*dir)
		if err == nil && *byGrade && info.Calibration.Cuts == nil {
			err = fmt.Errorf("%s has no cut points on the expected grade: they did not help on validation rows", *dir)
		}
		if err != nil {
			return err
		}
		stage := &report.Stage{Name: filepath.Base(*dir), Tests: map[string]*report.Scores{}}
		for _, set := range task.Source.Tests {
			if stage.Tests[set.Name], err = relevance.Evaluate(ctx, s, task.Source, set.Examples, *byGrade); err != nil {
				return err
			}
		}
		relevance.PrintTable(out, []*report.Stage{stage})
		printJudges(out, task)
		return nil
	})
}

// printJudges says what the task's judge models were asked, and cost.
func printJudges(out io.Writer, task *taskfile.Task) {
	for _, line := range task.JudgeUse() {
		fmt.Fprintln(out, line)
	}
}

const relevanceScoreAbout = `TASK is a task file and PAIRS a file of pairs, as in:
stepwise relevance score -steps -model RUN/model tasks/chorus.yaml pairs.jsonl

Labels each pair of a file with the task's columns, which needs no labels. It
writes a JSON object a line: id, query, title, label, the distribution over the
labels (p), the expected grade counted from 0, the label by the cut points on it
if the model has any, with -steps the reasoning, beside what the task's criteria
find themselves, and version and digest of the model, as stepwise serve names it.`

// scored is a line that score writes.
type scored struct {
	ID    string `json:"id"`
	Query string `json:"query"`
	Title string `json:"title"`
	relevance.Score
	Model json.RawMessage `json:"model"`
}

// MarshalJSON writes the pair's members, the score's, and the model.
func (s scored) MarshalJSON() ([]byte, error) {
	pair, err := plainJSON(struct {
		ID    string `json:"id"`
		Query string `json:"query"`
		Title string `json:"title"`
	}{s.ID, s.Query, s.Title})
	if err != nil {
		return nil, err
	}
	score, err := plainJSON(s.Score)
	if err != nil {
		return nil, err
	}
	return slices.Concat(pair[:len(pair)-1], []byte(","), score[1:len(score)-1], []byte(`,"model":`), s.Model, []byte("}")), nil
}

// plainJSON is v as JSON with texts as they are: "<" is not escaped.
func plainJSON(v any) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(text.Bytes()), err
}

func runRelevanceScore(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise relevance score"
	f := flag.NewFlagSet(prog, flag.ContinueOnError)
	open := newTaskFlags(f)
	open.unjudged = true
	backendFlag(f, &open.backend)
	dir := f.String("model", "", "the model folder: model or student in the folder of a run")
	steps := f.Bool("steps", false, "write the reasoning, too")
	samples := f.Int("samples", 0, "reasonings to sample for each pair and to average over; 0 = one, the most probable")
	names, status, done := theArguments(f, "TASK PAIRS", relevanceScoreAbout, args, out, errs)
	if done {
		return status
	}
	if *dir == "" {
		return misused(f, errNoModel, errs)
	}
	if _, err := (&rows.Table{File: names[1]}).Kind(); err != nil {
		return misused(f, fmt.Errorf("PAIRS is %q, want a file whose name ends in .jsonl, .csv, .tsv, .qrels or .parquet, or such a name with .gz or .zst", names[1]), errs)
	}
	return interruptible(prog, errs, func(ctx context.Context) error {
		s, task, err := open.openModel(ctx, *dir, names[0], errs)
		if err != nil {
			return err
		}
		defer s.Close()
		m, err := serve.NewModel(ctx, *dir, s)
		if err != nil {
			return err
		}
		model, err := plainJSON(struct { // as in the answers of serve
			Version string `json:"version"`
			Digest  string `json:"digest"`
		}{m.Version, m.Digest})
		if err != nil {
			return err
		}
		w := bufio.NewWriter(out)
		lines := json.NewEncoder(w)
		lines.SetEscapeHTML(false)
		d := task.File.Unlabelled(names[1], open.base(names[0]))
		d.OnBadRow = cmp.Or(rows.OnBadRow(*open.onBadRow), d.OnBadRow)
		var found rows.Report
		var part []rows.Example
		done, malformed := 0, 0
		score := func() ([]relevance.Score, error) {
			for {
				all, err := relevance.ScoreExamples(ctx, s, part, relevance.ScoreOptions{Steps: *steps, Samples: *samples})
				bad, ok := errors.AsType[*rows.RowError](err)
				if !ok || d.OnBadRow != rows.BadRowSkip {
					return all, err
				}
				i := slices.IndexFunc(part, func(e rows.Example) bool { return e.Line == bad.Line })
				if i < 0 {
					return nil, err
				}
				found.Skip(bad) // the model cannot read it
				part = slices.Delete(part, i, i+1)
			}
		}
		flush := func() error {
			all, err := score()
			if err != nil {
				return err
			}
			for i, e := range part {
				beside(&all[i], task, e)
				done++
				if all[i].Malformed {
					malformed++
				}
				if err := lines.Encode(scored{e.ID, e.Query, e.Document.Title, all[i], model}); err != nil {
					return err
				}
			}
			part = part[:0]
			return w.Flush()
		}
		for e, err := range d.Each(&found) {
			if err != nil {
				return cmp.Or(flush(), err) // the rows before it are written
			}
			if part = append(part, e); len(part) == 256 {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if err := flush(); err != nil {
			return err
		}
		if err := d.TooMany(&found); err != nil { // with those that the model cannot read
			return err
		}
		if found.Bad > 0 {
			fmt.Fprint(errs, &found)
		}
		if malformed > 0 {
			fmt.Fprintf(errs, "warning: %d of %d answers deviate from the task's format and are marked as malformed\n", malformed, done)
		}
		if done == 0 {
			return fmt.Errorf("%s: no pairs, want at least one row", names[1])
		}
		return nil
	})
}

// beside puts what the task's criteria find beside the model's steps.
func beside(s *relevance.Score, task *taskfile.Task, e rows.Example) {
	if len(s.Steps) == 0 {
		return
	}
	found := task.Source.Prepare(e).Found
	for i := range s.Steps {
		for _, step := range task.File.Steps {
			for _, f := range found {
				if step.Name == s.Steps[i].Name && step.Rule.Criterion == f.Name {
					s.Steps[i].Found = &relevance.Finding{Answer: f.Answer, Reason: f.Reason}
				}
			}
		}
	}
}

const relevanceReportAbout = `Its argument is the folder of a finished run, as in:
stepwise relevance report -o page.html RUN
stepwise relevance report -compare A B
stepwise relevance report -stages rl-mask,rl-outcome RUN...

Writes the run's page once more, or prints how the best models of two runs differ
on the test rows that both have, or how two stages differ over runs with several
seeds: the first minus the second. Runs with the same seed are the folds of one
training.`

func runRelevanceReport(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise relevance report"
	f := flag.NewFlagSet(prog, flag.ContinueOnError)
	compare := f.Bool("compare", false, "compare two runs")
	stages := f.String("stages", "", "compare these two stages, over all the runs")
	sets := f.String("sets", "", "with -stages: take the rows of all test sets together whose names match this `pattern`,\nsuch as \"fold *\"")
	matters := f.Float64("matters", .01, "with -stages: the smallest difference in accuracy that matters")
	file := f.String("o", "", "the file to write (default: standard output)")
	dirs, status, done := parseArguments(f, "RUN...", relevanceReportAbout, args, out, errs)
	if done {
		return status
	}
	first, second, two := strings.Cut(*stages, ",")
	write := func(w io.Writer) error { return relevance.WriteReport(w, dirs[0]) }
	want := "a run's folder"
	switch {
	case *stages != "":
		write = func(w io.Writer) error { return relevance.CompareStages(w, dirs, first, second, *sets, *matters) }
		if want = ""; !two || *compare || len(dirs) == 0 {
			want = "two stages, as in -stages rl-mask,rl-outcome, no -compare, and folders of runs"
		}
	case *compare:
		write = func(w io.Writer) error { return relevance.Compare(w, dirs[0], dirs[1]) }
		if want = ""; len(dirs) != 2 {
			want = "the folders of two runs"
		}
	case len(dirs) == 1:
		want = ""
	}
	if want != "" {
		return misused(f, fmt.Errorf("%d arguments, want %s", len(dirs), want), errs)
	}
	if *file == "" {
		return finish(prog, write(out), errs, exitInput)
	}
	var text bytes.Buffer // an error leaves the file as it is
	err := write(&text)
	if err == nil {
		err = os.WriteFile(*file, text.Bytes(), 0o666)
	}
	return finish(prog, err, errs, exitInput)
}

// stopping runs f, which saves when Ctrl-C or SIGTERM ends its context, and says how to go
// on.
func stopping(prog string, dir *string, out, errs io.Writer, f func(context.Context) error) int {
	status := exitOK
	interrupted := interruptible(prog, errs, func(ctx context.Context) error {
		err := f(ctx)
		if i, ok := errors.AsType[*relevance.Interrupted](err); ok {
			fmt.Fprintf(out, "\n%v\nthe same command with -resume -out %s goes on\n", i, *dir)
			status = exitInterrupted
			return nil
		}
		return err
	})
	return max(status, interrupted)
}
