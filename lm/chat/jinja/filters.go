package jinja

import (
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
