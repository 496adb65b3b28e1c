// Command students measures what a student costs and what it is worth: it trains a
// teacher on the generated notes (package examples/relevance), lets it label rows that
// nobody trained on, distils it into students of several sizes from several numbers of
// rows by several losses, and writes the table and the plot of docs/distillation.md.
//
//	go run ./examples/relevance/students -out DIR            # go on with the same command
//	go run ./examples/relevance/students -out DIR -only 'rows 64000 × 6'
//	go run ./examples/relevance/students -out DIR -only '^$' -errors 'decoder'
//
// Every student is a run of package relevance in a folder of its own, done once. The
// teacher is asked once about each row. Pairs/s are measured in the end, of all models in
// turns: the same command on a quiet machine corrects those of a busy one.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/examples/internal/notes"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// fresh is the first row of the generated stream that students learn from: the teacher
// has seen none from there on.
const fresh = 1_000_000

func main() {
	log.SetFlags(0)
	out := flag.String("out", "runs/students", "folder of all runs")
	seed := flag.Uint64("seed", 3, "seed of the teacher and the rows; that of the students, too")
	only := flag.String("only", "", "train only students whose name matches this pattern")
	look := flag.String("errors", "", "show what the teacher and the students whose name matches this pattern get wrong")
	svg := flag.String("svg", "", "also write the plot to this file")
	verbose := flag.Bool("v", false, "show the runs' own output")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q", flag.Arg(0))
	}
	onlyThese, err := regexp.Compile(*only)
	if err != nil {
		log.Fatalf("students: -only: %v", err)
	}
	lookAt, err := regexp.Compile(*look)
	if err != nil {
		log.Fatalf("students: -errors: %v", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s := study{ctx: ctx, out: *out, seed: *seed, said: io.Discard}
	if *verbose {
		s.said = os.Stderr
	}
	all, err := s.run(onlyThese)
	if err == nil {
		err = s.measure(all)
	}
	if err != nil {
		log.Fatalf("students: %v", err)
	}
	writeTable(os.Stdout, all)
	err = s.compareBeliefs(os.Stdout)
	if err == nil && *look != "" {
		err = s.writeErrors(os.Stdout, all, lookAt)
	}
	if err == nil && *svg != "" {
		err = drawTo(*svg, all)
	}
	if err != nil {
		log.Fatalf("students: %v", err)
	}
}

type study struct {
	ctx  context.Context
	out  string
	seed uint64
	said io.Writer
}

// run trains what is missing, and returns all that is there: the teacher, then its
// students.
func (s *study) run(only *regexp.Regexp) ([]*result, error) {
	c := relevance.Default()
	c.Seed, c.Student.Encoder = s.seed, nil
	taught, err := s.train("teacher", s.source(0), c, "")
	if err != nil {
		return nil, err
	}
	teacher := &result{run: filepath.Join(s.out, "teacher"), model: relevance.PolicyFolder, stage: stageOf(taught, taught.Best)}
	folder := filepath.Join(teacher.run, teacher.model)
	if teacher.cost, err = teacherCost(s.source(0), folder, teacher.stage); err != nil {
		return nil, err
	}
	c.Policy = relevance.Pretrained{Dir: folder}
	c.Warmup.Steps, c.Warmup.ProbePrompts, c.Reinforce.Steps, c.BaselineRows, c.Validation.Rows = 0, 0, 0, 50, 500
	all := []*result{teacher}
	for _, x := range students() {
		c.Student = x.student
		name := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(x.name()), "-")
		dir := filepath.Join(s.out, name)
		if !only.MatchString(x.name()) {
			if _, err := os.Stat(filepath.Join(dir, "report.json")); err != nil {
				continue
			}
		}
		log.Print(x.name())
		r, err := s.train(name, s.source(fresh), c, s.beliefs(&c.Student))
		if err != nil {
			return nil, err
		}
		stage := stageOf(r, "distill")
		cost, err := studentCost(filepath.Join(dir, relevance.StudentFolder), stage)
		if err != nil {
			return nil, err
		}
		all = append(all, &result{cell: x, run: dir, model: relevance.StudentFolder, stage: stage, cost: cost})
	}
	return all, nil
}

// source is the notes with training rows from the given one on.
func (s *study) source(from int) *rows.Source {
	src := notes.New(notes.Config{Seed: s.seed, TestSize: 1000, Teacher: notes.DefaultTeacher()})
	train := src.Train
	src.Train = func(i int) rows.Example { return train(from + i) }
	return src
}

// train does a run, or goes on with it, or reads what it found.
func (s *study) train(name string, src *rows.Source, c relevance.Config, beliefs string) (*report.Run, error) {
	dir := filepath.Join(s.out, name)
	if r, err := relevance.ReadReport(dir); err == nil {
		return r, nil
	}
	_, err := os.Stat(dir)
	r, err := relevance.Train(s.ctx, src, c, dir, relevance.Options{Out: s.said, Beliefs: beliefs, Resume: err == nil})
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return r, err
}

// beliefs is the file that the students with the same questions to the teacher share.
func (s *study) beliefs(c *relevance.Student) string {
	kind := "pairs"
	if c.Form == relevance.FormBiEncoder {
		kind = "lists"
	}
	return filepath.Join(s.out, fmt.Sprintf("beliefs-%s-%d.json", kind, c.Samples))
}

func stageOf(r *report.Run, name string) *report.Stage {
	for _, s := range r.Stages {
		if s.Name == name {
			return s
		}
	}
	panic("students: the run has no stage " + name)
}

// compareBeliefs says how good the teacher's beliefs are on the rows that they were
// asked for: that of its greedy reasoning, and the mean over sampled ones.
func (s *study) compareBeliefs(w io.Writer) error {
	src := s.source(fresh)
	fmt.Fprintf(w, "\n| beliefs of | rows | accuracy | QWK | log-loss | ECE | coverage |\n|---|---|---|---|---|---|---|\n")
	for _, samples := range []int{0, 4} {
		var all struct {
			Taught []struct {
				Index    int
				Belief   []float64
				Coverage float64
			}
		}
		text, err := os.ReadFile(s.beliefs(&relevance.Student{Samples: samples}))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = json.Unmarshal(text, &all)
		}
		if err != nil {
			return err
		}
		var t tally
		for _, b := range all.Taught[:min(len(all.Taught), 2048)] { // the same ones
			e := src.Train(b.Index)
			if b.Belief != nil {
				t.add(b.Belief, src.LabelIndex(e.Label()), b.Coverage)
			}
		}
		name := fmt.Sprintf("%d sampled traces", samples)
		if samples == 0 {
			name = "the greedy trace"
		}
		n := float64(len(t.pairs))
		fmt.Fprintf(w, "| %s | %d | %.3f | %.3f | %.3f | %.3f | %.4f |\n", name, len(t.pairs), eval.Accuracy(t.pairs), eval.QuadraticKappa(t.pairs), t.loss/n, eval.ECE(t.sure, t.right, 10), t.coverage/n)
	}
	fmt.Fprintf(w, "\n%d cores, %s\n", runtime.GOMAXPROCS(0), runtime.Version())
	return nil
}

// turns is how often the speed of each model is measured.
const turns = 5

// measure finds the speed of every model on one test set, tokenising included, as the
// median over turns, in each of which all are measured once: whatever else the machine
// does falls on all of them.
func (s *study) measure(all []*result) error {
	speeds := make([][]float64, len(all))
	scorers := make([]relevance.Scorer, len(all))
	for i, r := range all {
		x, err := relevance.Open(s.ctx, filepath.Join(r.run, r.model), s.source(0), "cpu")
		if err != nil {
			return err
		}
		defer x.Close()
		scorers[i] = x
	}
	pairs := s.source(0).Tests[0].Examples
	for range turns {
		for i, x := range scorers {
			start := time.Now()
			if _, err := relevance.ScoreExamples(s.ctx, x, pairs, relevance.ScoreOptions{}); err != nil {
				return err
			}
			speeds[i] = append(speeds[i], float64(len(pairs))/time.Since(start).Seconds())
		}
	}
	for i, r := range all {
		slices.Sort(speeds[i])
		r.speed = speeds[i][turns/2]
	}
	return nil
}
