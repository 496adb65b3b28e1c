package jinja

import (
	"strings"

	"github.com/stepwise-rl/stepwise/prompt"
)

// exec runs statements until one ends a turn of a loop.
func (r *run) exec(body []stmt, f *frame) (signal, error) {
	for _, s := range body {
		if err := r.step(); err != nil {
			return next, err
		}
		if sig, err := s.exec(r, f); sig != next || err != nil {
			return sig, err
		}
	}
	return next, nil
}

func (s *textStmt) exec(r *run, _ *frame) (signal, error) { return next, r.write(s.text) }

func (s *outputStmt) exec(r *run, f *frame) (signal, error) {
	r.line = s.arg.at()
	v, err := s.arg.eval(r, f)
	if err != nil {
		return next, err
	}
	return next, r.print(v)
}

// print writes a value.
func (r *run) print(v value) error {
	text, err := r.text(v)
	if err != nil {
		return err
	}
	if _, safe := v.(markup); r.autoescape && !safe {
		text = escapeHTML(text)
	}
	return r.write(text)
}

func (s *ifStmt) exec(r *run, f *frame) (signal, error) {
	r.line = s.at()
	ok, err := r.test(s.cond, f)
	if err != nil {
		return next, err
	}
	if ok {
		return r.exec(s.body, f)
	}
	return r.exec(s.other, f)
}

func (s *forStmt) exec(r *run, f *frame) (signal, error) {
	r.line = s.at()
	v, err := s.iter.eval(r, f)
	if err != nil {
		return next, err
	}
	if !s.recursive {
		return s.loop1(r, f, v, nil, 0)
	}
	var recurse func(over value, depth int) (value, error)
	recurse = func(over value, depth int) (value, error) {
		return r.nested(func() error {
			_, err := s.loop1(r, f, over, recurse, depth)
			return err
		})
	}
	if v, err = recurse(v, 0); err != nil {
		return next, err
	}
	return next, r.print(v)
}

// loop1 runs the loop over a value once. A signal is from the else part, for the
// loop around.
func (s *forStmt) loop1(r *run, f *frame, v value, recurse func(value, int) (value, error), depth int) (signal, error) {
	r.line = s.at()
	it, err := s.items(r, f, v)
	if err != nil {
		return next, err
	}
	var l *loop
	if s.test != nil {
		l = r.newLoop(&generator{}, it, depth)
	} else {
		l = r.newLoop(v, it, depth)
	}
	l.recurse = recurse
	inner := &frame{up: f, scope: s.scope, vars: make([]value, len(s.scope.vars))}
	if err := r.grow(valueBytes * len(inner.vars)); err != nil {
		return next, err
	}
	defer inner.leave()
	inner.vars[s.loop] = l
	// The else part runs unless a turn comes to its end, also if all of them
	// break or continue. So it is in Jinja.
	ended := false
	for {
		r.line = s.at()
		v, ok, err := l.next()
		if err != nil {
			return next, err
		}
		if !ok {
			break
		}
		r.begin(inner)
		inner.vars[s.loop] = l
		if err := r.assign(&s.target, inner, v); err != nil {
			return next, err
		}
		sig, err := r.exec(s.body, inner)
		if err != nil {
			return next, err
		}
		if sig == breakLoop {
			break
		}
		ended = ended || sig == next
	}
	if ended || s.other == nil {
		return next, nil
	}
	other := r.enter(s.otherScope, f)
	defer other.leave()
	return r.exec(s.other, other)
}

// items iterates over what the loop's test lets through.
func (s *forStmt) items(r *run, f *frame, v value) (iterator, error) {
	if s.test == nil {
		return r.iterate(v)
	}
	inner := r.enter(s.testScope, f)
	var it iterator
	return func() (value, bool, error) {
		r.line = s.test.at()
		if it == nil {
			var err error
			if it, err = r.iterate(v); err != nil {
				return nil, false, err
			}
		}
		for {
			v, ok, err := it()
			if !ok || err != nil {
				return nil, false, err
			}
			if err := r.assign(&s.target, inner, v); err != nil {
				return nil, false, err
			}
			if ok, err := r.test(s.test, inner); ok || err != nil {
				return v, ok, err
			}
		}
	}, nil
}

// assign gives a value to a target.
func (r *run) assign(to *target, f *frame, v value) error {
	switch {
	case to.tuple:
		items, err := r.unpack(v, len(to.items))
		if err != nil {
			return err
		}
		for i := range to.items {
			if err := r.assign(&to.items[i], f, items[i]); err != nil {
				return err
			}
		}
		return nil
	case to.attr != "":
		ns, ok := (*f.at(to.where)).(*namespace)
		if !ok {
			return raise("TemplateRuntimeError", "cannot assign attribute on non-namespace object")
		}
		return r.setAttr(ns, to.attr, v)
	}
	*f.at(to.where) = v
	if to.where.export {
		r.exports[to.name] = v
	}
	return nil
}

// setAttr sets an attribute of a namespace. As in transformers, none begins
// with an underscore.
func (r *run) setAttr(ns *namespace, name string, v value) error {
	if strings.HasPrefix(name, "_") {
		return raise("SecurityError", "Chat templates cannot store underscore-prefixed attributes on a namespace, but got %s. Please rename the attribute.", quote(name))
	}
	ns.attrs.set(name, v)
	return r.grow(valueBytes)
}

// unpack returns the n items of a value.
func (r *run) unpack(v value, n int) ([]value, error) {
	it, err := r.iterate(v)
	if err != nil {
		return nil, typeError("cannot unpack non-iterable %s object", typeName(v))
	}
	items := make([]value, 0, n)
	for {
		item, ok, err := it()
		switch {
		case err != nil:
			return nil, err
		case !ok && len(items) < n:
			return nil, valueError("not enough values to unpack (expected %d, got %d)", n, len(items))
		case !ok:
			return items, nil
		case len(items) == n:
			return nil, valueError("too many values to unpack (expected %d)", n)
		}
		items = append(items, item)
	}
}

func (s *setStmt) exec(r *run, f *frame) (signal, error) {
	r.line = s.before
	var err error
	s.target.each(func(t *target) {
		if t.attr == "" || err != nil {
			return
		}
		if _, ok := (*f.at(t.where)).(*namespace); !ok {
			err = raise("TemplateRuntimeError", "cannot assign attribute on non-namespace object")
		}
	})
	if err != nil {
		return next, err
	}
	r.line = s.at()
	v, err := s.arg.eval(r, f)
	if err != nil {
		return next, err
	}
	return next, r.assign(&s.target, f, v)
}

// safe makes a value of text that was written.
func (r *run) safe(text string) value {
	if r.autoescape {
		return markup(text)
	}
	return text
}

// filtered runs a body in a scope of its own and hands what it writes, filtered,
// to use, unless the body ends a turn of a loop.
func (r *run) filtered(body []stmt, sc *scope, f *frame, filter *filterExpr, line int, use func(value) error) (signal, error) {
	inner := r.enter(sc, f)
	defer inner.leave()
	var sig signal
	text, err := r.capture(func() (err error) {
		sig, err = r.exec(body, inner)
		return err
	})
	if sig != next || err != nil {
		return sig, err
	}
	r.line = line
	v := r.safe(text)
	if filter != nil {
		if v, err = filter.apply(r, inner, v); err != nil {
			return next, err
		}
	}
	return next, use(v)
}

func (s *setBlockStmt) exec(r *run, f *frame) (signal, error) {
	return r.filtered(s.body, s.scope, f, s.filter, s.at(), func(v value) error { return r.assign(&s.target, f, v) })
}

func (s *filterStmt) exec(r *run, f *frame) (signal, error) {
	return r.filtered(s.body, s.scope, f, s.filter, s.at(), r.print)
}

func (s *withStmt) exec(r *run, f *frame) (signal, error) {
	r.line = s.at()
	inner := r.enter(s.scope, f)
	defer inner.leave()
	for i := range s.targets {
		v, err := s.vals[i].eval(r, f)
		if err != nil {
			return next, err
		}
		if err := r.assign(&s.targets[i], inner, v); err != nil {
			return next, err
		}
	}
	return r.exec(s.body, inner)
}

func (s *macroStmt) exec(r *run, f *frame) (signal, error) {
	return next, r.assign(&s.where, f, &macro{s.def, f})
}

func (s *callStmt) exec(r *run, f *frame) (signal, error) {
	r.line = s.at()
	v, err := r.callWith(s.call, f, &macro{s.def, f})
	if err != nil {
		return next, err
	}
	return next, r.print(v)
}

// exec notes the range of what is written. As in transformers, it begins where
// the text of the template's top level has come to, also if it is written
// within a macro or for a variable.
func (s *generationStmt) exec(r *run, f *frame) (signal, error) {
	v, err := r.callMacro(&macro{s.def, f}, &args{})
	if err != nil {
		return next, err
	}
	text, _ := str(v)
	start := r.root.Len()
	r.spans = append(r.spans, prompt.Range{Start: start, End: start + len(text)})
	return next, r.print(v)
}

func (s *autoescapeStmt) exec(r *run, f *frame) (signal, error) {
	r.line = s.at()
	inner := r.enter(s.scope, f)
	defer inner.leave()
	on, err := r.test(s.arg, inner)
	if err != nil {
		return next, err
	}
	before := r.autoescape
	r.autoescape = on
	sig, err := r.exec(s.body, inner)
	r.autoescape = before
	return sig, err
}

func (s *blockStmt) exec(r *run, f *frame) (signal, error) {
	r.line = s.at()
	return next, s.render(r, f)
}

// render writes a block, which sees the variables of the template's top level,
// and those around it only if it is scoped.
func (s *blockStmt) render(r *run, f *frame) error {
	if s.scoped && f == nil {
		return raise("TemplateRuntimeError", "a scoped block cannot be called")
	}
	if !s.scoped {
		f = nil
	}
	inner := r.enter(s.scope, f)
	defer inner.leave()
	_, err := r.exec(s.body, inner)
	return err
}

func (s *loaderStmt) exec(r *run, f *frame) (signal, error) {
	r.line = s.at()
	if _, err := s.arg.eval(r, f); err != nil {
		return next, err
	}
	return next, typeError("no loader for this environment specified")
}

func (s *controlStmt) exec(*run, *frame) (signal, error) { return s.signal, nil }

// nested runs what may run itself again, and returns the text that it writes.
func (r *run) nested(f func() error) (value, error) {
	if r.calls++; r.calls > maxCalls {
		return nil, raise("RecursionError", "calls go deeper than %d", maxCalls)
	}
	line := r.line
	text, err := r.capture(f)
	if err != nil {
		return nil, err
	}
	r.calls--
	r.line = line
	return r.safe(text), nil
}

// callMacro runs a macro and returns the text that it writes.
func (r *run) callMacro(m *macro, a *args) (value, error) {
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
	f := &frame{up: m.frame, scope: d.scope, vars: make([]value, len(d.scope.vars))}
	for i := range f.vars {
		f.vars[i] = missing
	}
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
			return nil, typeError("macro %s was invoked with two values for the special caller argument. This is most likely a bug.", shortName(d))
		}
		return nil, typeError("macro %s takes no keyword argument %s", shortName(d), quote(a.names[0]))
	}
	if d.varargs >= 0 {
		f.vars[d.varargs] = newTuple(a.pos[min(len(a.pos), len(d.params)):]...)
	} else if len(a.pos) > len(d.params) {
		return nil, typeError("macro %s takes not more than %d argument(s)", shortName(d), len(d.params))
	}
	if err := r.grow(valueBytes * len(f.vars)); err != nil {
		return nil, err
	}
	return r.nested(func() error {
		r.line = d.at()
		r.begin(f)
		for i, v := range vals {
			if v == missing {
				if at := i - len(d.params) + len(d.defaults); at < 0 {
					v = &undefined{"parameter " + quote(d.params[i]) + " was not provided", ClassUndefined}
				} else {
					var err error
					if v, err = d.defaults[at].eval(r, f); err != nil {
						return err
					}
				}
			}
			f.vars[d.slots[i]] = v
		}
		_, err := r.exec(d.body, f)
		return err
	})
}

func shortName(d *macroDef) string {
	if d.anonymous {
		return "None"
	}
	return quote(d.name)
}
