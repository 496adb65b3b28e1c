package jinja

import (
	"slices"
	"strings"
)

func init() {
	filter("default d", 1, "value default_value boolean", func(r *run, v []value) value {
		_, use := v[0].(*undefined)
		if use || r.truthArg(v[2]) && !r.truth(v[0]) {
			return orElse(v[1], "")
		}
		return v[0]
	})
	filter("length count", 1, "value", func(r *run, v []value) value { return r.length(v[0]) })
	filter("list", 1, "value", func(r *run, v []value) value { return &list{r.collect(v[0])} })
	filter("items", 1, "value", func(r *run, v []value) value {
		return r.generate("do_items", func() iterator {
			switch d := v[0].(type) {
			case *undefined:
				return nil
			case *dict:
				return r.over((&view{d, "items"}).items())
			}
			panic(typeError("Can only get item pairs from a mapping."))
		})
	})
	filter("first", 1, "seq", func(r *run, v []value) value {
		it := r.iterate(v[0])
		item, ok := it()
		if !ok {
			item = &undefined{"No first item, sequence was empty.", ClassUndefined}
		}
		return item
	})
	filter("last", 1, "seq", func(r *run, v []value) value {
		items := r.reversible(v[0])
		if len(items) == 0 {
			return &undefined{"No last item, sequence was empty.", ClassUndefined}
		}
		return items[len(items)-1]
	})
	filter("reverse", 1, "value", func(r *run, v []value) value {
		if s, ok := str(v[0]); ok {
			return r.slice(like(v[0], s), [3]value{nil, nil, -1})
		}
		items := slices.Clone(r.collectOr(v[0], raise("FilterArgumentError", "argument must be iterable")))
		slices.Reverse(items)
		if _, lazy := v[0].(*generator); lazy {
			return &list{items}
		}
		return &generator{"reversed", r.over(items)}
	})
	filter("sort", 1, "value reverse case_sensitive attribute", func(r *run, v []value) value {
		attrs := []value{v[3]}
		if s, ok := str(v[3]); ok && len(s) <= maxPath {
			attrs = nil
			for _, a := range strings.Split(s, ",") {
				attrs = append(attrs, a)
			}
		}
		var gets []func(value) value
		for _, a := range attrs {
			gets = append(gets, r.folding(r.getter(a, nil), v[2]))
		}
		items := r.collect(v[0])
		reverse := intArg(v[1], 0)
		items = r.sorted(items, func(item value) value {
			key := &list{}
			for _, get := range gets {
				key.items = append(key.items, get(item))
			}
			return key
		}, reverse != 0)
		return &list{items}
	})
	filter("dictsort", 1, "value case_sensitive by reverse", func(r *run, v []value) value {
		at := 0
		switch by, _ := str(v[2]); {
		case by == "value":
			at = 1
		case by != "key" && v[2] != missing:
			panic(raise("FilterArgumentError", `You can only sort by either "key" or "value"`))
		}
		use(v[0])
		d, ok := v[0].(*dict)
		if !ok {
			panic(raise("AttributeError", "%s object has no attribute 'items'", quote(typeName(v[0]))))
		}
		get := r.folding(func(v value) value { return v.(*tuple).items[at] }, v[1])
		reverse := intArg(v[3], 0)
		return &list{r.sorted((&view{d, "items"}).items(), get, reverse != 0)}
	})
	filter("unique", 1, "value case_sensitive attribute", func(r *run, v []value) value {
		return r.generate("sync_do_unique", func() iterator {
			get := r.folding(r.getter(v[2], nil), v[1])
			it := r.iterate(v[0])
			seen := newDict()
			return func() (value, bool) {
				for {
					item, ok := it()
					if !ok {
						return nil, false
					}
					key := get(item)
					if _, twice := r.load(seen, key); !twice {
						r.store(seen, key, nil)
						return item, true
					}
				}
			}
		})
	})
	for name, op := range map[string]string{"min": "<", "max": ">"} {
		filter(name, 1, "value case_sensitive attribute", func(r *run, v []value) value {
			items := r.collect(v[0])
			if len(items) == 0 {
				return &undefined{"No aggregated item, sequence was empty.", ClassUndefined}
			}
			get := r.folding(r.getter(v[2], nil), v[1])
			var best, bestKey value
			for i, item := range items {
				key := get(item)
				better := i == 0
				if !better {
					better = r.order(op, key, bestKey)
				}
				if better {
					best, bestKey = item, key
				}
			}
			return best
		})
	}
	filter("sum", 1, "iterable attribute start", func(r *run, v []value) value {
		it := r.iterate(v[0])
		total := orElse(v[2], 0)
		if _, ok := str(total); ok {
			panic(typeError("sum() can't sum strings [use ''.join(seq) instead]"))
		}
		get := r.getter(v[1], nil)
		for {
			item, ok := it()
			if !ok {
				return total
			}
			total = r.binary("+", total, get(item))
		}
	})
	filter("join", 1, "value d attribute", func(r *run, v []value) value {
		it := r.iterate(v[0])
		between := r.text(orElse(v[1], ""))
		get := r.getter(v[2], nil)
		w := &writer{r: r}
		for first := true; ; first = false {
			item, ok := it()
			if !ok {
				return w.String()
			}
			s := r.text(get(item))
			if !first {
				w.put(between)
			}
			w.put(s)
		}
	})
	for _, name := range []string{"batch", "slice"} {
		filter(name, 2, "value count fill_with", func(r *run, v []value) value {
			return r.generate("sync_do_"+name, func() iterator {
				items := r.collect(v[0])
				fill := orElse(v[2], nil)
				n, limited := 0, true
				if name == "batch" && fill == nil { // compared with lengths only
					limited = catch("", func() { n = operand(v[1], 0) }) == nil
				} else {
					n = operand(v[1], 0)
				}
				if name == "slice" {
					return r.columns(items, n, fill)
				}
				return r.rows(items, n, limited, fill)
			})
		})
	}
	filters["batch"] = renamed(filters["batch"], "linecount", "count")
	filters["slice"] = renamed(filters["slice"], "slices", "count")
	filter("groupby", 2, "value attribute default case_sensitive", groupBy)
	filter("attr", 2, "obj name", func(r *run, v []value) value {
		name, ok := str(v[1])
		if !ok {
			panic(typeError("attribute name must be string, not %s", quote(typeName(v[1]))))
		}
		use(v[0])
		got, ok := r.attribute(v[0], name)
		if !ok {
			got = undefinedIn(v[0], name)
		}
		return got
	})
}

// renamed lets a parameter have another name.
func renamed(f builtin, from, to string) builtin {
	return func(r *run, a *args) value {
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
func (r *run) reversible(v value) []value {
	if _, lazy := v.(*generator); lazy {
		panic(typeError("'generator' object is not reversible"))
	}
	return r.collectOr(v, typeError("%s object is not reversible", quote(typeName(v))))
}

// rows are lists of n items each; as in Jinja, none comes first if n is 0.
func (r *run) rows(items []value, n int, limited bool, fill value) iterator {
	first := true
	return func() (value, bool) {
		if len(items) == 0 {
			return nil, false
		}
		if first && n == 0 && limited {
			first = false
			return &list{}, true
		}
		k := len(items)
		if n > 0 {
			k = min(n, k)
		}
		row := slices.Clone(items[:k])
		items = items[k:]
		r.room(max(n, k))
		for fill != nil && len(row) < n {
			row = append(row, fill)
		}
		return &list{row}, true
	}
}

// columns are n lists of nearly the same length.
func (r *run) columns(items []value, n int, fill value) iterator {
	if n == 0 {
		panic(raise("ZeroDivisionError", "integer division or modulo by zero"))
	}
	per, extra, i := len(items)/n, len(items)%n, 0
	return func() (value, bool) {
		if i >= n {
			return nil, false
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
		r.room(len(column) + 1)
		return &list{column}, true
	}
}

func groupBy(r *run, v []value) value {
	real := r.getter(v[1], v[2])
	get := r.folding(real, v[3])
	items := r.sorted(r.collect(v[0]), get, false)
	groups := &list{}
	var last value
	for i, item := range items {
		key := get(item)
		same := false
		if i > 0 {
			same = r.equal(key, last)
		}
		if !same {
			groups.items = append(groups.items, &tuple{[]value{real(item), &list{}}, []string{"grouper", "list"}})
			r.grow(8 * valueBytes)
		}
		group := groups.items[len(groups.items)-1].(*tuple).items[1].(*list)
		group.items = append(group.items, item)
		last = key
	}
	return groups
}
