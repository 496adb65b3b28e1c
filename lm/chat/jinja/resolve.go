package jinja

import (
	"slices"
)

// resolver finds the variable of every name, and what Jinja finds before a
// template runs: filters and tests that do not exist, and assignments to loop.
type resolver struct {
	parser *parser
	loops  int // around the statement
	inFor  int // loops around, in macros too
	last   int // the line that Jinja names for code without a line
}

// resolve prepares a template to run. It returns the scope of its top level.
func resolve(body []stmt, p *parser) *scope {
	v := &resolver{parser: p, last: 1}
	measure(body, 0)
	s := (*scope)(nil).block(body)
	v.body(body, s, false)
	if p.late != nil {
		panic(failure{p.late})
	}
	return s
}

// measure bounds the depth of the tree. The parser bounds its own recursion,
// but 1+1+1+… makes a deep tree without any.
func measure(body []stmt, depth int) {
	var expression func(e expr, depth int)
	expression = func(e expr, depth int) {
		if depth > maxNesting {
			panic(raiseAt(e.at(), ClassLimit, "the template nests deeper than %d", maxNesting))
		}
		for _, c := range children(e) {
			expression(c, depth+1)
		}
	}
	for _, s := range body {
		for _, e := range append(outerExprs(s), innerExprs(s)...) {
			expression(e, depth+1)
		}
		for _, b := range bodies(s) {
			measure(b, depth+1)
		}
	}
}

// innerExprs returns the expressions of a statement that outerExprs leaves out.
func innerExprs(s stmt) []expr {
	switch s := s.(type) {
	case *forStmt:
		if s.test != nil {
			return []expr{s.test}
		}
	case *setBlockStmt:
		if s.filter != nil {
			return []expr{s.filter}
		}
	case *macroStmt:
		return s.def.defaults
	case *callStmt:
		return s.def.defaults
	}
	return nil
}

// bodies returns the statements within a statement.
func bodies(s stmt) [][]stmt {
	switch s := s.(type) {
	case *ifStmt:
		return [][]stmt{s.body, s.other}
	case *forStmt:
		return [][]stmt{s.body, s.other}
	case *setBlockStmt:
		return [][]stmt{s.body}
	case *withStmt:
		return [][]stmt{s.body}
	case *macroStmt:
		return [][]stmt{s.def.body}
	case *callStmt:
		return [][]stmt{s.def.body}
	case *generationStmt:
		return [][]stmt{s.def.body}
	case *filterStmt:
		return [][]stmt{s.body}
	}
	return nil
}

// mentions tells whether a name is read anywhere in statements.
func mentions(body []stmt, name string) bool {
	var reads func(e expr) bool
	reads = func(e expr) bool {
		n, ok := e.(*nameExpr)
		return ok && n.name == name || slices.ContainsFunc(children(e), reads)
	}
	return slices.ContainsFunc(body, func(s stmt) bool {
		return slices.ContainsFunc(append(outerExprs(s), innerExprs(s)...), reads) ||
			slices.ContainsFunc(bodies(s), func(b []stmt) bool { return mentions(b, name) })
	})
}

// body resolves statements of a scope. soft says that a filter may be missing
// until it is used.
func (v *resolver) body(body []stmt, s *scope, soft bool) {
	for _, b := range body {
		v.stmt(b, s, soft)
	}
}

func (v *resolver) stmt(b stmt, s *scope, soft bool) {
	switch b := b.(type) {
	case *outputStmt:
		v.expr(b.arg, s, soft)
		if _, constant := b.arg.(*constExpr); !constant {
			v.last = b.arg.at()
		}
	case *ifStmt:
		v.last = b.at()
		v.expr(b.cond, s, soft)
		v.body(b.body, s, true)
		v.body(b.other, s, true)
	case *forStmt:
		v.forLoop(b, s, soft)
	case *setStmt:
		b.before = v.last
		v.last = b.at()
		v.target(&b.target, s)
		v.expr(b.arg, s, soft)
	case *setBlockStmt:
		b.scope = v.filtered(b.body, b.filter, b.at(), s)
		v.target(&b.target, s)
	case *withStmt:
		b.line = line(v.last)
		b.scope = s.inner()
		for i := range b.targets {
			b.scope.params(&b.targets[i])
		}
		b.scope.declare(b.body, false)
		for i := range b.targets {
			v.target(&b.targets[i], b.scope)
			v.expr(b.vals[i], s, soft)
		}
		v.body(b.body, b.scope, false)
	case *macroStmt:
		v.macro(b.def, s)
		v.target(&b.where, s)
	case *callStmt:
		v.macro(b.def, s)
		v.last = b.at()
		v.expr(b.call, s, soft)
	case *generationStmt:
		v.macro(b.def, s)
		v.last = b.at()
	case *filterStmt:
		b.scope = v.filtered(b.body, b.filter, b.at(), s)
	case *controlStmt:
		v.last = b.at()
		if v.loops == 0 {
			v.parser.failLate(b.at(), "%s outside loop", quote(map[signal]string{breakLoop: "break", continueLoop: "continue"}[b.signal]))
		}
	}
}

// filtered resolves a body whose text is filtered, if there is a filter.
func (v *resolver) filtered(body []stmt, filter *filterExpr, line int, s *scope) *scope {
	inner := s.block(body)
	if filter != nil {
		inner.loads(filter)
	}
	v.body(body, inner, false)
	v.last = line
	if filter != nil {
		v.expr(filter, inner, false)
	}
	return inner
}

func (v *resolver) forLoop(b *forStmt, s *scope, soft bool) {
	v.inFor++
	defer func() { v.inFor-- }()
	b.scope = s.inner()
	b.loop = b.scope.define("loop", param, ref{})
	b.scope.params(&b.target)
	b.scope.declare(b.body, false)
	v.target(&b.target, b.scope)
	if b.test != nil {
		b.testScope = s.inner()
		b.testScope.define("", param, ref{}) // where loop is in the body
		b.testScope.params(&b.target)
		b.testScope.loads(b.test)
		v.last = b.test.at()
		v.expr(b.test, b.testScope, false)
	}
	v.last = b.at()
	v.expr(b.iter, s, soft)
	v.loops++
	v.body(b.body, b.scope, false)
	v.loops--
	if b.other != nil {
		b.otherScope = s.block(b.other)
		loops := v.loops
		if b.recursive { // a function of its own
			v.loops = 0
		}
		v.body(b.other, b.otherScope, false)
		v.loops = loops
	}
	if b.recursive {
		v.last = b.at()
	}
}

func (v *resolver) macro(d *macroDef, s *scope) {
	loops := v.loops
	v.loops = 0
	defer func() { v.loops = loops }()
	v.last = d.at()
	d.scope = s.inner()
	d.caller, d.kwargs, d.varargs = -1, -1, -1
	for _, name := range d.params {
		d.slots = append(d.slots, d.scope.define(name, param, ref{}))
	}
	for i, name := range []string{"caller", "kwargs", "varargs"} {
		at := slices.Index(d.params, name)
		if i == 0 && at >= 0 {
			d.explicitCaller = true
			if mentions(d.body, name) && at < len(d.params)-len(d.defaults) {
				v.parser.failClass("TemplateAssertionError", d.at(), `When defining macros or call blocks the special "caller" argument must be omitted or be given a default.`)
			}
		}
		if at < 0 && mentions(d.body, name) {
			*[]*int{&d.caller, &d.kwargs, &d.varargs}[i] = d.scope.define(name, param, ref{})
		}
	}
	for _, e := range d.defaults {
		d.scope.loads(e)
	}
	d.scope.declare(d.body, false)
	for _, e := range d.defaults {
		v.expr(e, d.scope, false)
	}
	v.body(d.body, d.scope, false)
}

func (v *resolver) target(to *target, s *scope) {
	to.each(func(t *target) {
		if t.name == "loop" && t.attr == "" && v.inFor > 0 {
			v.parser.failClass("TemplateAssertionError", t.at(), "Can't assign to special loop variable in for-loop target")
		}
		t.where, _ = s.find(t.name)
	})
}

func (v *resolver) expr(e expr, s *scope, soft bool) {
	switch e := e.(type) {
	case *nameExpr:
		e.where, _ = s.find(e.name)
		if slices.Contains(leftOutGlobals, e.name) && s.given(e.where) {
			v.parser.failClass("TemplateAssertionError", e.at(), "The global %s is not supported.", quote(e.name))
		}
	case *condExpr:
		soft = true
	case *filterExpr:
		if !soft && filters[e.name] == nil {
			v.parser.failClass("TemplateAssertionError", e.at(), "No filter named %s.", quote(e.name))
		}
	case *testExpr:
		if !soft && tests[e.name] == nil {
			v.parser.failClass("TemplateAssertionError", e.at(), "No test named %s.", quote(e.name))
		}
	}
	for _, c := range children(e) {
		v.expr(c, s, soft)
	}
}
