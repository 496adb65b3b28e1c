package jinja

func init() {
	filters["map"] = func(r *run, a *args) value {
		if len(a.pos) == 0 {
			panic(typeError("map() missing required argument: 'value'"))
		}
		return r.lazily("sync_do_map", a.pos[0], func() func(value) (value, bool) {
			f := r.mapper(&args{a.pos[1:], a.names, a.named})
			return func(v value) (value, bool) {
				return f(v), true
			}
		})
	}
	for name, how := range map[string][2]bool{"select": {false, false}, "reject": {false, true}, "selectattr": {true, false}, "rejectattr": {true, true}} {
		filters[name] = func(r *run, a *args) value {
			return r.lazily("sync_do_"+name, a.pos[0], func() func(value) (value, bool) {
				return r.selector(&args{a.pos[1:], a.names, a.named}, how[0], how[1])
			})
		}
	}
	filters["format"] = func(r *run, a *args) value {
		s := r.text(a.pos[0])
		if len(a.pos) > 1 && len(a.names) > 0 {
			panic(raise("FilterArgumentError", "can't handle positional and keyword arguments at the same time"))
		}
		var v value = newTuple(a.pos[1:]...)
		if len(a.names) > 0 {
			d := newDict()
			for i, name := range a.names {
				d.set(name, a.named[i])
			}
			v = d
		}
		return r.percent(like(a.pos[0], s), s, v)
	}
}

// lazily is a generator over what f makes of the items of v and lets through.
// f is made only if there is something.
func (r *run) lazily(name string, v value, start func() func(value) (value, bool)) *generator {
	return r.generate(name, func() iterator {
		if !r.truth(v) {
			return nil
		}
		f := start()
		it := r.iterate(v)
		return func() (value, bool) {
			for {
				v, ok := it()
				if !ok {
					return nil, false
				}
				if v, ok = f(v); ok {
					return v, ok
				}
			}
		}
	})
}

// mapper is what map applies: a filter, or an attribute.
func (r *run) mapper(a *args) func(value) value {
	if attribute, ok := a.get("attribute"); ok && len(a.pos) == 0 {
		fallback, _ := a.get("default")
		for _, name := range a.names {
			if name != "attribute" && name != "default" {
				panic(raise("FilterArgumentError", "Unexpected keyword argument %s", quote(name)))
			}
		}
		return r.getter(attribute, fallback)
	}
	if len(a.pos) == 0 {
		panic(raise("FilterArgumentError", "map requires a filter argument"))
	}
	r.hash(a.pos[0])
	name := r.text(a.pos[0])
	return func(v value) value {
		return r.filter(name, &args{append([]value{v}, a.pos[1:]...), a.names, a.named})
	}
}

// selector is what select and the like apply: a test, perhaps of an attribute.
func (r *run) selector(a *args, attribute, reject bool) func(value) (value, bool) {
	get := r.getter(nil, nil)
	rest := a.pos
	if attribute {
		if len(rest) == 0 {
			panic(raise("FilterArgumentError", "Missing parameter for attribute name"))
		}
		get, rest = r.getter(rest[0], nil), rest[1:]
	}
	name := ""
	if len(rest) > 0 {
		r.hash(rest[0])
		name = r.text(rest[0])
	}
	return func(v value) (value, bool) {
		got := get(v)
		if len(rest) > 0 {
			got = r.is(name, &args{append([]value{got}, rest[1:]...), a.names, a.named})
		}
		return v, r.truth(got) != reject
	}
}
