package jinja

import (
	"math/big"
	"slices"
	"strings"
)

// method is a method of a type; self is the object.
type method func(r *run, self value, a *args) value

// attribute is getattr(v, name) as the sandbox allows it; ok is false if there
// is none. What the sandbox forbids is an undefined value whose use is a
// SecurityError.
func (r *run) attribute(v value, name string) (got value, ok bool) {
	if ns, ok := v.(*namespace); ok {
		got, ok := ns.attrs.get(name)
		return got, ok
	}
	if strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") && slices.Contains(dunders, name) {
		return unsafe(v, name), true
	}
	var methods map[string]method
	switch v := v.(type) {
	case string, markup:
		methods = stringMethods
	case *list:
		methods = listMethods
		if slices.Contains([]string{"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"}, name) {
			return unsafe(v, name), true
		}
	case *tuple:
		methods = listMethods
		if name == "copy" {
			return nil, false
		}
		if i := slices.Index(v.names, name); i >= 0 {
			return v.items[i], true
		}
	case *dict:
		methods = dictMethods
		if slices.Contains([]string{"clear", "pop", "popitem", "setdefault", "update"}, name) {
			return unsafe(v, name), true
		}
	case *view:
		if name == "mapping" {
			return v.of, true
		}
		methods = viewMethods
	case bool, int, *big.Int:
		switch name {
		case "real", "numerator":
			n, _ := number(v)
			return n, true
		case "imag":
			return 0, true
		case "denominator":
			return 1, true
		}
		methods = intMethods
	case float64:
		switch name {
		case "real":
			return v, true
		case "imag":
			return 0.0, true
		}
		methods = floatMethods
	case *span:
		switch name {
		case "start":
			return v.start, true
		case "stop":
			return v.stop, true
		case "step":
			return v.step, true
		}
		methods = spanMethods
	case *function:
		if f := v.attrs[name]; f != nil {
			return f, true
		}
		return nil, false
	case *macro:
		got, ok := macroAttribute(v, name)
		return got, ok
	case *loop:
		return v.attribute(name)
	case *cycler:
		switch name {
		case "current":
			return v.items[v.at], true
		case "items":
			return &tuple{items: v.items}, true
		case "pos":
			return v.at, true
		}
		methods = cyclerMethods
	case *joiner:
		switch name {
		case "sep":
			return v.sep, true
		case "used":
			return v.used, true
		}
	case *block:
		if name == "name" {
			return v.stmt.name, true
		}
	case *generator:
		if strings.HasPrefix(name, "gi_") || name == "send" || name == "throw" || name == "close" {
			return unsafe(v, name), true
		}
	}
	m := methods[name]
	if m == nil {
		return nil, false
	}
	return &function{name: name, call: func(r *run, a *args) value { return m(r, v, a) }}, true
}

// dunders are attributes that every object has.
var dunders = []string{
	"__class__", "__delattr__", "__dir__", "__doc__", "__eq__", "__format__", "__ge__", "__getattribute__", "__getstate__", "__gt__",
	"__hash__", "__init__", "__init_subclass__", "__le__", "__lt__", "__ne__", "__new__", "__reduce__", "__reduce_ex__", "__repr__",
	"__setattr__", "__sizeof__", "__str__", "__subclasshook__", "__dict__", "__len__", "__iter__",
	"__getitem__", "__contains__", "__module__",
}

func unsafe(v value, name string) *undefined {
	return &undefined{"access to attribute " + quote(name) + " of " + quote(typeName(v)) + " object is unsafe.", "SecurityError"}
}

func macroAttribute(m *macro, name string) (value, bool) {
	switch d := m.def; name {
	case "name":
		if d.anonymous {
			return nil, true
		}
		return d.name, true
	case "arguments":
		t := &tuple{}
		for _, p := range d.params {
			t.items = append(t.items, p)
		}
		return t, true
	case "catch_kwargs":
		return d.kwargs >= 0, true
	case "catch_varargs":
		return d.varargs >= 0, true
	case "caller":
		return d.caller >= 0, true
	case "explicit_caller":
		return d.explicitCaller, true
	}
	return nil, false
}

// attribute is an attribute of the variable loop.
func (l *loop) attribute(name string) (value, bool) {
	length := func(sub int) (value, bool) {
		return l.len() - sub, true
	}
	switch name {
	case "index":
		return l.index0 + 1, true
	case "index0":
		return l.index0, true
	case "depth":
		return l.depth0 + 1, true
	case "depth0":
		return l.depth0, true
	case "first":
		return l.index0 == 0, true
	case "length":
		return length(0)
	case "revindex":
		return length(l.index0)
	case "revindex0":
		return length(l.index0 + 1)
	case "previtem":
		if l.index0 == 0 {
			return &undefined{"there is no previous item", ClassUndefined}, true
		}
		return l.before, true
	case "last", "nextitem":
		v, ok := l.peek()
		switch {
		case name == "last":
			return !ok, true
		case !ok:
			return &undefined{"there is no next item", ClassUndefined}, true
		}
		return v, true
	case "cycle":
		return &function{name: name, call: func(_ *run, a *args) value {
			if len(a.pos) == 0 {
				panic(typeError("no items for cycling given"))
			}
			return a.pos[l.index0%len(a.pos)]
		}}, true
	case "changed":
		return &function{name: name, call: func(r *run, a *args) value {
			now := append([]value{}, a.pos...)
			if l.changed != nil {
				if r.equalItems(l.changed, now) {
					return false
				}
			}
			l.changed = now
			return true
		}}, true
	}
	return nil, false
}
