package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strings"
)

// value is a value of Python: nil for None, bool, int, *big.Int beyond int,
// float64, string (of code points), or one of the types below.
type value = any

type (
	// markup is a string that needs no escaping for HTML; what is joined to it
	// is escaped.
	markup string
	list   struct{ items []value }
	// tuple may have names for its items, as groupby's have.
	tuple struct {
		items []value
		names []string
	}
	// span is range(start, stop, step).
	span struct{ start, stop, step int }
	// view is dict.keys(), dict.values() or dict.items().
	view struct {
		of   *dict
		kind string
	}
	// generator gives values once.
	generator struct {
		name string
		next func() (value, bool)
	}
	namespace struct{ attrs *dict }
	// function is a function or a method that is built in.
	function struct {
		name string
		call func(r *run, a *args) value
	}
	macro struct {
		def   *macroDef
		frame *frame
	}
	// undefined is what is not there. Use of it is an error of a class.
	undefined struct{ message, class string }
)

// missing is in the place of a variable that has no value.
var missing value = &struct{ byte }{}

func undefinedName(name string) *undefined {
	return &undefined{quote(name) + " is undefined", ClassUndefined}
}

// undefinedIn is what obj does not have: an attribute, or an element of a key
// that is no string.
func undefinedIn(obj, key value) *undefined {
	owner := "None"
	if obj != nil {
		owner = modules[typeName(obj)] + typeName(obj) + " object"
	}
	if name, ok := str(key); ok {
		return &undefined{quote(owner) + " has no attribute " + quote(name), ClassUndefined}
	}
	return &undefined{owner + " has no element " + shortRepr(key), ClassUndefined}
}

// modules tells where types are from that are not Python's own.
var modules = map[string]string{
	"LoopContext": "jinja2.runtime.", "Macro": "jinja2.runtime.", "Markup": "markupsafe.",
}

// err is the failure of using u.
func (u *undefined) err() failure { return raise(u.class, "%s", u.message) }

// use fails if v is undefined.
func use(v value) {
	if u, ok := v.(*undefined); ok {
		panic(u.err())
	}
}

// str returns the text of a string or markup.
func str(v value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case markup:
		return string(v), true
	}
	return "", false
}

// like makes a string of the kind of v: markup if v is.
func like(v value, text string) value {
	if _, ok := v.(markup); ok {
		return markup(text)
	}
	return text
}

// itemsOf returns the items of a list or a tuple.
func itemsOf(v value) ([]value, bool) {
	switch v := v.(type) {
	case *list:
		return v.items, true
	case *tuple:
		return v.items, true
	}
	return nil, false
}

// withItems is a list, or a tuple if v is one.
func withItems(v value, items []value) value {
	if _, ok := v.(*tuple); ok {
		return &tuple{items: items}
	}
	return &list{items}
}

// orElse is v, or a value if v is missing.
func orElse(v, otherwise value) value {
	if v == missing {
		return otherwise
	}
	return v
}

func newTuple(items ...value) *tuple { return &tuple{items: items} }

// typeName is what Python calls the type of a value.
func typeName(v value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case markup:
		return "Markup"
	case *list:
		return "list"
	case *tuple:
		return "tuple"
	case *dict:
		return "dict"
	case *span:
		return "range"
	case *view:
		return "dict_" + v.kind
	case *generator:
		return "generator"
	case *namespace:
		return "TemplateNamespace"
	case *function:
		return "function"
	case *macro:
		return "Macro"
	case *undefined:
		return "Undefined"
	case *loop:
		return "LoopContext"
	}
	return fmt.Sprintf("%T", v)
}

// truth is bool(v).
func (r *run) truth(v value) bool {
	switch v := v.(type) {
	case nil, *undefined:
		return false
	case bool:
		return v
	case float64:
		return v != 0
	case int:
		return v != 0
	case string:
		return v != ""
	case markup:
		return v != ""
	case *list, *tuple, *dict, *span, *view, *loop:
		return r.length(v) > 0
	}
	return true
}

// length is len(v).
func (r *run) length(v value) int {
	switch v := v.(type) {
	case string:
		r.work(len(v))
		return runeCount(v)
	case markup:
		r.work(len(v))
		return runeCount(string(v))
	case *list, *tuple:
		items, _ := itemsOf(v)
		return len(items)
	case *dict:
		return len(v.entries)
	case *span:
		return v.len()
	case *view:
		return len(v.of.entries)
	case *undefined:
		return 0
	case *loop:
		return v.len()
	}
	panic(typeError("object of type %s has no len()", quote(typeName(v))))
}

func (s *span) len() int {
	switch {
	case s.step > 0 && s.start < s.stop:
		return int((uint(s.stop)-uint(s.start)-1)/uint(s.step)) + 1
	case s.step < 0 && s.start > s.stop:
		return int((uint(s.start)-uint(s.stop)-1)/uint(-s.step)) + 1
	}
	return 0
}

// dict is a dict in the order of insertion.
type dict struct {
	entries []entry
	index   map[any]int
}

type entry struct{ key, val value }

func newDict() *dict { return &dict{index: map[any]int{}} }

// set adds a key that is a string, or replaces its value.
func (d *dict) set(key string, val value) { d.put(key, key, val) }

func (d *dict) put(hash any, key, val value) {
	if i, ok := d.index[hash]; ok {
		d.entries[i].val = val
		return
	}
	d.index[hash] = len(d.entries)
	d.entries = append(d.entries, entry{key, val})
}

// get returns the value of a key that is a string.
func (d *dict) get(key string) (value, bool) {
	if i, ok := d.index[key]; ok {
		return d.entries[i].val, true
	}
	return nil, false
}

// store is d[key] = val.
func (r *run) store(d *dict, key, val value) {
	h := r.hash(key)
	r.grow(entryBytes)
	d.put(h, key, val)
}

// load is d[key], if it is there.
func (r *run) load(d *dict, key value) (value, bool) {
	h := r.hash(key)
	i, ok := d.index[h]
	if !ok {
		return nil, false
	}
	return d.entries[i].val, true
}

// Keys of the index of a dict, other than strings, ints and floats.
type (
	bigKey       string
	tupleKey     string
	undefinedKey struct{}
)

// hash returns a comparable value that is the same for equal keys: 1, 1.0 and
// True are one key.
func (r *run) hash(v value) any {
	switch v := v.(type) {
	case bool:
		return truthInt(v)
	case *big.Int:
		return bigKey(v.Text(16))
	case float64:
		if math.IsNaN(v) {
			return new(byte)
		}
		if v != math.Trunc(v) || math.IsInf(v, 0) {
			return v
		}
		i, _ := new(big.Float).SetFloat64(v).Int(nil)
		return r.hash(normal(i))
	case string:
		r.work(len(v))
	case markup:
		r.work(len(v))
		return string(v)
	case *undefined:
		return undefinedKey{}
	case *span:
		return *v
	case *tuple:
		r.deeper()
		defer r.shallower()
		var b strings.Builder
		for _, item := range v.items {
			h := r.hash(item)
			s := ""
			switch h.(type) {
			case nil, string, int, float64, bigKey, tupleKey, undefinedKey, span:
				s = fmt.Sprintf("%T %v", h, h)
			default:
				s = fmt.Sprintf("%p", h)
			}
			r.grow(len(s))
			if b.Len()+len(s) > maxString {
				panic(limitError("a key of more than %d bytes", maxString))
			}
			fmt.Fprintf(&b, "%d %s", len(s), s)
		}
		return tupleKey(b.String())
	case *list, *dict, *view:
		panic(typeError("unhashable type: %s", quote(typeName(v))))
	}
	return v // None, int, string, and what is the same only as itself
}

func truthInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
