package taskfile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/reward"
)

const (
	// maxNodes bounds the length of an expression, and maxNested how many loops such
	// as any(words(body), ...) stand in each other: so its cost is bounded by the
	// square of the texts' length. The memory of a run is bounded by package vm.
	maxNodes  = 500
	maxNested = 2
)

// expression is a compiled expression over a pair and, for a rule, what the steps
// before have answered.
type expression struct {
	program *vm.Program
	// boolean expressions say whether an answer is right; others are the right answer.
	boolean bool
	// answers are the earlier steps whose answers it uses.
	answers []string
}

// usage collects what an expression uses.
type usage struct {
	named   map[string][]named // of columns, fields and answers
	others  int                // uses of answers otherwise than by name
	answer  bool
	deepest int
}

// expressionNames returns what of columns, fields and answers an expression names. One
// with errors names nothing; compile says what is wrong with it.
func expressionNames(text string) map[string][]named {
	program, err := expr.Compile(text, expr.AllowUndefinedVariables())
	if err != nil {
		return nil
	}
	return use(program.Node(), text).named
}

// use walks through an expression, whose text is given.
func use(n ast.Node, text string) *usage {
	u := &usage{named: make(map[string][]named)}
	source := []rune(text)
	u.deepest = nesting(n)
	ast.Find(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IdentifierNode:
			u.answer = u.answer || n.Value == "answer"
			if n.Value == "answers" {
				u.others++
			}
		case *ast.MemberNode:
			name, isName := n.Property.(*ast.StringNode)
			of, isIdentifier := n.Node.(*ast.IdentifierNode)
			if !isName || !isIdentifier {
				break
			}
			if of.Value == "answers" {
				u.others--
			}
			switch of.Value {
			case "columns", "fields", "answers":
				before := source[:min(name.Location().From, len(source))]
				u.named[of.Value] = append(u.named[of.Value], behind(string(before), name.Value))
			}
		}
		return false
	})
	return u
}

// nesting is how deep loops stand in each other.
func nesting(n ast.Node) int {
	v := &nestingVisitor{depth: make(map[ast.Node]int)}
	ast.Walk(&n, v)
	return v.deepest
}

// nestingVisitor sees children before parents: the depth of a node is its deepest
// child's, plus one if it is a loop's body.
type nestingVisitor struct {
	depth   map[ast.Node]int
	deepest int
}

func (v *nestingVisitor) Visit(n *ast.Node) {
	d := 0
	for _, c := range children(*n) {
		d = max(d, v.depth[c])
	}
	if _, ok := (*n).(*ast.PredicateNode); ok {
		d++
	}
	v.depth[*n] = d
	v.deepest = max(v.deepest, d)
}

// children lists the nodes right below a node.
func children(n ast.Node) []ast.Node {
	switch n := n.(type) {
	case *ast.UnaryNode:
		return []ast.Node{n.Node}
	case *ast.BinaryNode:
		return []ast.Node{n.Left, n.Right}
	case *ast.ChainNode:
		return []ast.Node{n.Node}
	case *ast.MemberNode:
		return []ast.Node{n.Node, n.Property}
	case *ast.SliceNode:
		return []ast.Node{n.Node, n.From, n.To}
	case *ast.CallNode:
		return append([]ast.Node{n.Callee}, n.Arguments...)
	case *ast.BuiltinNode:
		return append([]ast.Node{n.Map}, n.Arguments...)
	case *ast.PredicateNode:
		return []ast.Node{n.Node}
	case *ast.VariableDeclaratorNode:
		return []ast.Node{n.Value, n.Expr}
	case *ast.SequenceNode:
		return n.Nodes
	case *ast.ConditionalNode:
		return []ast.Node{n.Cond, n.Exp1, n.Exp2}
	case *ast.ArrayNode:
		return n.Nodes
	case *ast.MapNode:
		return n.Pairs
	case *ast.PairNode:
		return []ast.Node{n.Key, n.Value}
	}
	return nil
}

// scope says which names an expression may use besides those of the pair.
type scope struct {
	criteria, columns []string
	// earlier are the steps before; nil where there are no answers yet.
	earlier []string
	// answer is the judged step's own, for a rule.
	answer bool
}

// compile compiles an expression, which must be boolean or, where text is allowed, a
// text. Errors name the place in the file.
func (f *File) compile(path, source string, s scope, text bool) (*expression, error) {
	verdicts, answers, columns := types.Map{}, types.Map{}, types.Map{}
	for _, name := range s.criteria {
		verdicts[name] = types.Map{"answer": types.String, "score": types.Float, "reason": types.String}
	}
	for _, name := range s.columns {
		columns[name] = types.String
	}
	env := types.Map{
		"query": types.String, "title": types.String, "body": types.String,
		"fields": types.TypeOf(map[string]string{}), "columns": columns, "found": verdicts,
		"words": types.TypeOf(criteria.Words), "has": types.TypeOf(has),
	}
	for _, name := range s.earlier {
		answers[name] = types.String
	}
	if s.earlier != nil {
		env["answers"] = answers
	}
	if s.answer {
		env["answer"] = types.String
	}
	program, err := expr.Compile(source, expr.Env(env), expr.MaxNodes(maxNodes), expr.DisableBuiltin("now"))
	var at *file.Error
	switch {
	case errors.As(err, &at):
		return nil, f.within(path, at.Line, at.Column+1, "%s", at.Message)
	case err != nil:
		return nil, f.at(path, "%s", strings.TrimSpace(err.Error()))
	}
	u := use(program.Node(), source)
	if u.deepest > maxNested {
		return nil, f.at(path, "loops stand in each other %d deep, want at most %d", u.deepest, maxNested)
	}
	e := &expression{program: program}
	for _, n := range u.named["answers"] {
		e.answers = append(e.answers, n.name)
	}
	if u.others > 0 {
		e.answers = s.earlier
	}
	switch kind := fmt.Sprint(program.Node().Type()); {
	case kind == "bool":
		e.boolean = true
	case kind == "string" && text:
		if u.answer {
			return nil, f.at(path, "gives the right answer and asks for the step's own answer, want one of the two")
		}
	case text:
		return nil, f.at(path, "gives a value of type %s, want a text (the right answer) or a truth value", kind)
	default:
		return nil, f.at(path, "gives a value of type %s, want a truth value", kind)
	}
	return e, nil
}

// has reports whether a text has some words in a row, in singular or plural.
func has(text, words string) bool {
	t, w := criteria.NewText(text), criteria.NewText(words)
	at, _ := t.Find(w.Stems)
	return at >= 0
}

// environment holds what an expression sees of a pair.
func environment(e *rows.Example) map[string]any {
	fields, columns, found := make(map[string]string), make(map[string]any), make(map[string]any)
	for _, f := range e.Document.Fields {
		if _, ok := fields[f.Name]; !ok {
			fields[f.Name] = f.Value
		}
	}
	for name, v := range e.Columns {
		columns[name] = v
	}
	for _, v := range e.Found {
		found[v.Name] = map[string]any{"answer": v.Answer, "score": v.Score, "reason": v.Reason}
	}
	return map[string]any{
		"query": e.Query, "title": e.Document.Title, "body": e.Document.Body,
		"fields": fields, "columns": columns, "found": found, "words": criteria.Words, "has": has,
	}
}

// holds evaluates a condition on a pair; an error counts as false.
func (x *expression) holds(e rows.Example) bool {
	v, err := expr.Run(x.program, environment(&e))
	ok, _ := v.(bool)
	return err == nil && ok
}

// right evaluates a rule: whether an answer is right, and what the right one is if the
// expression gives it.
func (x *expression) right(env map[string]any, answer string) (ok bool, want string, err error) {
	env["answer"] = answer
	v, err := expr.Run(x.program, env)
	if err != nil {
		return false, "", err
	}
	if x.boolean {
		ok, _ = v.(bool)
		return ok, "", nil
	}
	want, _ = v.(string)
	return answer == want, want, nil
}

// truth returns the right answer of a step, given those of the steps before: "" if it
// is not known. An expression that judges an answer knows it if it accepts only one of
// the allowed ones.
func (x *expression) truth(e *rows.Example, names, before, allowed []string) (string, error) {
	env := environment(e)
	answers := make(map[string]any)
	for i, name := range names {
		answers[name] = before[i]
		if before[i] == "" && slices.Contains(x.answers, name) {
			return "", nil
		}
	}
	env["answers"] = answers
	if !x.boolean {
		_, want, err := x.right(env, "")
		return want, err
	}
	known := ""
	for _, a := range allowed {
		ok, _, err := x.right(env, a)
		if err != nil {
			return "", err
		}
		if ok && known != "" {
			return "", nil
		}
		if ok {
			known = a
		}
	}
	return known, nil
}

// rule judges a step by the expression, from what the completion has answered in the
// steps before: that the last step follows from them, for example. An answer that it
// fails on is wrong, for the policy wrote it.
func (x *expression) rule(names []string) reward.Rule[rows.Example] {
	return reward.RuleFunc[rows.Example](func(ctx context.Context, e rows.Example, t *prompt.Trace, step int) (reward.Score, error) {
		if step == reward.WholeCompletion {
			step = t.Final
		}
		env, answers := environment(&e), make(map[string]any)
		for i, name := range names {
			answers[name] = t.Steps[i].Answer
		}
		env["answers"] = answers
		answer := strings.TrimSpace(t.Steps[step].Answer)
		ok, _, err := x.right(env, answer)
		// A broken step is for reward's own rule to name.
		return reward.ExactLabel(func(rows.Example) string {
			if ok && err == nil {
				return answer
			}
			return answer + "?"
		}).Score(ctx, e, t, step)
	})
}
