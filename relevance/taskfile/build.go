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
	all := f.conditions()
	for _, path := range sortedKeys(all) {
		add(columnsOf(all[path])...)
	}
	add(templateColumns(f.Prompt.Input)...)
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
	return nil
}

// templateError is the error of a template; on, if not empty, says on which pair.
func (b *builder) templateError(err error, on string) error {
	m := templateError.FindStringSubmatch(err.Error())
	if m == nil {
		return b.f.at("prompt.input", "%s%v", on, err)
	}
	line, _ := strconv.Atoi(m[1])
	column, _ := strconv.Atoi(m[2])
	return b.f.within("prompt.input", line, column+1, "%s%s", on, m[3])
}

// templateColumns returns the columns that a template names. One with errors has none;
// parseInput says what is wrong with it.
func templateColumns(text string) (names []string) {
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
			if len(n.Args) == 2 && strings.HasSuffix(n.Args[0].String(), ".Column") {
				if name, ok := n.Args[1].(*parse.StringNode); ok {
					names = append(names, name.Text)
				}
			}
		}
	}
	for _, t := range t.Templates() {
		if t.Tree != nil {
			look(t.Root)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
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
