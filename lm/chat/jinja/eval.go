package jinja

func (e *constExpr) eval(*run, *frame) (value, error) { return e.val, nil }

func (e *nameExpr) eval(_ *run, f *frame) (value, error) {
	if v := *f.at(e.where); v != missing {
		return v, nil
	}
	return undefinedName(e.name), nil
}

// all evaluates expressions in their order.
func (r *run) all(es []expr, f *frame) ([]value, error) {
	if err := r.room(len(es)); err != nil {
		return nil, err
	}
	vals := make([]value, len(es))
	for i, e := range es {
		var err error
		if vals[i], err = e.eval(r, f); err != nil {
			return nil, err
		}
	}
	return vals, r.charge(1)
}

func (e *listExpr) eval(r *run, f *frame) (value, error) {
	items, err := r.all(e.items, f)
	return &list{items}, err
}

func (e *tupleExpr) eval(r *run, f *frame) (value, error) {
	items, err := r.all(e.items, f)
	return &tuple{items: items}, err
}

func (e *dictExpr) eval(r *run, f *frame) (value, error) {
	d := newDict()
	for i := range e.keys {
		k, err := e.keys[i].eval(r, f)
		if err != nil {
			return nil, err
		}
		v, err := e.vals[i].eval(r, f)
		if err != nil {
			return nil, err
		}
		if err := r.store(d, k, v); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// test evaluates a condition.
func (r *run) test(e expr, f *frame) (bool, error) {
	v, err := e.eval(r, f)
	if err != nil {
		return false, err
	}
	return r.truth(v)
}

func (e *condExpr) eval(r *run, f *frame) (value, error) {
	ok, err := r.test(e.cond, f)
	switch {
	case err != nil:
		return nil, err
	case ok:
		return e.then.eval(r, f)
	case e.other != nil:
		return e.other.eval(r, f)
	}
	u := raise(ClassUndefined, "the inline if-expression on line %d evaluated to false and no else section was defined.", e.at())
	return &undefined{u.Message, u.Class}, nil
}

func (e *logicExpr) eval(r *run, f *frame) (value, error) {
	v, err := e.left.eval(r, f)
	if err != nil {
		return nil, err
	}
	ok, err := r.truth(v)
	if err != nil || ok == e.or {
		return v, err
	}
	return e.right.eval(r, f)
}

func (e *notExpr) eval(r *run, f *frame) (value, error) {
	ok, err := r.test(e.arg, f)
	return !ok, err
}

func (e *unaryExpr) eval(r *run, f *frame) (value, error) {
	v, err := e.arg.eval(r, f)
	if err != nil {
		return nil, err
	}
	return r.unary(e.op, v)
}

func (e *binaryExpr) eval(r *run, f *frame) (value, error) {
	a, err := e.left.eval(r, f)
	if err != nil {
		return nil, err
	}
	b, err := e.right.eval(r, f)
	if err != nil {
		return nil, err
	}
	if err := r.step(); err != nil {
		return nil, err
	}
	return r.binary(e.op, a, b)
}

func (e *concatExpr) eval(r *run, f *frame) (value, error) {
	vals, err := r.all(e.items, f)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(vals))
	for i, v := range vals {
		if texts[i], err = r.text(v); err != nil {
			return nil, err
		}
	}
	if !r.autoescape {
		vals = make([]value, len(vals)) // plain text, markup or not
	}
	return r.join(vals, texts...)
}

func (e *compareExpr) eval(r *run, f *frame) (value, error) {
	a, err := e.operands[0].eval(r, f)
	if err != nil {
		return nil, err
	}
	for i, op := range e.ops {
		b, err := e.operands[i+1].eval(r, f)
		if err != nil {
			return nil, err
		}
		if ok, err := r.compare(op, a, b); !ok || err != nil {
			return false, err
		}
		a = b
	}
	return true, nil
}

func (e *attrExpr) eval(r *run, f *frame) (value, error) {
	v, err := e.arg.eval(r, f)
	if err != nil {
		return nil, err
	}
	if err := r.step(); err != nil {
		return nil, err
	}
	return r.attr(v, e.name)
}

func (e *itemExpr) eval(r *run, f *frame) (value, error) {
	v, err := e.arg.eval(r, f)
	if err != nil {
		return nil, err
	}
	if err := r.step(); err != nil {
		return nil, err
	}
	if s, ok := e.index.(*sliceExpr); ok {
		var bounds [3]value
		for i, b := range []expr{s.start, s.stop, s.step} {
			if b != nil {
				if bounds[i], err = b.eval(r, f); err != nil {
					return nil, err
				}
			}
		}
		return r.slice(v, bounds)
	}
	index, err := e.index.eval(r, f)
	if err != nil {
		return nil, err
	}
	return r.item(v, index)
}

func (e *sliceExpr) eval(*run, *frame) (value, error) {
	return nil, raise("SyntaxError", "invalid syntax")
}

// args are the arguments of a call.
type args struct {
	pos   []value
	names []string
	named []value
}

// arguments evaluates the arguments of a call, after those in first.
func (r *run) arguments(a *arguments, f *frame, first ...value) (*args, error) {
	pos, err := r.all(a.pos, f)
	if err != nil {
		return nil, err
	}
	named, err := r.all(a.named, f)
	if err != nil {
		return nil, err
	}
	out := &args{append(first, pos...), append([]string(nil), a.names...), named}
	if a.rest != nil {
		v, err := a.rest.eval(r, f)
		if err != nil {
			return nil, err
		}
		more, err := r.collect(v)
		if err != nil {
			if e, ok := err.(*Error); ok && e.Class == "TypeError" {
				err = typeError("Value after * must be an iterable, not %s", typeName(v))
			}
			return nil, err
		}
		if out.pos, err = r.concat(out.pos, more); err != nil {
			return nil, err
		}
	}
	if a.restDict != nil {
		v, err := a.restDict.eval(r, f)
		if err != nil {
			return nil, err
		}
		if u, ok := v.(*undefined); ok {
			return nil, u.err()
		}
		d, ok := v.(*dict)
		if !ok {
			return nil, typeError("argument after ** must be a mapping, not %s", typeName(v))
		}
		for _, e := range d.entries {
			if err := r.charge(1 + len(out.names)/8); err != nil {
				return nil, err
			}
			name, ok := str(e.key)
			if !ok {
				return nil, typeError("keywords must be strings")
			}
			if _, twice := out.get(name); twice {
				return nil, typeError("got multiple values for keyword argument %s", quote(name))
			}
			out.names, out.named = append(out.names, name), append(out.named, e.val)
		}
	}
	return out, nil
}

// get returns a named argument.
func (a *args) get(name string) (value, bool) {
	for i, n := range a.names {
		if n == name {
			return a.named[i], true
		}
	}
	return nil, false
}

// take returns a named argument and removes it.
func (a *args) take(name string) (value, bool) {
	for i, n := range a.names {
		if n == name {
			v := a.named[i]
			a.names = append(append([]string(nil), a.names[:i]...), a.names[i+1:]...)
			a.named = append(append([]value(nil), a.named[:i]...), a.named[i+1:]...)
			return v, true
		}
	}
	return nil, false
}

// bind matches arguments with parameters, of which the first required ones
// must be given; the others are missing if they are not.
func (a *args) bind(function string, required int, params ...string) ([]value, error) {
	if len(a.pos) > len(params) {
		return nil, typeError("%s() takes at most %d arguments (%d given)", function, len(params), len(a.pos))
	}
	vals := make([]value, len(params))
	for i := range vals {
		vals[i] = missing
	}
	copy(vals, a.pos)
named:
	for i, name := range a.names {
		for j, p := range params {
			if p == name {
				if vals[j] != missing {
					return nil, typeError("%s() got multiple values for argument %s", function, quote(name))
				}
				vals[j] = a.named[i]
				continue named
			}
		}
		return nil, typeError("%s() got an unexpected keyword argument %s", function, quote(name))
	}
	for i := range required {
		if vals[i] == missing {
			return nil, typeError("%s() missing required argument: %s", function, quote(params[i]))
		}
	}
	return vals, nil
}

func (e *callExpr) eval(r *run, f *frame) (value, error) {
	return r.callWith(e, f, nil)
}

// callWith evaluates a call; a call block gives itself as caller.
func (r *run) callWith(e *callExpr, f *frame, caller value) (value, error) {
	fn, err := e.fn.eval(r, f)
	if err != nil {
		return nil, err
	}
	a, err := r.arguments(&e.args, f)
	if err != nil {
		return nil, err
	}
	if caller != nil {
		if _, twice := a.get("caller"); twice {
			return nil, typeError("got multiple values for keyword argument 'caller'")
		}
		a.names, a.named = append(a.names, "caller"), append(a.named, caller)
	}
	return r.call(fn, a)
}

func (r *run) call(fn value, a *args) (value, error) {
	if err := r.step(); err != nil {
		return nil, err
	}
	switch fn := fn.(type) {
	case *function:
		return fn.call(r, a)
	case *macro:
		return r.callMacro(fn, a)
	case *loop:
		v, err := a.bind("__call__", 1, "iterable")
		if err != nil {
			return nil, err
		}
		if fn.recurse == nil {
			return nil, typeError("The loop must have the 'recursive' marker to be called recursively.")
		}
		return fn.recurse(v[0], fn.depth0+1)
	case *joiner:
		if _, err := a.bind("__call__", 0); err != nil {
			return nil, err
		}
		if fn.used {
			return fn.sep, nil
		}
		fn.used = true
		return "", nil
	case *block:
		if _, err := a.bind("__call__", 0); err != nil {
			return nil, err
		}
		return r.nested(func() error { return fn.stmt.render(r, nil) })
	case *undefined:
		return nil, fn.err()
	}
	return nil, typeError("%s object is not callable", quote(typeName(fn)))
}

func (e *filterExpr) eval(r *run, f *frame) (value, error) {
	v, err := e.arg.eval(r, f)
	if err != nil {
		return nil, err
	}
	return e.apply(r, f, v)
}

// apply filters a value.
func (e *filterExpr) apply(r *run, f *frame, v value) (value, error) {
	if inner, ok := e.arg.(*filterExpr); ok && e.inBlock() {
		var err error
		if v, err = inner.apply(r, f, v); err != nil {
			return nil, err
		}
	}
	a, err := r.arguments(&e.args, f, v)
	if err != nil {
		return nil, err
	}
	return r.filter(e.name, a)
}

// inBlock tells whether the first of a chain of filters has nothing to filter
// but the text of a block.
func (e *filterExpr) inBlock() bool {
	inner, ok := e.arg.(*filterExpr)
	return e.arg == nil || ok && inner.inBlock()
}

func (r *run) filter(name string, a *args) (value, error) {
	fn := filters[name]
	if fn == nil {
		return nil, raise("TemplateRuntimeError", "No filter named %s found.", quote(name))
	}
	if err := r.step(); err != nil {
		return nil, err
	}
	return fn(r, a)
}

func (e *testExpr) eval(r *run, f *frame) (value, error) {
	v, err := e.arg.eval(r, f)
	if err != nil {
		return nil, err
	}
	a, err := r.arguments(&e.args, f, v)
	if err != nil {
		return nil, err
	}
	return r.is(e.name, a)
}

// is applies a test.
func (r *run) is(name string, a *args) (value, error) {
	fn := tests[name]
	if fn == nil {
		return nil, raise("TemplateRuntimeError", "No test named %s found.", quote(name))
	}
	if err := r.step(); err != nil {
		return nil, err
	}
	return fn(r, a)
}
