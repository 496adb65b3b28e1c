package jinja

import (
	"slices"
	"strings"
)

// builtin is a filter or a test; the first argument is what it is applied to.
type builtin func(r *run, a *args) value

// filters are the filters by name.
var filters = map[string]builtin{}

// filter adds a filter of bound arguments, missing where they are not given.
// The parameters are names with spaces between them; so are the names.
func filter(names string, required int, params string, f func(r *run, v []value) value) {
	for _, name := range strings.Fields(names) {
		fields := strings.Fields(params)
		filters[name] = func(r *run, a *args) value { return f(r, a.bind(name, required, fields...)) }
	}
}

// maxPath is the longest path of attributes, in bytes.
const maxPath = 4096

// getter returns what finds an attribute of items: a path with dots, whose
// numbers are indices. None is the item itself. A fallback, if there is one,
// is in the place of what is undefined.
func (r *run) getter(attribute, fallback value) func(value) value {
	if attribute == nil || attribute == missing {
		return func(v value) value { return v }
	}
	path := []value{attribute}
	if s, ok := str(attribute); ok && len(s) <= maxPath {
		path = nil
		for _, part := range strings.Split(s, ".") {
			var key value = part
			if allChars(part, isDigit) {
				catch("ValueError", func() { key = parseInt(part, 10) })
			}
			path = append(path, key)
		}
	}
	return func(v value) value {
		for _, key := range path {
			r.step()
			v = r.item(v, key)
			if _, gone := v.(*undefined); gone && fallback != nil && fallback != missing {
				v = fallback
			}
		}
		return v
	}
}

// folding makes a getter that lets the case of texts alone unless they are to
// be told apart by it.
func (r *run) folding(get func(value) value, caseSensitive value) func(value) value {
	if r.truthArg(caseSensitive) {
		return get
	}
	return func(v value) value {
		v = get(v)
		if s, ok := str(v); ok {
			r.grow(len(s))
			return lower(s)
		}
		return v
	}
}

// sorted returns items in the order of their keys. Equal ones keep theirs,
// also in reverse.
func (r *run) sorted(items []value, key func(value) value, reverse bool) []value {
	r.room(3 * len(items))
	type keyed struct{ key, item value }
	ks := make([]keyed, len(items))
	for i, item := range items {
		ks[i] = keyed{key(item), item}
	}
	if reverse {
		slices.Reverse(ks)
	}
	slices.SortStableFunc(ks, func(a, b keyed) int {
		switch {
		case r.order("<", a.key, b.key):
			return -1
		case r.order("<", b.key, a.key):
			return 1
		}
		return 0
	})
	if reverse {
		slices.Reverse(ks)
	}
	out := make([]value, len(ks))
	for i, k := range ks {
		out[i] = k.item
	}
	return out
}

func init() {
	filters["map"] = func(r *run, a *args) value {
		if len(a.pos) == 0 {
			panic(typeError("map() missing required argument: 'value'"))
		}
		return r.lazily("sync_do_map", a.pos[0], func() func(value) (value, bool) {
			f := r.mapper(&args{a.pos[1:], a.names, a.named})
			return func(v value) (value, bool) { return f(v), true }
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
	return func(v value) value { return r.filter(name, &args{append([]value{v}, a.pos[1:]...), a.names, a.named}) }
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
