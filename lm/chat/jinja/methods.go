package jinja

import (
	"math"
	"math/big"
	"slices"
	"strings"
)

// keywords are the methods whose arguments have names.
var keywords = []string{"split", "rsplit", "splitlines", "expandtabs", "conjugate"}

// fixed makes a method of a function of bound arguments, missing where they are
// not given. The parameters are names with spaces between them.
func fixed(name string, required int, params string, f func(r *run, self value, v []value) (value, error)) method {
	names := strings.Fields(params)
	return func(r *run, self value, a *args) (value, error) {
		if len(a.names) > 0 && !slices.Contains(keywords, name) {
			return nil, typeError("%s() takes no keyword arguments", name)
		}
		v, err := a.bind(name, required, names...)
		if err != nil {
			return nil, err
		}
		return f(r, self, v)
	}
}

func methodSet(set map[string]method, name string, required int, params string, f func(r *run, self value, v []value) (value, error)) {
	set[name] = fixed(name, required, params, f)
}

var (
	stringMethods = map[string]method{}
	listMethods   = map[string]method{} // of tuples too
	dictMethods   = map[string]method{}
	viewMethods   = map[string]method{}
	spanMethods   = map[string]method{}
	intMethods    = map[string]method{}
	floatMethods  = map[string]method{}
	cyclerMethods = map[string]method{}
)

func init() {
	methodSet(listMethods, "copy", 0, "", func(_ *run, self value, _ []value) (value, error) { return self, nil })
	methodSet(listMethods, "index", 1, "value start stop", func(r *run, self value, v []value) (value, error) {
		items, err := r.collect(self)
		if err != nil {
			return nil, err
		}
		bounds := [3]value{}
		for i, b := range v[1:] {
			if b != missing {
				bounds[i] = b
			}
		}
		start, stop, _, err := sliceBounds(bounds, len(items))
		if err != nil {
			return nil, err
		}
		for i := start; i < stop; i++ {
			if eq, err := r.equal(items[i], v[0]); eq || err != nil {
				return i, err
			}
		}
		return nil, valueError("%s is not in %s", shortRepr(v[0]), typeName(self))
	})
	methodSet(listMethods, "count", 1, "value", func(r *run, self value, v []value) (value, error) {
		items, err := r.collect(self)
		n := 0
		for _, item := range items {
			eq, err := r.equal(item, v[0])
			if err != nil {
				return nil, err
			}
			n += truthInt(eq)
		}
		return n, err
	})
	spanMethods["index"], spanMethods["count"] = listMethods["index"], listMethods["count"]

	for _, kind := range []string{"keys", "values", "items"} {
		methodSet(dictMethods, kind, 0, "", func(_ *run, self value, _ []value) (value, error) {
			return &view{self.(*dict), kind}, nil
		})
	}
	methodSet(dictMethods, "get", 1, "key default", func(r *run, self value, v []value) (value, error) {
		got, ok, err := r.load(self.(*dict), v[0])
		if !ok && v[1] != missing {
			got = v[1]
		}
		return got, err
	})
	methodSet(dictMethods, "copy", 0, "", func(r *run, self value, _ []value) (value, error) {
		return r.dictOf(self)
	})
	methodSet(dictMethods, "fromkeys", 1, "iterable value", fromKeys)
	methodSet(viewMethods, "isdisjoint", 1, "other", func(r *run, self value, v []value) (value, error) {
		items, err := r.collect(v[0])
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			if in, err := r.contains(self, item); in || err != nil {
				return false, err
			}
		}
		return true, nil
	})

	methodSet(intMethods, "bit_length", 0, "", func(_ *run, self value, _ []value) (value, error) {
		i, _ := integer(self)
		return i.BitLen(), nil
	})
	methodSet(intMethods, "bit_count", 0, "", func(_ *run, self value, _ []value) (value, error) {
		i, _ := integer(self)
		return strings.Count(new(big.Int).Abs(i).Text(2), "1"), nil
	})
	methodSet(intMethods, "as_integer_ratio", 0, "", func(_ *run, self value, _ []value) (value, error) {
		n, _ := number(self)
		return newTuple(n, 1), nil
	})
	for _, set := range []map[string]method{intMethods, floatMethods} {
		methodSet(set, "conjugate", 0, "", func(_ *run, self value, _ []value) (value, error) {
			n, _ := number(self)
			return n, nil
		})
	}
	methodSet(floatMethods, "is_integer", 0, "", func(_ *run, self value, _ []value) (value, error) {
		f := self.(float64)
		return f == math.Trunc(f) && !math.IsInf(f, 0), nil
	})
	methodSet(floatMethods, "as_integer_ratio", 0, "", func(_ *run, self value, _ []value) (value, error) {
		x, _ := exact(self)
		if x == nil {
			return nil, raise("OverflowError", "cannot convert Infinity or NaN to integer ratio")
		}
		return newTuple(normal(x.Num()), normal(x.Denom())), nil
	})

	methodSet(cyclerMethods, "next", 0, "", func(_ *run, self value, _ []value) (value, error) {
		c := self.(*cycler)
		v := c.items[c.at]
		c.at = (c.at + 1) % len(c.items)
		return v, nil
	})
	methodSet(cyclerMethods, "reset", 0, "", func(_ *run, self value, _ []value) (value, error) {
		self.(*cycler).at = 0
		return nil, nil
	})
}

// fromKeys is dict.fromkeys.
func fromKeys(r *run, _ value, v []value) (value, error) {
	keys, err := r.collect(v[0])
	if err != nil {
		return nil, err
	}
	val := v[1]
	if val == missing {
		val = nil
	}
	d := newDict()
	for _, k := range keys {
		if err := r.store(d, k, val); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// dictOf is dict(v): of a dict, or of pairs.
func (r *run) dictOf(v value) (*dict, error) {
	d := newDict()
	if from, ok := v.(*dict); ok {
		for _, e := range from.entries {
			if err := r.store(d, e.key, e.val); err != nil {
				return nil, err
			}
		}
		return d, nil
	}
	pairs, err := r.collect(v)
	if err != nil {
		return nil, err
	}
	for i, p := range pairs {
		pair, err := r.collect(p)
		if err != nil {
			return nil, typeError("cannot convert dictionary update sequence element #%d to a sequence", i)
		}
		if len(pair) != 2 {
			return nil, valueError("dictionary update sequence element #%d has length %d; 2 is required", i, len(pair))
		}
		if err := r.store(d, pair[0], pair[1]); err != nil {
			return nil, err
		}
	}
	return d, nil
}
