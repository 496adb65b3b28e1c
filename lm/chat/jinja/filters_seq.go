package jinja

import (
	"math/rand/v2"
	"slices"
	"strings"
)

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
