package taskfile

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/expr-lang/expr"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/task"
)

// collect prepares the collection of all documents for the criteria.
func (b *builder) collect(documents []rows.Document) {
	if b.task.Collection != nil || len(b.task.Criteria) == 0 && b.f.Data.Weak == nil {
		return
	}
	roles := criteria.DefaultRoles()
	if r := b.f.Roles; r != nil {
		for _, c := range []struct {
			given []string
			role  *[]string
		}{{r.Brand, &roles.Brand}, {r.Type, &roles.Type}, {r.Compatible, &roles.Compatible}} {
			if c.given != nil {
				*c.role = c.given
			}
		}
	}
	b.task.Collection = criteria.NewCollection(rows.Different(documents), roles)
}

// noteOrder says in the report how labels that are numbers and descend are taken.
func (b *builder) noteOrder() {
	if up, _ := b.f.order(); !up {
		r, all := b.task.Reports[0], b.f.Labels
		r.Notes = append(r.Notes, b.f.at("labels", "%s descend: %s is taken as the least relevant, %s as the most", b.f.labelNames(), all[0].Name, all[len(all)-1].Name).Error())
	}
}

// noteLacks says in the report what the criteria need that no document has.
func (b *builder) noteLacks() {
	r := b.task.Reports[0]
	for i, c := range b.task.Criteria {
		for _, lack := range b.task.Collection.Lacks(c) {
			r.Notes = append(r.Notes, b.f.at(fmt.Sprintf("criteria[%d]", i), "%q tells little: %s", b.f.Criteria[i].name(), lack).Error())
		}
	}
}

// find notes what the criteria find on a pair. A finding that is a fact stays as it was
// on the whole document.
func (b *builder) find(e rows.Example) rows.Example {
	if len(b.task.Criteria) == 0 {
		return e
	}
	q, d := b.task.Collection.Query(e.Query), b.task.Collection.Document(e.Document)
	before, facts := e.Found, e.Facts
	e.Found, e.Facts = make([]rows.Found, len(b.task.Criteria)), nil
	for i, c := range b.task.Criteria {
		if b.f.Criteria[i].Fact && before != nil {
			e.Found[i] = before[i]
			continue
		}
		f := c.Judge(q, d)
		e.Found[i] = rows.Found{Name: b.f.Criteria[i].name(), Answer: f.Answer, Score: f.Score, Reason: f.Reason}
		if b.f.Criteria[i].Fact {
			e.Facts = append(e.Facts, rows.Field{Name: b.f.Criteria[i].name(), Value: f.Fact})
		}
	}
	if before != nil {
		e.Facts = facts
	}
	return e
}

// completeAll completes pairs; with a clipper, on what the model can read.
func (b *builder) completeAll(es []rows.Example, teach bool, c rows.Clipper) ([]rows.Example, error) {
	out := make([]rows.Example, len(es))
	errs := make([]error, len(es))
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(es); i += workers {
				out[i], errs[i] = b.complete(es[i], teach)
			}
		})
	}
	wg.Wait()
	for i := range es {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if c == nil {
			continue
		}
		clipped, err := c.Clip(out[i])
		if err != nil {
			err = b.tooLong(err)
		} else {
			b := *b
			b.quote = c.Quote
			out[i], err = b.complete(clipped, teach)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// tooLong makes an error about a pair that does not fit into a prompt one about the
// prompt, where the steps take most of the prompts of all pairs.
func (b *builder) tooLong(err error) error {
	var row *rows.RowError
	if b.f.Prompt.Compact || !errors.As(err, &row) {
		return err
	}
	d := task.Definition[rows.Example]{System: b.f.Prompt.System, Steps: b.steps, Input: b.input}
	with := len(d.Template().Render(rows.Example{}))
	d.Compact = true
	if steps := with - len(d.Template().Render(rows.Example{})); 2*steps > with {
		at := b.f.at("prompt", "the instructions and criteria of the steps take %d of the %d characters of a prompt without its pair: set compact: true, which leaves them out, shorten them, or train a model that reads more; %v", steps, with, err).(*Error)
		at.cause = err
		return at
	}
	return err
}

// complete adds to a pair what the task knows of it: the criteria's findings, the truth
// of every step, and how a teacher would reason. An error is about the row.
func (b *builder) complete(e rows.Example, teach bool) (rows.Example, error) {
	label := e.Label()
	e = b.find(rows.OneLine(e))
	thoughts := make([]rows.Thought, len(b.steps))
	truth, names := make([]string, len(b.steps)), make([]string, len(b.steps))
	last := len(b.steps) - 1
	for k := range b.steps {
		names[k] = b.steps[k].Name
		r := &b.f.Steps[k].Rule
		var reason string
		var err error
		switch {
		case k == last:
			truth[k], reason = label, "so"
			if r.Expr != "" { // to see that it does not fail
				_, err = b.exprs[k].truth(&e, names[:k], truth[:k], b.steps[k].Answers)
			}
		case r.Criterion != "":
			f := e.Found[slices.Index(b.f.criteriaNames(), r.Criterion)]
			truth[k], reason = f.Answer, f.Reason
		case r.Truth != "":
			truth[k], reason = columnTruth(&e, r.Truth), e.Columns[r.Reason]
		case r.Expr != "":
			truth[k], err = b.exprs[k].truth(&e, names[:k], truth[:k], b.steps[k].Answers)
			if truth[k] != "" {
				reason = "so"
			}
		}
		if err != nil {
			return e, b.f.at(fmt.Sprintf("steps[%d].rule.expr", k), "on %s: %s", place(&e), firstLine(err))
		}
		// Rows of files have been checked: a column's truth may be a generator's, as the label.
		if bad := b.allowed(&e, k, truth[k], cmp.Or(r.Truth, "step "+names[k])); bad != nil {
			if r.Expr != "" {
				return e, b.f.at(fmt.Sprintf("steps[%d].rule.expr", k), "on %s: gives %s", place(&e), strings.TrimPrefix(bad.Problem, "is "))
			}
			return e, bad
		}
		thoughts[k] = rows.Thought{Reasoning: b.cite(reason), Answer: truth[k]}
	}
	e.Truth = truth
	if err := b.written(&e); err != nil {
		return e, err
	}
	if teach && (e.Teach == nil || b.quote != nil) {
		if err := b.writable(&e, thoughts); err != nil {
			return e, err
		}
		e.Teach = func(rng *rand.Rand) []rows.Thought { return b.trace(rng, thoughts) }
	}
	return e, nil
}

// columnTruth is the truth that stands in a column of a pair.
func columnTruth(e *rows.Example, column string) string { return strings.TrimSpace(e.Columns[column]) }

// allowed returns the error that a truth is none of the answers of step k, or nil.
func (b *builder) allowed(e *rows.Example, k int, truth, field string) *rows.RowError {
	a := b.steps[k].Answers
	if truth == "" || len(a) == 0 || slices.Contains(a, truth) {
		return nil
	}
	return &rows.RowError{File: e.File, Line: e.Line, Field: field, Problem: fmt.Sprintf("is %q, want one of %s", truth, strings.Join(a, ", "))}
}

// written makes sure that the prompt of a pair is written as the task says: that no
// condition fails, which would then not hold, and no template, for which [builder.input]
// would use another.
func (b *builder) written(e *rows.Example) error {
	if len(b.whens) > 0 {
		env := environment(e)
		for _, c := range b.whens {
			if _, err := expr.Run(c.program, env); err != nil {
				return b.f.at(c.path, "on %s: %s", place(e), firstLine(err))
			}
		}
	}
	if b.template == nil {
		return nil
	}
	if err := b.template.Execute(io.Discard, view(e)); err != nil {
		return b.templateError(err, "on "+place(e)+": ")
	}
	return nil
}

// place says where a pair stands, or which it is if it is made up.
func place(e *rows.Example) string {
	if e.File == "" {
		return "pair " + e.ID
	}
	return fmt.Sprintf("%s:%d", e.File, e.Line)
}

// noteContradictions says in the report where the last step's rule finds the label wrong
// although the steps before are right.
func (b *builder) noteContradictions(train []rows.Example) {
	last := len(b.steps) - 1
	x := b.exprs[last]
	if x == nil {
		return
	}
	n, wrong, first := 0, 0, ""
	for i := range train {
		e := &train[i]
		env, answers, known := environment(e), make(map[string]any), e.Label() != ""
		for k, s := range b.steps[:last] {
			answers[s.Name] = e.Truth[k]
			known = known && (e.Truth[k] != "" || !slices.Contains(x.answers, s.Name))
		}
		if !known {
			continue
		}
		env["answers"] = answers
		n++
		if ok, _, err := x.right(env, e.Label()); err == nil && !ok {
			if wrong++; wrong == 1 {
				first = place(e)
			}
		}
	}
	if wrong > 0 {
		r := b.task.Reports[0]
		r.Notes = append(r.Notes, b.f.at(fmt.Sprintf("steps[%d].rule.expr", last),
			"finds the label of %d of %d training pairs wrong although the steps before are right, the first at %s", wrong, n, first).Error())
	}
}

func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// mostCited is how many words of a reason a trace has.
const mostCited = 12

// cite cuts a reason to what a trace should have of it.
func (b *builder) cite(reason string) string {
	words := strings.Fields(rows.Line(reason))
	words = words[:min(len(words), mostCited)]
	if b.quote != nil {
		for i, w := range words {
			words[i] = b.quote(w)
		}
	}
	return strings.Join(words, " ")
}

// writable makes sure that a trace with these thoughts can be written: a reason that
// quotes what the format does not allow is left out.
func (b *builder) writable(e *rows.Example, thoughts []rows.Thought) error {
	specs := make([]prompt.StepSpec, len(b.steps))
	for k := range b.steps {
		specs[k] = prompt.StepSpec{Name: b.steps[k].Name, Answers: b.steps[k].Answers}
	}
	for k := range thoughts {
		answer := thoughts[k].Answer
		if answer == "" {
			continue
		}
		var syntax prompt.Tagged
		if _, err := syntax.Write(specs, k, thoughts[k].Reasoning, answer); err == nil {
			continue
		}
		thoughts[k].Reasoning = ""
		if _, err := syntax.Write(specs, k, "", answer); err != nil {
			return &rows.RowError{File: e.File, Line: e.Line, Field: b.f.Steps[k].Rule.Truth, Problem: fmt.Sprintf("is %q, which no trace can state: %v", answer, err)}
		}
	}
	return nil
}

// unknownAnswer is what a teacher answers in a step without a list of answers whose
// truth nobody knows.
const unknownAnswer = "unknown"

// trace writes one trace. Where the truth of a step is not known, it states one of the
// allowed answers at random and no thought: so the model learns how the step is written
// and nothing about what to answer.
func (b *builder) trace(rng *rand.Rand, thoughts []rows.Thought) []rows.Thought {
	out := slices.Clone(thoughts)
	for k := range out {
		noise := b.f.Teacher.Noise
		if k == len(out)-1 {
			noise = b.f.Teacher.LabelNoise
		}
		answers := b.steps[k].Answers
		switch {
		case out[k].Answer == "" && len(answers) == 0:
			out[k].Answer = unknownAnswer
		case out[k].Answer == "":
			out[k].Answer = answers[rng.IntN(len(answers))]
		case len(answers) > 1 && noise > 0 && rng.Float64() < noise:
			out[k].Answer = answers[(slices.Index(answers, out[k].Answer)+1+rng.IntN(len(answers)-1))%len(answers)]
		}
	}
	return out
}
