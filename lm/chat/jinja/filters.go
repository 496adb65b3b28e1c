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
		filters[name] = func(r *run, a *args) value {
			return f(r, a.bind(name, required, fields...))
		}
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
				catch("", func() { key = parseInt(part, 10) })
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
