package jinja

import (
	"context"
	"io"

	"github.com/nikolalohinski/gonja/v2/builtins"
	statements "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// The bounds of one rendering, as the package documentation tells them.
const (
	maxStatements = 250_000
	maxWritten    = 64 << 20
	maxString     = 16 << 20
	maxDepth      = 100
)

// runKey is the variable under which a rendering finds its run. No template
// can name it.
const runKey = "\x00run"

// run is the state of one rendering.
type run struct {
	ctx        context.Context
	statements int
	written    int
	depth      int // of macro calls
}

// step counts statements.
func (r *run) step(n int) error {
	if r.statements += n; r.statements > maxStatements {
		return fault("more than %d statements run", maxStatements)
	}
	return r.ctx.Err()
}

func runOf(r *exec.Renderer) *run {
	v, _ := r.Environment.Context.Get(runKey)
	return v.(*run)
}

// limited counts what is written.
type limited struct {
	io.Writer
	run *run
}

func (r *run) limit(w io.Writer) io.Writer {
	if _, ok := w.(limited); ok {
		return w
	}
	return limited{w, r}
}

func (l limited) Write(p []byte) (int, error) {
	if l.run.written += len(p); l.run.written > maxWritten {
		return 0, fault("more than %d bytes written", maxWritten)
	}
	if err := l.run.step(1); err != nil {
		return 0, err
	}
	return l.Writer.Write(p)
}

// guarded is a statement that is counted and knows its line.
type guarded struct {
	nodes.ControlStructure
	at *tokens.Token
	// before and after, if not nil, are called around the statement.
	before, after func(r *exec.Renderer) error
}

// Position implements nodes.Node; the engine's own is missing for some.
func (g guarded) Position() *tokens.Token { return g.at }

// Execute implements exec.ControlStructure.
func (g guarded) Execute(r *exec.Renderer, tag *nodes.ControlStructureBlock) error {
	run := runOf(r)
	r.Output = run.limit(r.Output)
	err := run.step(1)
	if err == nil && g.before != nil {
		err = g.before(r)
	}
	if err == nil {
		err = g.ControlStructure.(exec.ControlStructure).Execute(r, tag)
	}
	if err == nil && g.after != nil {
		err = g.after(r)
	}
	if err != nil {
		return lineError{tag.Location.Line, err}
	}
	return nil
}

// statementSet holds the statements of transformers' environment.
func statementSet() *exec.ControlStructureSet {
	depth := 0 // the statements within which the parser is
	set := map[string]parser.ControlStructureParser{"generation": parseGeneration}
	for name, wrap := range map[string]func(g *guarded, first, second *tokens.Token){
		"if": nil, "with": nil, "filter": nil, "raw": nil, "break": nil, "continue": nil, "call": nil,
		"for": guardFor, "set": guardSet, "macro": guardMacro,
	} {
		parse, ok := builtins.ControlStructures.Get(name)
		if !ok {
			panic("jinja: the engine has no statement " + name)
		}
		set[name] = func(p, args *parser.Parser) (nodes.ControlStructure, error) {
			if depth++; depth > maxBlocks {
				return nil, &parser.SyntaxError{Message: "statements nest too deep", Line: p.Current().Line}
			}
			defer func() { depth-- }()
			first, second := args.Current(), args.Peek()
			s, err := parse(p, args)
			if err != nil {
				return nil, err
			}
			g := guarded{ControlStructure: s, at: first}
			if wrap != nil {
				wrap(&g, first, second)
			}
			return g, nil
		}
	}
	return exec.NewControlStructureSet(set)
}

// guardFor counts the turns of a loop.
func guardFor(g *guarded, _, _ *tokens.Token) {
	loop := g.ControlStructure.(*statements.ForControlStructure)
	g.before = func(r *exec.Renderer) error { return runOf(r).step(r.Eval(loop.ObjectEvaluator).Len()) }
}

// guardSet lets a template assign to names and inside of namespaces alone, and
// bounds the strings that are built up there.
func guardSet(g *guarded, target, next *tokens.Token) {
	g.before = func(r *exec.Renderer) error {
		held, _ := r.Environment.Context.Get(target.Val)
		_, namespace := exec.ToValue(held).Interface().(map[string]any)
		if inside := next != nil && (next.Val == "." || next.Val == "["); inside && !namespace {
			return fault("%s is no namespace, to which alone attributes can be assigned", target.Val)
		}
		return nil
	}
	g.after = func(r *exec.Renderer) error {
		held, _ := r.Environment.Context.Get(target.Val)
		if longest(held) > maxString {
			return fault("a string of more than %d bytes in %s", maxString, target.Val)
		}
		return nil
	}
}

// longest returns the length of a string, or of the longest in a namespace.
func longest(held any) int {
	switch v := exec.ToValue(held).Interface().(type) {
	case string:
		return len(v)
	case map[string]any:
		n := 0
		for _, item := range v {
			if s, ok := exec.ToValue(item).Interface().(string); ok {
				n = max(n, len(s))
			}
		}
		return n
	}
	return 0
}

// guardMacro bounds how deep calls of a macro go.
func guardMacro(g *guarded, _, _ *tokens.Token) {
	name := g.ControlStructure.(*statements.MacroControlStructure).Name
	g.after = func(r *exec.Renderer) error {
		defined, _ := r.Environment.Context.Get(name)
		macro, run := defined.(exec.Macro), runOf(r)
		r.Environment.Context.Set(name, exec.Macro(func(params *exec.VarArgs) *exec.Value {
			if run.depth++; run.depth > maxDepth {
				return exec.AsValue(fault("macro calls go deeper than %d", maxDepth))
			}
			defer func() { run.depth-- }()
			if err := run.step(1); err != nil {
				return exec.AsValue(err)
			}
			return macro(params)
		}))
		return nil
	}
}

// generation is transformers' mark of what the model is to learn. It only
// writes what it encloses.
type generation struct{ body *nodes.Wrapper }

func (g generation) Position() *tokens.Token { return g.body.Position() }
func (g generation) String() string          { return "generation" }

// Execute implements exec.ControlStructure.
func (g generation) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	return r.ExecuteIfWrapper(g.body)
}

func parseGeneration(p, args *parser.Parser) (nodes.ControlStructure, error) {
	if !args.End() {
		return nil, args.Error("generation takes no arguments", args.Current())
	}
	body, end, err := p.WrapUntil("endgeneration")
	if err != nil {
		return nil, err
	}
	if !end.End() {
		return nil, end.Error("endgeneration takes no arguments", end.Current())
	}
	return guarded{ControlStructure: generation{body}, at: body.Position()}, nil
}
