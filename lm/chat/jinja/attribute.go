package jinja

import (
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
	case *span:
		methods = spanMethods
		fields = map[string]value{"start": v.start, "stop": v.stop, "step": v.step}
	case *loop:
		if get := loopFields[name]; get != nil {
			return get(v), true
		}
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
	if got, ok = fields[name]; !ok && slices.Contains(strings.Fields(leftOut[typeName(v)]), name) {
		panic(limitError("%s.%s is not supported", typeName(v), name))
	}
	return got, ok
}

// Attributes that the sandbox refuses.
var (
	listChanges     = []string{"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"}
	dictChanges     = []string{"clear", "pop", "popitem", "setdefault", "update"}
	generatorFields = []string{"send", "throw", "close"}
)

// leftOut are the attributes of types that this package lacks. To ask for one is
// an error, for it would be undefined, which may print as nothing.
var leftOut = func() map[string]string {
	const text = "casefold encode expandtabs format_map isidentifier isprintable istitle maketrans swapcase translate"
	const whole = "as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag is_integer numerator real to_bytes"
	const view = "isdisjoint mapping"
	return map[string]string{
		"str": text, "Markup": text + " escape striptags unescape",
		"int": whole, "bool": whole, "float": "as_integer_ratio conjugate fromhex hex imag is_integer real",
		"dict": "fromkeys", "function": "fromkeys", "dict_keys": view, "dict_values": view, "dict_items": view,
		"Macro": "arguments caller catch_kwargs catch_varargs explicit_caller name",
	}
}()

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
