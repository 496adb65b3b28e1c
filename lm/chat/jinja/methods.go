package jinja

import (
	"slices"
	"strings"
)

// keywords are the methods whose arguments have names.
var keywords = []string{"split", "rsplit", "splitlines"}

// methodSet adds a method of bound arguments, missing where they are not given.
// The parameters are names with spaces between them.
func methodSet(set map[string]method, name string, required int, params string, f func(r *run, self value, v []value) value) {
	names := strings.Fields(params)
	set[name] = func(r *run, self value, a *args) value {
		if len(a.names) > 0 && !slices.Contains(keywords, name) {
			panic(typeError("%s() takes no keyword arguments", name))
		}
		return f(r, self, a.bind(name, required, names...))
	}
}

var (
	stringMethods = map[string]method{}
	listMethods   = map[string]method{} // of tuples too
	dictMethods   = map[string]method{}
	spanMethods   = map[string]method{}
)

func init() {
	methodSet(listMethods, "copy", 0, "", func(_ *run, self value, _ []value) value { return self })
	methodSet(listMethods, "index", 1, "value start stop", func(r *run, self value, v []value) value {
		items := r.collect(self)
		bounds := [3]value{}
		for i, b := range v[1:] {
			if b != missing {
				bounds[i] = b
			}
		}
		start, stop, _ := sliceBounds(bounds, len(items))
		for i := start; i < stop; i++ {
			if r.equal(items[i], v[0]) {
				return i
			}
		}
		panic(valueError("%s is not in %s", shortRepr(v[0]), typeName(self)))
	})
	methodSet(listMethods, "count", 1, "value", func(r *run, self value, v []value) value {
		items := r.collect(self)
		n := 0
		for _, item := range items {
			n += truthInt(r.equal(item, v[0]))
		}
		return n
	})
	spanMethods["index"], spanMethods["count"] = listMethods["index"], listMethods["count"]

	for _, kind := range []string{"keys", "values", "items"} {
		methodSet(dictMethods, kind, 0, "", func(_ *run, self value, _ []value) value {
			return &view{self.(*dict), kind}
		})
	}
	methodSet(dictMethods, "get", 1, "key default", func(r *run, self value, v []value) value {
		if got, ok := r.load(self.(*dict), v[0]); ok {
			return got
		}
		return orElse(v[1], nil)
	})
	methodSet(dictMethods, "copy", 0, "", func(r *run, self value, _ []value) value { return r.dictOf(self) })
}

// dictOf is dict(v): of a dict, or of pairs.
func (r *run) dictOf(v value) *dict {
	d := newDict()
	if from, ok := v.(*dict); ok {
		for _, e := range from.entries {
			r.store(d, e.key, e.val)
		}
		return d
	}
	pairs := r.collect(v)
	for i, p := range pairs {
		var pair []value
		if catch("TypeError", func() { pair = r.collect(p) }) != nil {
			panic(typeError("cannot convert dictionary update sequence element #%d to a sequence", i))
		}
		if len(pair) != 2 {
			panic(valueError("dictionary update sequence element #%d has length %d; 2 is required", i, len(pair)))
		}
		r.store(d, pair[0], pair[1])
	}
	return d
}
