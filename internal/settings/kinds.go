package settings

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kinds maps the name of each kind to its prototype, whose fields are the defaults;
// see the package comment.
type Kinds = map[string]any

// kindKey is the key in JSON that names the kind.
const kindKey = "kind"

// maxDepth is how deep settings may nest, so that a cycle is an error.
const maxDepth = 100

// path is a place in the settings.
type path []string

func (p path) item(i int) path { return append(p, fmt.Sprintf("[%d]", i)) }

func (p path) key(name string) path {
	if q := strconv.Quote(name); q[1:len(q)-1] != name {
		name = q
	}
	return append(p, "."+name)
}

func (p path) String() string { return strings.TrimPrefix(strings.Join(p, ""), ".") }

// walk is the common part of decoder and encoder. It keeps its first error.
type walk struct {
	kinds []Kinds
	err   error
}

func (w *walk) fail(p path, format string, args ...any) {
	if w.err != nil {
		return
	}
	w.err = fmt.Errorf(format, args...)
	if len(p) > 0 {
		w.err = fmt.Errorf("%v: %w", p, w.err)
	}
}

// stop reports whether to go no deeper.
func (w *walk) stop(p path) bool {
	if len(p) > maxDepth {
		w.fail(nil, "want at most %d levels, got more", maxDepth)
	}
	return w.err != nil
}

// unsupported is the failure at a type that formOf does not know.
func (w *walk) unsupported(p path, t reflect.Type) {
	w.fail(p, "Go type %v cannot be a setting (an enum needs MarshalText and UnmarshalText)", t)
}

// choice lists the types that an interface may hold.
type choice struct {
	kinds map[string]reflect.Value // structs and pointers to structs
	list  reflect.Type             // the slice type, which needs no name in JSON; nil = none
}

// choice collects the kinds that implement t.
func (w *walk) choice(p path, t reflect.Type) choice {
	c := choice{kinds: map[string]reflect.Value{}}
	for _, m := range w.kinds {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			x := reflect.ValueOf(m[name])
			switch old, taken := c.kinds[name]; {
			case !x.IsValid() || !x.Type().Implements(t):
			case x.Kind() == reflect.Slice:
				if c.list != nil && c.list != x.Type() {
					w.fail(p, "an array stands for %v and %v, want one slice type that implements %v", c.list, x.Type(), t)
				}
				c.list = x.Type()
			case taken && !reflect.DeepEqual(old.Interface(), m[name]):
				w.fail(p, "kind %q is of type %v and %v, want one %v of this name", name, old.Type(), x.Type(), t)
			case !isStruct(x.Type()):
				w.fail(p, "kind %q is of type %v, want a struct, a pointer to one or a slice", name, x.Type())
			default:
				c.kinds[name] = x
			}
		}
	}
	return c
}

func (c choice) names() string { return oneOf(slices.Sorted(maps.Keys(c.kinds))) }

// want describes the JSON that an interface takes.
func (c choice) want() string {
	want := fmt.Sprintf("an object with %q (%s)", kindKey, c.names())
	if c.list != nil {
		want += " or an array"
	}
	return want
}

// form is how a Go type looks in JSON.
type form uint8

const (
	unsupported form = iota
	leaf             // encoding/json does it
	float
	duration
	record
	list // from here on, null is the zero value
	table
	pointer
	variant
)

// formOf returns the form of a type and describes the JSON that it takes. For a
// variant, choice.want does.
func formOf(t reflect.Type) (f form, want string) {
	p := reflect.PointerTo(t)
	if p.Implements(reflect.TypeFor[encoding.TextMarshaler]()) && p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return leaf, "a string"
	}
	switch k := t.Kind(); {
	case t == reflect.TypeFor[time.Duration]():
		return duration, `a duration such as "1m30s"`
	case k == reflect.Bool:
		return leaf, "true or false"
	case k == reflect.String:
		return leaf, "a string"
	case k >= reflect.Int && k <= reflect.Uint64 && t.PkgPath() == "": // not an enum without text
		return leaf, fmt.Sprintf("an integer (%v)", t)
	case k == reflect.Float32 || k == reflect.Float64:
		return float, fmt.Sprintf("a number, %s or %s", inf, minusInf)
	case k == reflect.Struct:
		return record, "an object"
	case k == reflect.Slice:
		return list, "an array"
	case k == reflect.Map && t.Key().Kind() == reflect.String:
		return table, "an object"
	case k == reflect.Pointer && !nullable(t.Elem()): // or null would have two meanings
		_, want = formOf(t.Elem())
		return pointer, want
	case k == reflect.Interface:
		return variant, ""
	}
	return unsupported, ""
}

// isStruct reports whether t is a struct or a pointer to one.
func isStruct(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
}

func nullable(t reflect.Type) bool {
	k := t.Kind()
	return k == reflect.Pointer || k == reflect.Interface || k == reflect.Slice || k == reflect.Map
}

// fields returns the names of a struct's settings and the index of each.
func (w *walk) fields(p path, t reflect.Type) (names []string, index []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() || name == "-":
			continue
		case name == "":
			w.fail(p, "field %s of %v has no json tag, want its name in snake case", f.Name, t)
		case name == kindKey || slices.Contains(names, name):
			w.fail(p, "field %s of %v has the json tag %q, which is taken", f.Name, t, name)
		}
		names, index = append(names, name), append(index, i)
	}
	return names, index
}

// oneOf lists choices, empty ones left out: "a, b or c".
func oneOf(choices []string) string {
	choices = slices.DeleteFunc(slices.Clone(choices), func(s string) bool { return s == "" })
	switch n := len(choices) - 1; n {
	case -1:
		return "none"
	case 0:
		return choices[0]
	default:
		return strings.Join(choices[:n], ", ") + " or " + choices[n]
	}
}
