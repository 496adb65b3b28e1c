package jinja

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// builtin is a filter or a test; the first argument is what it is applied to.
type builtin func(r *run, a *args) (value, error)

// filters are the filters by name.
var filters = map[string]builtin{}

// filter adds a filter of bound arguments, missing where they are not given.
// The parameters are names with spaces between them; so are the names.
func filter(names string, required int, params string, f func(r *run, v []value) (value, error)) {
	for _, name := range strings.Fields(names) {
		fields := strings.Fields(params)
		filters[name] = func(r *run, a *args) (value, error) {
			v, err := a.bind(name, required, fields...)
			if err != nil {
				return nil, err
			}
			return f(r, v)
		}
	}
}

// maxPath is the longest path of attributes, in bytes.
const maxPath = 4096

// getter returns what finds an attribute of items: a path with dots, whose
// numbers are indices. None is the item itself. A fallback, if there is one,
// is in the place of what is undefined.
func (r *run) getter(attribute, fallback value) func(value) (value, error) {
	if attribute == nil || attribute == missing {
		return func(v value) (value, error) { return v, nil }
	}
	path := []value{attribute}
	if s, ok := str(attribute); ok && len(s) <= maxPath {
		path = nil
		for _, part := range strings.Split(s, ".") {
			if i, err := parseInt(part, 10); err == nil && allChars(part, isDigit) {
				path = append(path, i)
			} else {
				path = append(path, part)
			}
		}
	}
	return func(v value) (value, error) {
		for _, key := range path {
			err := r.step()
			if err != nil {
				return nil, err
			}
			if v, err = r.item(v, key); err != nil {
				return nil, err
			}
			if _, gone := v.(*undefined); gone && fallback != nil && fallback != missing {
				v = fallback
			}
		}
		return v, nil
	}
}

// folding makes a getter that lets the case of texts alone unless they are to
// be told apart by it.
func (r *run) folding(get func(value) (value, error), caseSensitive value) (func(value) (value, error), error) {
	sensitive, err := r.truthArg(caseSensitive)
	if err != nil || sensitive {
		return get, err
	}
	return func(v value) (value, error) {
		v, err := get(v)
		if s, ok := str(v); ok {
			return lower(s), r.grow(len(s))
		}
		return v, err
	}, nil
}

// sorted returns items in the order of their keys. Equal ones keep theirs,
// also in reverse.
func (r *run) sorted(items []value, key func(value) (value, error), reverse bool) ([]value, error) {
	if err := r.room(3 * len(items)); err != nil {
		return nil, err
	}
	type keyed struct{ key, item value }
	ks := make([]keyed, len(items))
	for i, item := range items {
		k, err := key(item)
		if err != nil {
			return nil, err
		}
		ks[i] = keyed{k, item}
	}
	if reverse {
		slices.Reverse(ks)
	}
	var failed error
	slices.SortStableFunc(ks, func(a, b keyed) int {
		if failed != nil {
			return 0
		}
		less, err := r.order("<", a.key, b.key)
		if err == nil && !less {
			var more bool
			if more, err = r.order("<", b.key, a.key); more {
				return 1
			}
		}
		failed = err
		if less {
			return -1
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
	return out, failed
}

func init() {
	filter("default d", 1, "value default_value boolean", func(r *run, v []value) (value, error) {
		use := false
		if _, ok := v[0].(*undefined); ok {
			use = true
		} else if boolean, err := r.truthArg(v[2]); err != nil {
			return nil, err
		} else if boolean {
			ok, err := r.truth(v[0])
			if err != nil {
				return nil, err
			}
			use = !ok
		}
		switch {
		case !use:
			return v[0], nil
		case v[1] == missing:
			return "", nil
		}
		return v[1], nil
	})
	filter("length count", 1, "value", func(r *run, v []value) (value, error) { return r.length(v[0]) })
	filter("list", 1, "value", func(r *run, v []value) (value, error) {
		items, err := r.collect(v[0])
		return &list{items}, err
	})
	filter("items", 1, "value", func(r *run, v []value) (value, error) {
		return r.generate("do_items", func() (iterator, error) {
			switch d := v[0].(type) {
			case *undefined:
				return nil, nil
			case *dict:
				return r.over((&view{d, "items"}).items()), nil
			}
			return nil, typeError("Can only get item pairs from a mapping.")
		}), nil
	})
	filter("first", 1, "seq", func(r *run, v []value) (value, error) {
		it, err := r.iterate(v[0])
		if err != nil {
			return nil, err
		}
		item, ok, err := it()
		if !ok {
			item = &undefined{"No first item, sequence was empty.", ClassUndefined}
		}
		return item, err
	})
	filter("last", 1, "seq", func(r *run, v []value) (value, error) {
		items, err := r.reversible(v[0])
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return &undefined{"No last item, sequence was empty.", ClassUndefined}, nil
		}
		return items[len(items)-1], nil
	})
	filter("random", 1, "seq", func(r *run, v []value) (value, error) {
		n, err := r.length(v[0])
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return &undefined{"No random item, sequence was empty.", ClassUndefined}, nil
		}
		got, ok, err := r.element(v[0], rand.IntN(n))
		if !ok && err == nil {
			err = raise("KeyError", "%s is no sequence", quote(typeName(v[0])))
		}
		return got, err
	})
	filter("reverse", 1, "value", func(r *run, v []value) (value, error) {
		if s, ok := str(v[0]); ok {
			return r.slice(like(v[0], s), [3]value{nil, nil, -1})
		}
		items, err := r.collect(v[0])
		if err != nil {
			if e, ok := err.(*Error); ok && e.Class == "TypeError" {
				err = raise("FilterArgumentError", "argument must be iterable")
			}
			return nil, err
		}
		items = slices.Clone(items)
		slices.Reverse(items)
		if _, lazy := v[0].(*generator); lazy {
			return &list{items}, nil
		}
		return &generator{"reversed", r.over(items)}, nil
	})
	filter("sort", 1, "value reverse case_sensitive attribute", func(r *run, v []value) (value, error) {
		attrs := []value{v[3]}
		if s, ok := str(v[3]); ok && len(s) <= maxPath {
			attrs = nil
			for _, a := range strings.Split(s, ",") {
				attrs = append(attrs, a)
			}
		}
		var gets []func(value) (value, error)
		for _, a := range attrs {
			get, err := r.folding(r.getter(a, nil), v[2])
			if err != nil {
				return nil, err
			}
			gets = append(gets, get)
		}
		items, err := r.collect(v[0])
		if err != nil {
			return nil, err
		}
		reverse, err := intArg(v[1], 0)
		if err != nil {
			return nil, err
		}
		items, err = r.sorted(items, func(item value) (value, error) {
			key := &list{}
			for _, get := range gets {
				k, err := get(item)
				if err != nil {
					return nil, err
				}
				key.items = append(key.items, k)
			}
			return key, nil
		}, reverse != 0)
		return &list{items}, err
	})
	filter("dictsort", 1, "value case_sensitive by reverse", func(r *run, v []value) (value, error) {
		at := 0
		switch by, _ := str(v[2]); {
		case by == "value":
			at = 1
		case by != "key" && v[2] != missing:
			return nil, raise("FilterArgumentError", `You can only sort by either "key" or "value"`)
		}
		if u, ok := v[0].(*undefined); ok {
			return nil, u.err()
		}
		d, ok := v[0].(*dict)
		if !ok {
			return nil, raise("AttributeError", "%s object has no attribute 'items'", quote(typeName(v[0])))
		}
		get, err := r.folding(func(v value) (value, error) { return v.(*tuple).items[at], nil }, v[1])
		if err != nil {
			return nil, err
		}
		reverse, err := intArg(v[3], 0)
		if err != nil {
			return nil, err
		}
		items, err := r.sorted((&view{d, "items"}).items(), get, reverse != 0)
		return &list{items}, err
	})
	filter("unique", 1, "value case_sensitive attribute", func(r *run, v []value) (value, error) {
		return r.generate("sync_do_unique", func() (iterator, error) {
			get, err := r.folding(r.getter(v[2], nil), v[1])
			if err != nil {
				return nil, err
			}
			it, err := r.iterate(v[0])
			if err != nil {
				return nil, err
			}
			seen := newDict()
			return func() (value, bool, error) {
				for {
					item, ok, err := it()
					if !ok || err != nil {
						return nil, false, err
					}
					key, err := get(item)
					if err != nil {
						return nil, false, err
					}
					if _, twice, err := r.load(seen, key); err != nil {
						return nil, false, err
					} else if !twice {
						return item, true, r.store(seen, key, nil)
					}
				}
			}, nil
		}), nil
	})
	for name, op := range map[string]string{"min": "<", "max": ">"} {
		filter(name, 1, "value case_sensitive attribute", func(r *run, v []value) (value, error) {
			items, err := r.collect(v[0])
			if err != nil {
				return nil, err
			}
			if len(items) == 0 {
				return &undefined{"No aggregated item, sequence was empty.", ClassUndefined}, nil
			}
			get, err := r.folding(r.getter(v[2], nil), v[1])
			if err != nil {
				return nil, err
			}
			var best, bestKey value
			for i, item := range items {
				key, err := get(item)
				if err != nil {
					return nil, err
				}
				better := i == 0
				if !better {
					if better, err = r.order(op, key, bestKey); err != nil {
						return nil, err
					}
				}
				if better {
					best, bestKey = item, key
				}
			}
			return best, nil
		})
	}
	filter("sum", 1, "iterable attribute start", func(r *run, v []value) (value, error) {
		it, err := r.iterate(v[0])
		if err != nil {
			return nil, err
		}
		total := v[2]
		if total == missing {
			total = 0
		}
		if _, ok := str(total); ok {
			return nil, typeError("sum() can't sum strings [use ''.join(seq) instead]")
		}
		get := r.getter(v[1], nil)
		for {
			item, ok, err := it()
			if !ok || err != nil {
				return total, err
			}
			if item, err = get(item); err != nil {
				return nil, err
			}
			if total, err = r.binary("+", total, item); err != nil {
				return nil, err
			}
		}
	})
	filter("join", 1, "value d attribute", func(r *run, v []value) (value, error) {
		it, err := r.iterate(v[0])
		if err != nil {
			return nil, err
		}
		sep := value("")
		if v[1] != missing {
			sep = v[1]
		}
		between, err := r.text(sep)
		if err != nil {
			return nil, err
		}
		get := r.getter(v[2], nil)
		w := &writer{r: r}
		for first := true; ; first = false {
			item, ok, err := it()
			if !ok || err != nil {
				return r.safeIf(w.String(), v[1]), err
			}
			if item, err = get(item); err != nil {
				return nil, err
			}
			s, err := r.text(item)
			if err == nil && !first {
				err = w.put(between)
			}
			if err == nil {
				err = w.put(s)
			}
			if err != nil {
				return nil, err
			}
		}
	})
	for _, name := range []string{"batch", "slice"} {
		filter(name, 2, "value count fill_with", func(r *run, v []value) (value, error) {
			return r.generate("sync_do_"+name, func() (iterator, error) {
				items, err := r.collect(v[0])
				if err != nil {
					return nil, err
				}
				fill := v[2]
				if fill == missing {
					fill = nil
				}
				n, err := operand(v[1], 0)
				limited := err == nil
				if name == "batch" && fill == nil && err != nil {
					n, err = 0, nil // compared with lengths only
				}
				if err != nil {
					return nil, err
				}
				if name == "slice" {
					return r.columns(items, n, fill)
				}
				return r.rows(items, n, limited, fill), nil
			}), nil
		})
	}
	filters["batch"] = renamed(filters["batch"], "linecount", "count")
	filters["slice"] = renamed(filters["slice"], "slices", "count")
	filter("groupby", 2, "value attribute default case_sensitive", groupBy)
	filter("attr", 2, "obj name", func(r *run, v []value) (value, error) {
		name, ok := str(v[1])
		if !ok {
			return nil, typeError("attribute name must be string, not %s", quote(typeName(v[1])))
		}
		if u, ok := v[0].(*undefined); ok {
			return nil, u.err()
		}
		got, ok, err := r.attribute(v[0], name)
		if !ok && err == nil {
			got = undefinedIn(v[0], name)
		}
		return got, err
	})
}

// safeIf makes markup of a text in a block that escapes, if a value is markup.
func (r *run) safeIf(text string, v value) value {
	if _, ok := v.(markup); ok && r.autoescape {
		return markup(text)
	}
	return text
}

// renamed lets a parameter have another name.
func renamed(f builtin, from, to string) builtin {
	return func(r *run, a *args) (value, error) {
		b := &args{a.pos, slices.Clone(a.names), a.named}
		for i, name := range b.names {
			if name == from {
				b.names[i] = to
			}
		}
		return f(r, b)
	}
}

// reversible returns the items of what reversed() takes.
func (r *run) reversible(v value) ([]value, error) {
	if _, lazy := v.(*generator); lazy {
		return nil, typeError("'generator' object is not reversible")
	}
	items, err := r.collect(v)
	if e, ok := err.(*Error); ok && e.Class == "TypeError" {
		err = typeError("%s object is not reversible", quote(typeName(v)))
	}
	return items, err
}

// rows are lists of n items each; as in Jinja, none comes first if n is 0.
func (r *run) rows(items []value, n int, limited bool, fill value) iterator {
	first := true
	return func() (value, bool, error) {
		if len(items) == 0 {
			return nil, false, nil
		}
		if first && n == 0 && limited {
			first = false
			return &list{}, true, nil
		}
		k := len(items)
		if n > 0 {
			k = min(n, k)
		}
		row := slices.Clone(items[:k])
		items = items[k:]
		if err := r.room(max(n, k)); err != nil {
			return nil, false, err
		}
		for fill != nil && len(row) < n {
			row = append(row, fill)
		}
		return &list{row}, true, nil
	}
}

// columns are n lists of nearly the same length.
func (r *run) columns(items []value, n int, fill value) (iterator, error) {
	if n == 0 {
		return nil, raise("ZeroDivisionError", "integer division or modulo by zero")
	}
	per, extra, i := len(items)/n, len(items)%n, 0
	return func() (value, bool, error) {
		if i >= n {
			return nil, false, nil
		}
		size := per
		if i < extra {
			size++
		}
		column := slices.Clone(items[:size])
		if fill != nil && i >= extra {
			column = append(column, fill)
		}
		items = items[size:]
		i++
		return &list{column}, true, r.room(len(column) + 1)
	}, nil
}

func groupBy(r *run, v []value) (value, error) {
	real := r.getter(v[1], v[2])
	get, err := r.folding(real, v[3])
	if err != nil {
		return nil, err
	}
	items, err := r.collect(v[0])
	if err != nil {
		return nil, err
	}
	if items, err = r.sorted(items, get, false); err != nil {
		return nil, err
	}
	groups := &list{}
	var last value
	for i, item := range items {
		key, err := get(item)
		if err != nil {
			return nil, err
		}
		same := false
		if i > 0 {
			if same, err = r.equal(key, last); err != nil {
				return nil, err
			}
		}
		if !same {
			shown, err := real(item)
			if err != nil {
				return nil, err
			}
			groups.items = append(groups.items, &tuple{[]value{shown, &list{}}, []string{"grouper", "list"}})
			if err := r.grow(8 * valueBytes); err != nil {
				return nil, err
			}
		}
		group := groups.items[len(groups.items)-1].(*tuple).items[1].(*list)
		group.items = append(group.items, item)
		last = key
	}
	return groups, nil
}

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
