package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/linear"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/study"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/sam"
	"github.com/stepwise-rl/stepwise/task"
)

// reasoned are the criteria that are steps of the reasoning.
var reasoned = []criteria.Criterion{&criteria.Coverage{Field: criteria.FieldTitle}, &criteria.Accessory{}, &criteria.Type{}, &criteria.Brand{}}

// stated are further criteria whose findings stand in the prompt.
var stated = []criteria.Criterion{
	&criteria.Coverage{Field: criteria.FieldAny}, &criteria.Head{Field: criteria.FieldTitle}, &criteria.Position{}, &criteria.After{},
	&criteria.Companion{}, &criteria.Compatible{}, &criteria.Alike{}, &criteria.Alike{Names: true},
}

// evidence are the answers of the step that sums up what the criteria say together.
var evidence = []string{"against", "doubtful", "mixed", "likely", "strong"}

// taught is on how many of its training rows a model teaches the student; for the
// others it learns from the raters alone.
const taught = 800

// sumUp is the answer of that step for an expected grade.
func sumUp(expected float64) string {
	return evidence[min(int(expected/3*float64(len(evidence))), len(evidence)-1)]
}

// tenths writes a number from 0 on in tenths: one short word that a small model can
// learn to order.
func tenths(v float64) string { return fmt.Sprintf("%.1f", v) }

// short is a finding as the prompt has it: its answer, and where there is more to say
// the score.
func short(answer string, score float64) string {
	if score == 0 || score == 1 {
		return answer
	}
	return answer + " " + tenths(score)
}

// facts are the findings of a pair, and what a logistic regression on all criteria
// believes that has not seen its query.
func (j *judgements) facts(i int, belief []float64) []rows.Field {
	var out []rows.Field
	for _, c := range slices.Concat(reasoned, stated) {
		f := j.findings[i][c.Name()]
		out = append(out, rows.Field{Name: c.Name(), Value: short(f.Answer, f.Score)})
	}
	return append(out,
		rows.Field{Name: "likely", Value: labels[linear.MostProbable(belief)]},
		rows.Field{Name: "expected", Value: tenths(linear.Expected(belief))},
		rows.Field{Name: "worst", Value: tenths(belief[0])},
		rows.Field{Name: "best", Value: tenths(belief[len(belief)-1])},
	)
}

// reading is a model that reasons, which has seen three folds.
type reading struct {
	out  [2]int // the folds that it has not seen
	seed uint64
	soft bool // it learns from all raters
}

func (r reading) name() string {
	kind := "soft"
	if !r.soft {
		kind = "gold"
	}
	return fmt.Sprintf("reason-%s-%d%d-seed%d", kind, r.out[0], r.out[1], r.seed)
}

// source makes a task of three folds. The prompt has no text of the pair but the facts:
// a model from nothing would learn the words of 80 queries by heart.
func (j *judgements) source(r reading) (*rows.Source, error) {
	train := j.inFolds(without(r.out[:]...)...)
	test := append(j.inFolds(r.out[0]), j.inFolds(r.out[1])...)
	b, err := j.believe(nil, !r.soft, train, test)
	if err != nil {
		return nil, err
	}
	make1 := func(i int, belief []float64) rows.Example {
		e := rows.Example{ID: j.pairs[i].ID, Query: j.pairs[i].Query, Document: rows.Document{Title: j.pairs[i].Document.Title}}
		e.Facts = j.facts(i, belief)
		var thoughts []rows.Thought
		for _, c := range reasoned {
			f := j.findings[i][c.Name()]
			thoughts = append(thoughts, rows.Thought{Reasoning: tenths(f.Score), Answer: f.Answer})
		}
		expected := linear.Expected(belief)
		thoughts = append(thoughts, rows.Thought{Reasoning: tenths(expected), Answer: sumUp(expected)}, rows.Thought{})
		for _, t := range thoughts {
			e.Truth = append(e.Truth, t.Answer)
		}
		e.Truth[len(e.Truth)-1] = labels[j.gold[i]]
		target := j.soft[i]
		e.Teach = func(rng *rand.Rand) []rows.Thought {
			said := append([]rows.Thought(nil), thoughts...)
			label := labels[j.gold[i]]
			if r.soft {
				label = labels[draw(rng, target)]
			}
			said[len(said)-1] = rows.Thought{Reasoning: tenths(expected), Answer: label}
			return said
		}
		return e
	}
	trained, tested := make([]rows.Example, len(train)), map[int][]rows.Example{}
	for k, i := range train {
		trained[k] = make1(i, b.Train[k])
	}
	for k, i := range test {
		tested[j.fold[i]] = append(tested[j.fold[i]], make1(i, b.Test[k]))
	}
	at := rows.Shuffled(len(trained), r.seed)
	s := &rows.Source{
		Name:   fmt.Sprintf("Chorus without folds %d and %d", r.out[0], r.out[1]),
		Labels: labels, Meanings: meanings, Relevant: "2", Compact: true,
		Input: func(e rows.Example) string {
			var parts []string
			for _, f := range e.Facts {
				parts = append(parts, f.Name+" "+f.Value)
			}
			return strings.Join(parts, "\n")
		},
		Train: func(i int) rows.Example { return trained[at(i)] }, Size: len(trained),
	}
	for _, c := range reasoned {
		s.Steps = append(s.Steps, task.Step[rows.Example]{
			Name: c.Name(), Instruction: "Apply the criterion.", Answers: c.Answers(), Rule: rows.TruthRule(len(s.Steps)),
			Criteria: []prompt.Criterion[rows.Example]{{Name: c.Name(), Text: c.Sentence()}},
		})
	}
	s.Steps = append(s.Steps, task.Step[rows.Example]{
		Name: "evidence", Instruction: "Sum up what all criteria say together.", Answers: evidence, Rule: rows.TruthRule(len(s.Steps)),
	})
	s.Steps = append(s.Steps, task.Step[rows.Example]{
		Name: "grade", Instruction: "Give the grade.", Answers: labels, Rule: rows.TruthRule(len(s.Steps)),
	})
	for _, f := range r.out {
		s.Tests = append(s.Tests, rows.TestSet{Name: fmt.Sprintf("fold %d", f), Examples: tested[f]})
	}
	s.Tests = append(s.Tests, rows.TestSet{Name: "train", Examples: trained[:min(len(trained), taught)]})
	return s, nil
}

func draw(rng *rand.Rand, p []float64) int {
	u := rng.Float64()
	for k, v := range p {
		if u -= v; u < 0 {
			return k
		}
	}
	return linear.MostProbable(p)
}

// believe fits logistic regression on all criteria, on what training labels teach about
// words of titles, and on further numbers of each pair, if there are any. With gold it
// learns from the labels alone, without the raters' own.
func (j *judgements) believe(more [][]float64, gold bool, train, test []int) (*linear.Beliefs, error) {
	d := j.study.Data(study.Variant{Gold: gold})
	if more != nil {
		of := d.Features
		d.Features = func(train, rows []int) [][]float64 {
			out := of(train, rows)
			for k, i := range rows {
				out[k] = append(out[k], more[i]...)
			}
			return out
		}
	}
	return linear.CrossFit(d, train, test, linear.DefaultSettings())
}

func (j *judgements) queries() []string {
	all := make([]string, len(j.pairs))
	for i := range all {
		all[i] = j.pairs[i].Query
	}
	return all
}

// settings are the run file of every model that reasons.
func settings(seed uint64) relevance.Config {
	c := relevance.Default()
	c.Seed = seed
	c.Policy = relevance.Scratch{Vocab: 600, Shape: relevance.Shape{Dim: 64, Layers: 3, Heads: 4, FF: 176, MaxSeq: 320}}
	c.MaxTokens = 96
	c.Warmup = relevance.Warmup{Steps: 350, Batch: 16, LR: 3e-3, ProbePrompts: 64}
	c.Reinforce.Steps, c.Reinforce.Prompts, c.Reinforce.Group, c.Reinforce.LR = 40, 12, 8, 1e-4
	c.Reinforce.Credits = []relevance.NamedCredit{{Name: "outcome", Credit: sam.Outcome{}}, {Name: "mask", Credit: sam.Mask{}}}
	c.Validation.Rows = 0
	c.Student.Encoder = nil
	c.CheckpointEvery, c.SampleEvery, c.BaselineRows = 20, 20, 300
	return c
}

// train trains a model, or goes on, and returns the run's folder.
func (j *judgements) train(ctx context.Context, r reading, out string, w io.Writer) (string, error) {
	dir := filepath.Join(out, r.name())
	if _, err := relevance.ReadReport(dir); err == nil {
		return dir, nil // done before
	}
	src, err := j.source(r)
	if err != nil {
		return dir, err
	}
	o := relevance.Options{Out: w}
	if _, err := run.Open(dir); err == nil {
		o.Resume = true
	}
	_, err = relevance.Train(ctx, src, settings(r.seed), dir, o)
	return dir, err
}
