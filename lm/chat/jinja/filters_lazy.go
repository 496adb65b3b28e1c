package jinja

func init() {
	filters["map"] = func(r *run, a *args) (value, error) {
		if len(a.pos) == 0 {
			return nil, typeError("map() missing required argument: 'value'")
		}
		return r.lazily("sync_do_map", a.pos[0], func() (func(value) (value, bool, error), error) {
			f, err := r.mapper(&args{a.pos[1:], a.names, a.named})
			return func(v value) (value, bool, error) {
				v, err := f(v)
				return v, true, err
			}, err
		}), nil
	}
	for name, how := range map[string][2]bool{"select": {false, false}, "reject": {false, true}, "selectattr": {true, false}, "rejectattr": {true, true}} {
		filters[name] = func(r *run, a *args) (value, error) {
			return r.lazily("sync_do_"+name, a.pos[0], func() (func(value) (value, bool, error), error) {
				return r.selector(&args{a.pos[1:], a.names, a.named}, how[0], how[1])
			}), nil
		}
	}
	filters["format"] = func(r *run, a *args) (value, error) {
		s, err := r.text(a.pos[0])
		if err != nil {
			return nil, err
		}
		if len(a.pos) > 1 && len(a.names) > 0 {
			return nil, raise("FilterArgumentError", "can't handle positional and keyword arguments at the same time")
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
func (r *run) lazily(name string, v value, start func() (func(value) (value, bool, error), error)) *generator {
	return r.generate(name, func() (iterator, error) {
		if some, err := r.truth(v); !some || err != nil {
			return nil, err
		}
		f, err := start()
		if err != nil {
			return nil, err
		}
		it, err := r.iterate(v)
		if err != nil {
			return nil, err
		}
		return func() (value, bool, error) {
			for {
				v, ok, err := it()
				if !ok || err != nil {
					return nil, false, err
				}
				if v, ok, err = f(v); ok || err != nil {
					return v, ok, err
				}
			}
		}, nil
	})
}

// mapper is what map applies: a filter, or an attribute.
func (r *run) mapper(a *args) (func(value) (value, error), error) {
	if attribute, ok := a.get("attribute"); ok && len(a.pos) == 0 {
		fallback, _ := a.get("default")
		for _, name := range a.names {
			if name != "attribute" && name != "default" {
				return nil, raise("FilterArgumentError", "Unexpected keyword argument %s", quote(name))
			}
		}
		return r.getter(attribute, fallback), nil
	}
	if len(a.pos) == 0 {
		return nil, raise("FilterArgumentError", "map requires a filter argument")
	}
	if _, err := r.hash(a.pos[0]); err != nil {
		return nil, err
	}
	name, err := r.text(a.pos[0])
	return func(v value) (value, error) {
		return r.filter(name, &args{append([]value{v}, a.pos[1:]...), a.names, a.named})
	}, err
}

// selector is what select and the like apply: a test, perhaps of an attribute.
func (r *run) selector(a *args, attribute, reject bool) (func(value) (value, bool, error), error) {
	get := r.getter(nil, nil)
	rest := a.pos
	if attribute {
		if len(rest) == 0 {
			return nil, raise("FilterArgumentError", "Missing parameter for attribute name")
		}
		get, rest = r.getter(rest[0], nil), rest[1:]
	}
	name := ""
	if len(rest) > 0 {
		if _, err := r.hash(rest[0]); err != nil {
			return nil, err
		}
		var err error
		if name, err = r.text(rest[0]); err != nil {
			return nil, err
		}
	}
	return func(v value) (value, bool, error) {
		got, err := get(v)
		if err == nil && len(rest) > 0 {
			got, err = r.is(name, &args{append([]value{got}, rest[1:]...), a.names, a.named})
		}
		if err != nil {
			return nil, false, err
		}
		ok, err := r.truth(got)
		return v, ok != reject, err
	}, nil
}
