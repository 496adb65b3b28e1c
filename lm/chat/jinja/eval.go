package jinja

import (
	"fmt"
	"slices"
)

func (e *constExpr) eval(*run, *frame) value { return e.val }

func (e *nameExpr) eval(_ *run, f *frame) value {
	if v := *f.at(e.where); v != missing {
		return v
	}
	return undefinedName(e.name)
}

// all evaluates expressions in their order.
func (r *run) all(es []expr, f *frame) []value {
	r.room(len(es))
	vals := make([]value, len(es))
	for i, e := range es {
		vals[i] = e.eval(r, f)
	}
	r.charge(1)
	return vals
}

func (e *listExpr) eval(r *run, f *frame) value { return &list{r.all(e.items, f)} }

func (e *tupleExpr) eval(r *run, f *frame) value { return &tuple{items: r.all(e.items, f)} }

func (e *dictExpr) eval(r *run, f *frame) value {
	d := newDict()
	for i := range e.keys {
		r.store(d, e.keys[i].eval(r, f), e.vals[i].eval(r, f))
	}
	return d
}

// test evaluates a condition.
func (r *run) test(e expr, f *frame) bool { return r.truth(e.eval(r, f)) }

func (e *condExpr) eval(r *run, f *frame) value {
	switch {
	case r.test(e.cond, f):
		return e.then.eval(r, f)
	case e.other != nil:
		return e.other.eval(r, f)
	}
	return &undefined{fmt.Sprintf("the inline if-expression on line %d evaluated to false and no else section was defined.", e.at()), ClassUndefined}
}

func (e *unaryExpr) eval(r *run, f *frame) value {
	if e.op == "not" {
		return !r.test(e.arg, f)
	}
	return r.unary(e.op, e.arg.eval(r, f))
}

func (e *binaryExpr) eval(r *run, f *frame) value {
	a := e.left.eval(r, f)
	if e.op == "and" || e.op == "or" {
		if r.truth(a) == (e.op == "or") {
			return a
		}
		return e.right.eval(r, f)
	}
	b := e.right.eval(r, f)
	r.step()
	return r.binary(e.op, a, b)
}

func (e *concatExpr) eval(r *run, f *frame) value {
	w := &writer{r: r}
	for _, v := range r.all(e.items, f) {
		w.put(r.text(v)) // plain text, markup or not
	}
	return w.String()
}

func (e *compareExpr) eval(r *run, f *frame) value {
	a := e.operands[0].eval(r, f)
	for i, op := range e.ops {
		b := e.operands[i+1].eval(r, f)
		if !r.compare(op, a, b) {
			return false
		}
		a = b
	}
	return true
}

func (e *attrExpr) eval(r *run, f *frame) value {
	v := e.arg.eval(r, f)
	r.step()
	return r.attr(v, e.name)
}

func (e *itemExpr) eval(r *run, f *frame) value {
	v := e.arg.eval(r, f)
	r.step()
	if s, ok := e.index.(*sliceExpr); ok {
		var bounds [3]value
		for i, b := range []expr{s.start, s.stop, s.step} {
			if b != nil {
				bounds[i] = b.eval(r, f)
			}
		}
		return r.slice(v, bounds)
	}
	return r.item(v, e.index.eval(r, f))
}

func (e *sliceExpr) eval(*run, *frame) value {
	panic(raise("SyntaxError", "invalid syntax"))
}

// args are the arguments of a call.
type args struct {
	pos   []value
	names []string
	named []value
}

// arguments evaluates the arguments of a call, after those in first.
func (r *run) arguments(a *arguments, f *frame, first ...value) *args {
	pos := r.all(a.pos, f)
	named := r.all(a.named, f)
	out := &args{append(first, pos...), append([]string(nil), a.names...), named}
	if a.rest != nil {
		v := a.rest.eval(r, f)
		out.pos = r.concat(out.pos, r.collectOr(v, typeError("Value after * must be an iterable, not %s", typeName(v))))
	}
	if a.restDict != nil {
		v := a.restDict.eval(r, f)
		use(v)
		d, ok := v.(*dict)
		if !ok {
			panic(typeError("argument after ** must be a mapping, not %s", typeName(v)))
		}
		for _, e := range d.entries {
			r.charge(1 + len(out.names)/8)
			name, ok := str(e.key)
			if !ok {
				panic(typeError("keywords must be strings"))
			}
			if _, twice := out.get(name); twice {
				panic(typeError("got multiple values for keyword argument %s", quote(name)))
			}
			out.names, out.named = append(out.names, name), append(out.named, e.val)
		}
	}
	return out
}

// get returns a named argument.
func (a *args) get(name string) (value, bool) {
	if i := slices.Index(a.names, name); i >= 0 {
		return a.named[i], true
	}
	return nil, false
}

// take returns a named argument and removes it.
func (a *args) take(name string) (value, bool) {
	i := slices.Index(a.names, name)
	if i < 0 {
		return nil, false
	}
	v := a.named[i]
	a.names = slices.Delete(slices.Clone(a.names), i, i+1)
	a.named = slices.Delete(slices.Clone(a.named), i, i+1)
	return v, true
}

// bind matches arguments with parameters, of which the first required ones
// must be given; the others are missing if they are not.
func (a *args) bind(function string, required int, params ...string) []value {
	if len(a.pos) > len(params) {
		panic(typeError("%s() takes at most %d arguments (%d given)", function, len(params), len(a.pos)))
	}
	vals := make([]value, len(params))
	for i := range vals {
		vals[i] = missing
	}
	copy(vals, a.pos)
	for i, name := range a.names {
		at := slices.Index(params, name)
		if at < 0 {
			panic(typeError("%s() got an unexpected keyword argument %s", function, quote(name)))
		}
		if vals[at] != missing {
			panic(typeError("%s() got multiple values for argument %s", function, quote(name)))
		}
		vals[at] = a.named[i]
	}
	for i := range required {
		if vals[i] == missing {
			panic(typeError("%s() missing required argument: %s", function, quote(params[i])))
		}
	}
	return vals
}

func (e *callExpr) eval(r *run, f *frame) value { return r.callWith(e, f, nil) }

// callWith evaluates a call; a call block gives itself as caller.
func (r *run) callWith(e *callExpr, f *frame, caller value) value {
	fn := e.fn.eval(r, f)
	a := r.arguments(&e.args, f)
	if caller != nil {
		if _, twice := a.get("caller"); twice {
			panic(typeError("got multiple values for keyword argument 'caller'"))
		}
		a.names, a.named = append(a.names, "caller"), append(a.named, caller)
	}
	return r.call(fn, a)
}

func (r *run) call(fn value, a *args) value {
	r.step()
	switch fn := fn.(type) {
	case *function:
		return fn.call(r, a)
	case *macro:
		return r.callMacro(fn, a)
	case *loop:
		v := a.bind("__call__", 1, "iterable")
		if fn.recurse == nil {
			panic(typeError("The loop must have the 'recursive' marker to be called recursively."))
		}
		return fn.recurse(v[0], fn.depth0+1)
	case *undefined:
		panic(fn.err())
	}
	panic(typeError("%s object is not callable", quote(typeName(fn))))
}

func (e *filterExpr) eval(r *run, f *frame) value { return e.apply(r, f, e.arg.eval(r, f)) }

// apply filters a value.
func (e *filterExpr) apply(r *run, f *frame, v value) value {
	if inner, ok := e.arg.(*filterExpr); ok && e.inBlock() {
		v = inner.apply(r, f, v)
	}
	return r.filter(e.name, r.arguments(&e.args, f, v))
}

// inBlock tells whether the first of a chain of filters has nothing to filter
// but the text of a block.
func (e *filterExpr) inBlock() bool {
	inner, ok := e.arg.(*filterExpr)
	return e.arg == nil || ok && inner.inBlock()
}

func (r *run) filter(name string, a *args) value {
	fn := filters[name]
	if fn == nil {
		panic(raise("TemplateRuntimeError", "No filter named %s found.", quote(name)))
	}
	r.looksAt(a)
	return fn(r, a)
}

// looksAt counts the work of a filter or a test on a text.
func (r *run) looksAt(a *args) {
	r.step()
	if len(a.pos) > 0 {
		s, _ := str(a.pos[0])
		r.work(len(s))
	}
}

func (e *testExpr) eval(r *run, f *frame) value {
	return r.is(e.name, r.arguments(&e.args, f, e.arg.eval(r, f)))
}

// is applies a test.
func (r *run) is(name string, a *args) value {
	fn := tests[name]
	if fn == nil {
		panic(raise("TemplateRuntimeError", "No test named %s found.", quote(name)))
	}
	r.looksAt(a)
	return fn(r, a)
}
