package lexical

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/task"
)

// Task says how a source is made of judged pairs.
type Task struct {
	Name string
	// Seed fixes the order of the training examples.
	Seed uint64
	// Labels are the allowed labels in ascending order of relevance, and
	// Meanings, if given, says of each what it stands for.
	Labels, Meanings []string
	// Relevant is the smallest label that counts as relevant.
	Relevant string
	// Teacher writes the traces for the training examples.
	Teacher Teacher
}

// Teacher writes the traces for the supervised warm-up: the rules' thoughts
// for the inner steps, and for the last one the label that people gave. Each
// field is the probability of an error.
type Teacher struct {
	// Noise: an inner step states another of its answers.
	Noise float64
	// LabelNoise: the last step states another label.
	LabelNoise float64
}

// DefaultTeacher errs in one inner step in eight and one label in four.
func DefaultTeacher() Teacher { return Teacher{Noise: .125, LabelNoise: .25} }

// The names of the test sets.
const (
	Random   = "RANDOM"
	LongTail = "LONGTAIL"
)

// New returns a source of the given pairs. The last entry of a pair's Truth is its
// label; the others are not read. The test sets are
//
//   - RANDOM: all of test;
//   - LONGTAIL: those of its pairs whose query shares no stemmed word with
//     any training query; left out where there is none.
//
// New returns an error if train or test is empty.
func New(settings Task, train, test []rows.Example) (*rows.Source, error) {
	switch {
	case len(train) == 0:
		return nil, errors.New("no training pairs are left after the split by query; want at least one query on each side")
	case len(test) == 0:
		return nil, errors.New("no test pairs are left after the split by query; want at least one query on each side")
	}
	j := newJudge(train, test)
	prepare := func(es []rows.Example, teach bool) []rows.Example {
		out := make([]rows.Example, len(es))
		for i, e := range es {
			out[i] = j.example(&settings, e, teach)
		}
		return out
	}
	var trained []rows.Example
	at := rows.Shuffled(len(train), settings.Seed)
	steps := settings.steps()
	s := &rows.Source{
		Name:     settings.Name,
		System:   rows.CriteriaText(steps),
		Steps:    steps,
		Compact:  true,
		Labels:   settings.Labels,
		Meanings: settings.Meanings,
		Relevant: settings.Relevant,
		Input:    rows.Render,
		Train:    func(i int) rows.Example { return trained[at(i)] },
		Size:     len(train),
	}
	fill := func(train, test []rows.Example) {
		trained = prepare(train, true)
		random := prepare(test, false)
		s.Tests = []rows.TestSet{{Name: Random, Examples: random}}
		if tail := longTail(trained, random); len(tail) > 0 {
			s.Tests = append(s.Tests, rows.TestSet{Name: LongTail, Examples: tail})
		}
	}
	fill(train, test)
	s.Clip = func(c rows.Clipper) error {
		shortTrain, err := clipAll(train, c)
		if err != nil {
			return err
		}
		shortTest, err := clipAll(test, c)
		if err != nil {
			return err
		}
		j.quote = c.Quote
		fill(shortTrain, shortTest)
		return nil
	}
	return s, nil
}

func clipAll(es []rows.Example, c rows.Clipper) ([]rows.Example, error) {
	out := make([]rows.Example, len(es))
	for i, e := range es {
		var err error
		if out[i], err = c.Clip(oneLine(e)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// oneLine makes single spaces of the white space in the texts of an example.
func oneLine(e rows.Example) rows.Example {
	line := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	e.Query, e.Document.Title, e.Document.Body = line(e.Query), line(e.Document.Title), line(e.Document.Body)
	e.Document.Fields = slices.Clone(e.Document.Fields)
	for i, f := range e.Document.Fields {
		e.Document.Fields[i] = rows.Field{Name: line(f.Name), Value: line(f.Value)}
	}
	return e
}

// example completes a pair: truth of every step, teacher.
func (j *judge) example(settings *Task, e rows.Example, teach bool) rows.Example {
	label := e.Label()
	e = oneLine(e)
	inner := j.inner(&e)
	e.Truth = nil
	for _, th := range inner {
		e.Truth = append(e.Truth, th.Answer)
	}
	e.Truth = append(e.Truth, label)
	e.Teach = nil
	if teach {
		e.Teach = func(rng *rand.Rand) []rows.Thought {
			return settings.Teacher.trace(rng, inner, label, settings.Labels)
		}
	}
	return e
}

func (t Teacher) trace(rng *rand.Rand, inner [numInner]rows.Thought, label string, labels []string) []rows.Thought {
	thoughts := make([]rows.Thought, 0, numInner+1)
	for k, th := range inner {
		if rng.Float64() < t.Noise {
			th.Answer = another(rng, answers[k], th.Answer)
		}
		thoughts = append(thoughts, th)
	}
	if rng.Float64() < t.LabelNoise {
		label = another(rng, labels, label)
	}
	return append(thoughts, rows.Thought{Reasoning: "so", Answer: label})
}

// another returns one of the other answers, or the same where there is none.
func another(rng *rand.Rand, list []string, answer string) string {
	if len(list) < 2 {
		return answer
	}
	return list[(slices.Index(list, answer)+1+rng.IntN(len(list)-1))%len(list)]
}

// longTail returns the test examples whose query shares no stem with any
// training query.
func longTail(train, test []rows.Example) []rows.Example {
	known := make(stemSet)
	for _, e := range train {
		for _, s := range stems(e.Query) {
			known[s] = true
		}
	}
	var tail []rows.Example
	for _, e := range test {
		if !slices.ContainsFunc(stems(e.Query), func(s string) bool { return known[s] }) {
			tail = append(tail, e)
		}
	}
	return tail
}

func (settings *Task) steps() []task.Step[rows.Example] {
	type criterion = prompt.Criterion[rows.Example]
	grade := task.Step[rows.Example]{
		Name:        "grade",
		Instruction: "Give the relevance grade.",
		Answers:     settings.Labels,
		Rule:        rows.TruthRule(numInner),
	}
	for i, meaning := range settings.Meanings {
		grade.Criteria = append(grade.Criteria, criterion{Name: settings.Labels[i], Text: settings.Labels[i] + ": " + meaning})
	}
	return []task.Step[rows.Example]{
		{
			Name:        "head",
			Instruction: "Look for the query's last word in the title.",
			Criteria:    []criterion{{Name: "head noun", Text: "yes: the title has the word, in singular or plural; no: it does not."}},
			Answers:     answers[stepHead],
			Rule:        rows.TruthRule(stepHead),
		},
		{
			Name:        "coverage",
			Instruction: "Look for all words of the query.",
			Criteria:    []criterion{{Name: "all words", Text: "title: all are in the title; text: all are in title or body; part: one is missing."}},
			Answers:     answers[stepCoverage],
			Rule:        rows.TruthRule(stepCoverage),
		},
		{
			Name:        "accessory",
			Instruction: "Check whether the product only goes with what is wanted.",
			Criteria:    []criterion{{Name: "accessory", Text: "yes: the title names an accessory, such as a case or a cable, that the query does not; no: it names none."}},
			Answers:     answers[stepAccessory],
			Rule:        rows.TruthRule(stepAccessory),
		},
		{
			Name:        "supplier",
			Instruction: "Compare the supplier.",
			Criteria: []criterion{
				{
					Name: "supplier", Text: "match: the product's supplier is the one that the query names; mismatch: it is another.",
					When: func(e rows.Example) bool { return e.Truth[stepSupplier] != None },
				},
				{Name: "none named", Text: "none: the query names no supplier."},
			},
			Answers: answers[stepSupplier],
			Rule:    rows.TruthRule(stepSupplier),
		},
		grade,
	}
}
