package taskfile

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode/utf8"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/task"
)

// builder makes the source of a task file.
type builder struct {
	f         *File
	o         Options
	task      *Task
	steps     []task.Step[rows.Example]
	exprs     []*expression // of each step's rule; nil where it has none
	whens     []condition
	judges    map[string]reward.Rule[rows.Example]
	template  *template.Template
	documents []rows.Document     // all there are, for the collection
	quote     func(string) string // a word as a trace cites it; nil where all is short
}

// condition is a criterion's, and where it stands in the file.
type condition struct {
	*expression
	path string
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// conditions lists every expression of the file by its path.
func (f *File) conditions() map[string]string {
	all := make(map[string]string)
	for i, s := range f.Steps {
		if s.Rule.Expr != "" {
			all[fmt.Sprintf("steps[%d].rule.expr", i)] = s.Rule.Expr
		}
		for j, c := range s.Criteria {
			if c.When != "" {
				all[fmt.Sprintf("steps[%d].criteria[%d].when", i, j)] = c.When
			}
		}
	}
	return all
}

// named is a name in an expression or a template, and where it stands there: line and
// column count from 1.
type named struct {
	name         string
	line, column int
}

// behind makes a name that stands behind a part of its text.
func behind(before, name string) named {
	line := before[strings.LastIndexByte(before, '\n')+1:]
	return named{name, 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(line)}
}

// mention is a name in the text of a setting.
type mention struct {
	path string
	named
}

// mentions lists the columns or the fields that expressions and the template name.
func (f *File) mentions(of string) (all []mention) {
	add := func(path string, names map[string][]named) {
		for _, n := range names[of] {
			all = append(all, mention{path, n})
		}
	}
	conditions := f.conditions()
	for _, path := range sortedKeys(conditions) {
		add(path, expressionNames(conditions[path]))
	}
	add(inputPath, templateNames(f.Prompt.Input))
	return all
}

// keep lists the columns that the task needs, besides those given.
func (f *File) keep(given []string) []string {
	out := slices.Clone(given)
	add := func(names ...string) {
		for _, n := range names {
			if n != "" && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	for _, s := range f.Steps {
		add(s.Rule.Truth, s.Rule.Reason)
	}
	for _, m := range f.mentions("columns") {
		add(m.name)
	}
	add(f.Split.Column)
	return out
}

// compile makes steps, rules and the template, all that needs no data.
func (b *builder) compile() error {
	f := b.f
	for _, c := range f.Criteria {
		made, err := criteria.New(c.Kind, c.Params)
		if err != nil {
			return err // Validate has made it
		}
		b.task.Criteria = append(b.task.Criteria, made)
	}
	asked := &prompt.Template[rows.Example]{Input: b.input}
	if err := b.openJudges(asked); err != nil {
		return err
	}
	var errs []error
	sc := scope{criteria: f.criteriaNames(), columns: f.keep(f.Data.Pairs.Columns.Keep)}
	for i := range f.Steps {
		errs = append(errs, b.compileStep(i, sc))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	d := task.Definition[rows.Example]{Steps: b.steps, Input: rows.Render}
	if err := d.Template().Validate(); err != nil {
		return f.at("steps", "%s", strings.ReplaceAll(err.Error(), "prompt: ", ""))
	}
	asked.Steps = d.Template().Steps
	return b.parseInput()
}

func (b *builder) compileStep(i int, sc scope) error {
	f := b.f
	s := &f.Steps[i]
	path := fmt.Sprintf("steps[%d]", i)
	out := task.Step[rows.Example]{Name: s.Name, Instruction: s.Instruction, Answers: s.Answers}
	var errs []error
	for j, c := range s.Criteria {
		pc := prompt.Criterion[rows.Example]{Name: c.Name, Text: c.Text}
		if c.When != "" {
			at := fmt.Sprintf("%s.criteria[%d].when", path, j)
			x, err := f.compile(at, c.When, sc, false)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			pc.When = x.holds
			b.whens = append(b.whens, condition{x, at})
		}
		out.Criteria = append(out.Criteria, pc)
	}
	b.exprs = append(b.exprs, nil)
	earlier := make([]string, 0, i)
	for _, before := range f.Steps[:i] {
		earlier = append(earlier, before.Name)
	}
	switch r := &s.Rule; {
	case r.Criterion != "":
		made := b.task.Criteria[slices.Index(sc.criteria, r.Criterion)]
		if out.Answers == nil {
			out.Answers = made.Answers()
		}
		for _, a := range made.Answers() {
			if !slices.Contains(out.Answers, a) {
				errs = append(errs, f.at(path+".answers", "lack %q, which the criterion %q can give", a, r.Criterion))
			}
		}
		if out.Criteria == nil {
			out.Criteria = []prompt.Criterion[rows.Example]{{Name: made.Name(), Text: made.Sentence()}}
		}
		out.Rule = rows.TruthRule(i)
	case r.Truth != "":
		out.Rule = rows.TruthRule(i)
	case r.Expr != "":
		sc.earlier, sc.answer = earlier, true
		x, err := f.compile(path+".rule.expr", r.Expr, sc, true)
		if err != nil {
			errs = append(errs, err)
			break
		}
		b.exprs[i], out.Rule = x, x.rule(earlier)
	case r.Judge != "":
		judge, ok := b.judges[r.Judge]
		if !ok {
			errs = append(errs, f.at(path+".rule.judge", "no judge %q was given, only: %s", r.Judge, strings.Join(sortedKeys(b.judges), ", ")))
		}
		out.Rule = judge
		if judge == nil && i == len(f.Steps)-1 {
			out.Rule = rows.TruthRule(i)
		}
	case i == len(f.Steps)-1:
		out.Rule = rows.TruthRule(i)
	}
	if i == len(f.Steps)-1 {
		for _, l := range f.Labels {
			out.Answers = append(out.Answers, l.Name)
			if l.Meaning != "" && s.Criteria == nil {
				out.Criteria = append(out.Criteria, prompt.Criterion[rows.Example]{Name: l.Name, Text: l.Meaning})
			}
		}
	}
	b.steps = append(b.steps, out)
	return errors.Join(errs...)
}

// View is what the template of the input sees of a pair. Every value is one line.
type View struct {
	// Query, Title and Body are the texts.
	Query, Title, Body string
	// Fields are the document's fields and Facts the criteria's findings, each with
	// .Name and .Value.
	Fields, Facts []rows.Field

	example *rows.Example
}

// Field returns the value of a field of the document, "" if there is none.
func (v View) Field(name string) string {
	value, _ := v.example.Document.Field(name)
	return value
}

// Fact returns what the criterion of a name has found, "" if it is no fact.
func (v View) Fact(name string) string {
	for _, f := range v.Facts {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Column returns a column of the data that is kept, as each that a template names is.
func (v View) Column(name string) string { return rows.Line(v.example.Columns[name]) }

func view(e *rows.Example) View {
	return View{e.Query, e.Document.Title, e.Document.Body, e.Document.Fields, e.Facts, e}
}

// inputPath is the setting of the template.
const inputPath = "prompt.input"

var templateError = regexp.MustCompile(`(?s)^template: input:(\d+)(?::(\d+))?: (.*)$`)

// parseInput parses the template and tries it on an empty pair.
func (b *builder) parseInput() error {
	if b.f.Prompt.Input == "" {
		return nil
	}
	t, err := template.New("input").Option("missingkey=error").Parse(b.f.Prompt.Input)
	if err == nil {
		err = t.Execute(&strings.Builder{}, view(&rows.Example{}))
	}
	if err != nil {
		return b.templateError(err, "")
	}
	b.template = t
	return b.checkFacts()
}

// checkFacts makes sure that the facts that the template names are the file's. Without
// criteria, a generator may have some of its own.
func (b *builder) checkFacts() error {
	if b.f.Data.Generated != "" && len(b.f.Criteria) == 0 {
		return nil
	}
	var facts []string
	for i := range b.f.Criteria {
		if c := &b.f.Criteria[i]; c.Fact {
			facts = append(facts, c.name())
		}
	}
	var errs []error
	for _, n := range templateNames(b.f.Prompt.Input)["facts"] {
		if !slices.Contains(facts, n.name) {
			errs = append(errs, b.f.within(inputPath, n.line, n.column, "no criterion that is a fact is called %q; the file's are: %s", n.name, strings.Join(facts, ", ")))
		}
	}
	return errors.Join(errs...)
}

// checkFields makes sure that each field that expressions and the template name is one
// that a document has, or that the columns of the data declare.
func (b *builder) checkFields(documents []rows.Document) error {
	mentions := b.f.mentions("fields")
	if len(mentions) == 0 {
		return nil
	}
	d := &b.f.Data
	tables := []*rows.Table{&d.Pairs, d.Documents, d.Validation}
	for i := range d.Tests {
		tables = append(tables, &d.Tests[i].Pairs)
	}
	known := make(map[string]bool)
	for _, t := range tables {
		if t == nil {
			continue
		}
		for _, f := range t.Columns.Fields {
			if !strings.Contains(f.Column, "*") {
				known[f.Name] = true
			}
		}
	}
	for _, d := range documents {
		for _, f := range d.Fields {
			known[f.Name] = true
		}
	}
	const listed = 10
	names := sortedKeys(known)
	if len(names) > listed {
		names = append(names[:listed], "...")
	}
	var errs []error
	for _, m := range mentions {
		if known[m.name] {
			continue
		}
		there := "; the fields are " + strings.Join(names, ", ")
		if len(names) == 0 {
			there = " or any other; fields, under the columns of the data, makes fields of columns"
		}
		errs = append(errs, b.f.within(m.path, m.line, m.column, "no document has the field %q%s", m.name, there))
	}
	return errors.Join(errs...)
}

// templateError is the error of a template; on, if not empty, says on which pair.
func (b *builder) templateError(err error, on string) error {
	m := templateError.FindStringSubmatch(err.Error())
	if m == nil {
		return b.f.at(inputPath, "%s%v", on, err)
	}
	line, _ := strconv.Atoi(m[1])
	column, _ := strconv.Atoi(m[2])
	return b.f.within(inputPath, line, column+1, "%s%s", on, m[3])
}

// collections are what the methods of [View] look up by name.
var collections = map[string]string{"Column": "columns", "Field": "fields", "Fact": "facts"}

// templateNames returns what of columns, fields and facts a template names. One with
// errors names nothing; parseInput says what is wrong with it.
func templateNames(text string) map[string][]named {
	names := make(map[string][]named)
	t, err := template.New("input").Parse(text)
	if err != nil {
		return nil
	}
	var look func(n parse.Node)
	branch := func(b *parse.BranchNode) {
		look(b.Pipe)
		look(b.List)
		look(b.ElseList)
	}
	look = func(n parse.Node) {
		switch n := n.(type) {
		case *parse.ListNode:
			if n == nil {
				return // no else
			}
			for _, inner := range n.Nodes {
				look(inner)
			}
		case *parse.ActionNode:
			look(n.Pipe)
		case *parse.IfNode:
			branch(&n.BranchNode)
		case *parse.RangeNode:
			branch(&n.BranchNode)
		case *parse.WithNode:
			branch(&n.BranchNode)
		case *parse.TemplateNode:
			look(n.Pipe)
		case *parse.PipeNode:
			if n == nil {
				return // {{template "name"}}
			}
			for _, command := range n.Cmds {
				look(command)
			}
		case *parse.CommandNode:
			for _, inner := range n.Args {
				look(inner)
			}
			if len(n.Args) != 2 {
				break
			}
			name, isText := n.Args[1].(*parse.StringNode)
			method := n.Args[0].String()
			if of := collections[method[strings.LastIndexByte(method, '.')+1:]]; isText && of != "" {
				names[of] = append(names[of], behind(text[:name.Position()], name.Text))
			}
		}
	}
	for _, t := range t.Templates() {
		if t.Tree != nil {
			look(t.Root)
		}
	}
	return names
}

// input writes a pair as the model reads it. A pair from elsewhere on which the
// template fails is written as without a template; those of the data have been tried.
func (b *builder) input(e rows.Example) string {
	if b.template == nil {
		return rows.Render(e)
	}
	var out strings.Builder
	if err := b.template.Execute(&out, view(&e)); err != nil {
		return rows.Render(e)
	}
	return strings.TrimRight(out.String(), "\n")
}
