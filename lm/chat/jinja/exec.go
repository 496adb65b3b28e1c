package jinja

import (
	"strings"

	"github.com/stepwise-rl/stepwise/prompt"
)

// exec runs statements until one ends a turn of a loop.
func (r *run) exec(body []stmt, f *frame) signal {
	for _, s := range body {
		r.step()
		if sig := s.exec(r, f); sig != next {
			return sig
		}
	}
	return next
}

func (s *textStmt) exec(r *run, _ *frame) signal {
	r.write(s.text)
	return next
}

func (s *outputStmt) exec(r *run, f *frame) signal {
	r.line = s.arg.at()
	r.print(s.arg.eval(r, f))
	return next
}

// print writes a value.
func (r *run) print(v value) { r.write(r.text(v)) }

func (s *ifStmt) exec(r *run, f *frame) signal {
	r.line = s.at()
	if r.test(s.cond, f) {
		return r.exec(s.body, f)
	}
	return r.exec(s.other, f)
}

func (s *forStmt) exec(r *run, f *frame) signal {
	r.line = s.at()
	v := s.iter.eval(r, f)
	if !s.recursive {
		return s.loop1(r, f, v, nil, 0)
	}
	var recurse func(over value, depth int) value
	recurse = func(over value, depth int) value {
		return r.nested(func() { s.loop1(r, f, over, recurse, depth) })
	}
	r.print(recurse(v, 0))
	return next
}

// loop1 runs the loop over a value once. A signal is from the else part, for the
// loop around.
func (s *forStmt) loop1(r *run, f *frame, v value, recurse func(value, int) value, depth int) signal {
	r.line = s.at()
	it := s.items(r, f, v)
	if s.test != nil {
		v = &generator{} // of unknown length
	}
	l := r.newLoop(v, it, depth)
	l.recurse = recurse
	inner := newFrame(s.scope, f)
	r.grow(valueBytes * len(inner.vars))
	defer inner.leave()
	inner.vars[s.loop] = l
	// The else part runs unless a turn comes to its end, also if all of them
	// break or continue. So it is in Jinja.
	ended := false
	for {
		r.line = s.at()
		v, ok := l.next()
		if !ok {
			break
		}
		r.begin(inner)
		inner.vars[s.loop] = l
		r.assign(&s.target, inner, v)
		sig := r.exec(s.body, inner)
		if sig == breakLoop {
			break
		}
		ended = ended || sig == next
	}
	if ended || s.other == nil {
		return next
	}
	other := r.enter(s.otherScope, f)
	defer other.leave()
	return r.exec(s.other, other)
}

// items iterates over what the loop's test lets through.
func (s *forStmt) items(r *run, f *frame, v value) iterator {
	if s.test == nil {
		return r.iterate(v)
	}
	inner := r.enter(s.testScope, f)
	var it iterator
	return func() (value, bool) {
		r.line = s.test.at()
		if it == nil {
			it = r.iterate(v)
		}
		for {
			v, ok := it()
			if !ok {
				return nil, false
			}
			r.assign(&s.target, inner, v)
			if r.test(s.test, inner) {
				return v, true
			}
		}
	}
}

// assign gives a value to a target.
func (r *run) assign(to *target, f *frame, v value) {
	switch {
	case to.tuple:
		items := r.unpack(v, len(to.items))
		for i := range to.items {
			r.assign(&to.items[i], f, items[i])
		}
		return
	case to.attr != "":
		ns, ok := (*f.at(to.where)).(*namespace)
		if !ok {
			panic(raise("TemplateRuntimeError", "cannot assign attribute on non-namespace object"))
		}
		r.setAttr(ns, to.attr, v)
		return
	}
	*f.at(to.where) = v
}

// setAttr sets an attribute of a namespace. As in transformers, none begins
// with an underscore.
func (r *run) setAttr(ns *namespace, name string, v value) {
	if strings.HasPrefix(name, "_") {
		panic(raise("SecurityError", "Chat templates cannot store underscore-prefixed attributes on a namespace, but got %s. Please rename the attribute.", quote(name)))
	}
	ns.attrs.set(name, v)
	r.grow(valueBytes)
}

// unpack returns the n items of a value.
func (r *run) unpack(v value, n int) []value {
	it, ok := r.iter(v)
	if !ok {
		panic(typeError("cannot unpack non-iterable %s object", typeName(v)))
	}
	items := make([]value, 0, n)
	for {
		item, ok := it()
		switch {
		case !ok && len(items) < n:
			panic(valueError("not enough values to unpack (expected %d, got %d)", n, len(items)))
		case !ok:
			return items
		case len(items) == n:
			panic(valueError("too many values to unpack (expected %d)", n))
		}
		items = append(items, item)
	}
}

func (s *setStmt) exec(r *run, f *frame) signal {
	r.line = s.before
	s.target.each(func(t *target) {
		if t.attr == "" {
			return
		}
		if _, ok := (*f.at(t.where)).(*namespace); !ok {
			panic(raise("TemplateRuntimeError", "cannot assign attribute on non-namespace object"))
		}
	})
	r.line = s.at()
	r.assign(&s.target, f, s.arg.eval(r, f))
	return next
}

// filtered runs a body in a scope of its own and hands what it writes, filtered,
// to use, unless the body ends a turn of a loop.
func (r *run) filtered(body []stmt, sc *scope, f *frame, filter *filterExpr, line int, use func(value)) signal {
	inner := r.enter(sc, f)
	defer inner.leave()
	var sig signal
	text := r.capture(func() { sig = r.exec(body, inner) })
	if sig != next {
		return sig
	}
	r.line = line
	var v value = text
	if filter != nil {
		v = filter.apply(r, inner, v)
	}
	use(v)
	return next
}

func (s *setBlockStmt) exec(r *run, f *frame) signal {
	return r.filtered(s.body, s.scope, f, s.filter, s.at(), func(v value) { r.assign(&s.target, f, v) })
}

func (s *filterStmt) exec(r *run, f *frame) signal {
	return r.filtered(s.body, s.scope, f, s.filter, s.at(), r.print)
}

func (s *withStmt) exec(r *run, f *frame) signal {
	r.line = s.at()
	inner := r.enter(s.scope, f)
	defer inner.leave()
	for i := range s.targets {
		r.assign(&s.targets[i], inner, s.vals[i].eval(r, f))
	}
	return r.exec(s.body, inner)
}

func (s *macroStmt) exec(r *run, f *frame) signal {
	r.assign(&s.where, f, &macro{s.def, f})
	return next
}

func (s *callStmt) exec(r *run, f *frame) signal {
	r.line = s.at()
	r.print(r.callWith(s.call, f, &macro{s.def, f}))
	return next
}

// exec notes the range of what is written. As in transformers, it begins where
// the text of the template's top level has come to, also if it is written
// within a macro or for a variable.
func (s *generationStmt) exec(r *run, f *frame) signal {
	v := r.callMacro(&macro{s.def, f}, &args{})
	text, _ := str(v)
	start := r.root.Len()
	r.spans = append(r.spans, prompt.Range{Start: start, End: start + len(text)})
	r.print(v)
	return next
}

func (s *controlStmt) exec(*run, *frame) signal { return s.signal }

// nested runs what may run itself again, and returns the text that it writes.
func (r *run) nested(f func()) value {
	if r.calls++; r.calls > maxCalls {
		panic(raise("RecursionError", "calls go deeper than %d", maxCalls))
	}
	line := r.line
	text := r.capture(f)
	r.calls--
	r.line = line
	return text
}

// callMacro runs a macro and returns the text that it writes.
func (r *run) callMacro(m *macro, a *args) value {
	d := m.def
	a = &args{a.pos, a.names, a.named}
	vals := make([]value, len(d.params))
	copy(vals, a.pos)
	foundCaller := d.explicitCaller && len(a.pos) >= len(d.params)
	for i := min(len(a.pos), len(d.params)); i < len(d.params); i++ {
		v, ok := a.take(d.params[i])
		if !ok {
			v = missing
		}
		vals[i] = v
		foundCaller = foundCaller || d.params[i] == "caller"
	}
	f := newFrame(d.scope, m.frame)
	if d.caller >= 0 && !foundCaller {
		v, ok := a.take("caller")
		if !ok || v == nil {
			v = &undefined{"No caller defined", ClassUndefined}
		}
		f.vars[d.caller] = v
	}
	if d.kwargs >= 0 {
		kw := newDict()
		for i, name := range a.names {
			kw.set(name, a.named[i])
		}
		f.vars[d.kwargs] = kw
	} else if len(a.names) > 0 {
		if _, ok := a.get("caller"); ok {
			panic(typeError("macro %s was invoked with two values for the special caller argument. This is most likely a bug.", shortName(d)))
		}
		panic(typeError("macro %s takes no keyword argument %s", shortName(d), quote(a.names[0])))
	}
	if d.varargs >= 0 {
		f.vars[d.varargs] = newTuple(a.pos[min(len(a.pos), len(d.params)):]...)
	} else if len(a.pos) > len(d.params) {
		panic(typeError("macro %s takes not more than %d argument(s)", shortName(d), len(d.params)))
	}
	r.grow(valueBytes * len(f.vars))
	return r.nested(func() {
		r.line = d.at()
		r.begin(f)
		for i, v := range vals {
			if v == missing {
				if at := i - len(d.params) + len(d.defaults); at < 0 {
					v = &undefined{"parameter " + quote(d.params[i]) + " was not provided", ClassUndefined}
				} else {
					v = d.defaults[at].eval(r, f)
				}
			}
			f.vars[d.slots[i]] = v
		}
		r.exec(d.body, f)
	})
}

func shortName(d *macroDef) string {
	if d.anonymous {
		return "None"
	}
	return quote(d.name)
}
