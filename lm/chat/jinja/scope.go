package jinja

import "slices"

// Jinja finds out before a template runs which variable a name means, and this
// shows: a loop's body sees the assignments of the block around it, even those
// that come later, and each turn of the loop starts from them again.

// ref is where a variable is: in a slot of a frame, some frames up.
type ref struct {
	up, slot int
}

// scope is what frames are made from: the variables of a block.
type scope struct {
	up    *scope
	slots map[string]int
	vars  []variable
}

// variable says what a variable is when its block begins.
type variable struct {
	name string
	kind variableKind
	from ref // of an alias
}

type variableKind int

const (
	param  variableKind = iota // set by who enters the block
	lookup                     // what the template was given by that name
	alias                      // what a variable outside holds
	unset
)

func (s *scope) inner() *scope { return &scope{up: s, slots: map[string]int{}} }

// find returns where a name is, looking outwards.
func (s *scope) find(name string) (ref, bool) {
	for r := (ref{}); s != nil; s, r.up = s.up, r.up+1 {
		if slot, ok := s.slots[name]; ok {
			r.slot = slot
			return r, true
		}
	}
	return ref{}, false
}

// given tells whether a variable is one that the template does not set itself,
// or not always.
func (s *scope) given(where ref) bool {
	for range where.up {
		s = s.up
	}
	return s.vars[where.slot].kind == lookup
}

func (s *scope) define(name string, kind variableKind, from ref) int {
	if slot, ok := s.slots[name]; ok {
		s.vars[slot] = variable{name, kind, from}
		return slot
	}
	s.slots[name] = len(s.vars)
	s.vars = append(s.vars, variable{name, kind, from})
	return len(s.vars) - 1
}

// block makes the scope of a body within.
func (s *scope) block(body []stmt) *scope {
	inner := s.inner()
	inner.declare(body, false)
	return inner
}

// load notes that a name is read.
func (s *scope) load(name string) {
	if _, ok := s.find(name); !ok {
		s.define(name, lookup, ref{})
	}
}

// store notes that a name is assigned, perhaps only on some paths.
func (s *scope) store(name string, sometimes bool) {
	if _, ok := s.slots[name]; ok {
		return
	}
	if from, ok := s.up.find(name); ok {
		from.up++
		s.define(name, alias, from)
	} else if sometimes {
		s.define(name, lookup, ref{})
	} else {
		s.define(name, unset, ref{})
	}
}

// declare notes what statements read and assign in their own scope.
func (s *scope) declare(body []stmt, sometimes bool) {
	for _, b := range body {
		for _, e := range outerExprs(b) {
			s.loads(e)
		}
		switch b := b.(type) {
		case *ifStmt:
			s.declare(b.body, true)
			s.declare(b.other, true)
		case *setStmt:
			s.stores(&b.target, sometimes)
		case *setBlockStmt:
			s.stores(&b.target, sometimes)
		case *macroStmt:
			s.store(b.name, sometimes)
		}
	}
}

func (s *scope) loads(e expr) {
	if n, ok := e.(*nameExpr); ok {
		s.load(n.name)
	}
	for _, c := range children(e) {
		s.loads(c)
	}
}

func (s *scope) stores(to *target, sometimes bool) {
	to.each(func(t *target) {
		if t.attr != "" {
			s.load(t.name)
		} else {
			s.store(t.name, sometimes)
		}
	})
}

// params declares targets as given from outside.
func (s *scope) params(to *target) { to.each(func(t *target) { s.define(t.name, param, ref{}) }) }

// outerExprs returns the expressions of a statement that belong to the scope
// around it.
func outerExprs(s stmt) []expr {
	switch s := s.(type) {
	case *outputStmt:
		return []expr{s.arg}
	case *ifStmt:
		return []expr{s.cond}
	case *forStmt:
		return []expr{s.iter}
	case *setStmt:
		return []expr{s.arg}
	case *withStmt:
		return s.vals
	case *callStmt:
		return []expr{s.call}
	case *filterStmt:
		return []expr{s.filter}
	}
	return nil
}

// children returns the expressions that an expression is made of, without
// those that are absent.
func children(e expr) (c []expr) {
	switch e := e.(type) {
	case *listExpr:
		c = e.items
	case *tupleExpr:
		c = e.items
	case *dictExpr:
		c = append(slices.Clone(e.keys), e.vals...)
	case *condExpr:
		c = []expr{e.then, e.cond, e.other}
	case *unaryExpr:
		c = []expr{e.arg}
	case *binaryExpr:
		c = []expr{e.left, e.right}
	case *concatExpr:
		c = e.items
	case *compareExpr:
		c = e.operands
	case *attrExpr:
		c = []expr{e.arg}
	case *itemExpr:
		c = []expr{e.arg, e.index}
	case *sliceExpr:
		c = []expr{e.start, e.stop, e.step}
	case *callExpr:
		c = append([]expr{e.fn}, e.args.all()...)
	case *filterExpr:
		if e != nil {
			c = append([]expr{e.arg}, e.args.all()...)
		}
	case *testExpr:
		c = append([]expr{e.arg}, e.args.all()...)
	}
	return slices.DeleteFunc(slices.Clone(c), func(e expr) bool { return e == nil })
}

func (a *arguments) all() []expr {
	return append(append(slices.Clone(a.pos), a.named...), a.rest, a.restDict)
}
