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
	var fields map[string]value
	var refused []string
	switch v := v.(type) {
	case string, markup:
		methods = stringMethods
	case *list:
		methods, refused = listMethods, listChanges
	case *tuple:
		if i := slices.Index(v.names, name); i >= 0 {
			return v.items[i], true
		}
		if name != "copy" {
			methods = listMethods
		}
	case *dict:
		methods, refused = dictMethods, dictChanges
	case *view:
		methods = viewMethods
		fields = map[string]value{"mapping": v.of}
	case bool, int, *big.Int:
		n, _ := number(v)
		methods = intMethods
		fields = map[string]value{"real": n, "numerator": n, "imag": 0, "denominator": 1}
	case float64:
		methods = floatMethods
		fields = map[string]value{"real": v, "imag": 0.0}
	case *span:
		methods = spanMethods
		fields = map[string]value{"start": v.start, "stop": v.stop, "step": v.step}
	case *function:
		if f := v.attrs[name]; f != nil {
			return f, true
		}
	case *macro:
		fields = v.fields()
	case *loop:
		if get := loopFields[name]; get != nil {
			return get(v), true
		}
	case *cycler:
		methods = cyclerMethods
		fields = map[string]value{"current": v.items[v.at], "items": newTuple(v.items...), "pos": v.at}
	case *joiner:
		fields = map[string]value{"sep": v.sep, "used": v.used}
	case *block:
		fields = map[string]value{"name": v.stmt.name}
	case *generator:
		if refused = generatorFields; strings.HasPrefix(name, "gi_") {
			return unsafe(v, name), true
		}
	}
	if slices.Contains(refused, name) {
		return unsafe(v, name), true
	}
	if m := methods[name]; m != nil {
		return &function{name: name, call: func(r *run, a *args) value { return m(r, v, a) }}, true
	}
	got, ok = fields[name]
	return got, ok
}

// Attributes that the sandbox refuses.
var (
	listChanges     = []string{"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"}
	dictChanges     = []string{"clear", "pop", "popitem", "setdefault", "update"}
	generatorFields = []string{"send", "throw", "close"}
)

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

func (m *macro) fields() map[string]value {
	d := m.def
	var name value
	if !d.anonymous {
		name = d.name
	}
	params := &tuple{}
	for _, p := range d.params {
		params.items = append(params.items, p)
	}
	return map[string]value{
		"name": name, "arguments": params, "catch_kwargs": d.kwargs >= 0, "catch_varargs": d.varargs >= 0,
		"caller": d.caller >= 0, "explicit_caller": d.explicitCaller,
	}
}

// loopFields are the attributes of the variable loop.
var loopFields = map[string]func(l *loop) value{
	"index":     func(l *loop) value { return l.index0 + 1 },
	"index0":    func(l *loop) value { return l.index0 },
	"depth":     func(l *loop) value { return l.depth0 + 1 },
	"depth0":    func(l *loop) value { return l.depth0 },
	"first":     func(l *loop) value { return l.index0 == 0 },
	"length":    func(l *loop) value { return l.len() },
	"revindex":  func(l *loop) value { return l.len() - l.index0 },
	"revindex0": func(l *loop) value { return l.len() - l.index0 - 1 },
	"previtem": func(l *loop) value {
		if l.index0 == 0 {
			return &undefined{"there is no previous item", ClassUndefined}
		}
		return l.before
	},
	"last": func(l *loop) value {
		_, ok := l.peek()
		return !ok
	},
	"nextitem": func(l *loop) value {
		if v, ok := l.peek(); ok {
			return v
		}
		return &undefined{"there is no next item", ClassUndefined}
	},
	"cycle": func(l *loop) value {
		return &function{name: "cycle", call: func(_ *run, a *args) value {
			if len(a.pos) == 0 {
				panic(typeError("no items for cycling given"))
			}
			return a.pos[l.index0%len(a.pos)]
		}}
	},
	"changed": func(l *loop) value {
		return &function{name: "changed", call: func(r *run, a *args) value {
			if l.changed != nil && r.equalItems(l.changed, a.pos) {
				return false
			}
			l.changed = append([]value{}, a.pos...)
			return true
		}}
	},
}
