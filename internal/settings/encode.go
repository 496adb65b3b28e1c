package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// How infinite floats look in JSON, which has no number for them.
const (
	inf      = `"inf"`
	minusInf = `"-inf"`
)

// Encode returns v as compact JSON: every field, in the order of its struct.
// Decode gives an equal value, whatever its base. T is a struct or an
// interface; interfaces find the names of their implementations among kinds.
//
// It is an error if v is nil, or holds a type that no kind has, NaN, an invalid
// enum, a nil pointer or nil slice inside an interface, or a cycle. Encode does
// not validate.
func Encode[T any](v T, kinds ...Kinds) ([]byte, error) {
	e := encoder{walk: walk{kinds: kinds}}
	e.value(nil, reflect.ValueOf(&v).Elem())
	if e.String() == "null" {
		e.fail(nil, "want settings, got nil")
	}
	if e.err != nil {
		return nil, fmt.Errorf("settings: %w", e.err)
	}
	return e.Bytes(), nil
}

type encoder struct {
	walk
	bytes.Buffer
}

func (e *encoder) value(p path, v reflect.Value) {
	if e.stop(p) {
		return
	}
	switch f, _ := formOf(v.Type()); {
	case f == unsupported:
		e.unsupported(p, v.Type())
	case f >= list && v.IsNil():
		e.WriteString("null")
	case f == variant:
		e.variant(p, v)
	case f == pointer:
		e.value(p, v.Elem())
	case f == list:
		e.list(p, v)
	case f == table:
		e.table(p, v)
	case f == record:
		e.record(p, v, "")
	case f == duration:
		e.leaf(p, reflect.ValueOf(time.Duration(v.Int()).String()))
	case f == float && math.IsNaN(v.Float()):
		e.fail(p, "want a number, got NaN")
	case f == float && math.IsInf(v.Float(), 1):
		e.WriteString(inf)
	case f == float && math.IsInf(v.Float(), -1):
		e.WriteString(minusInf)
	case v.Kind() == reflect.String && !utf8.ValidString(v.String()):
		e.fail(p, "want text in UTF-8, got %.40q", v)
	default:
		e.leaf(p, v)
	}
}

// leaf writes what encoding/json can, with < and > as they are.
func (e *encoder) leaf(p path, v reflect.Value) {
	x := reflect.New(v.Type()) // which has the pointer's methods too
	x.Elem().Set(v)
	j := json.NewEncoder(&e.Buffer)
	j.SetEscapeHTML(false)
	err := j.Encode(x.Interface())
	if m, ok := errors.AsType[*json.MarshalerError](err); ok {
		err = m.Err
	}
	if err != nil {
		e.fail(p, "%w", err)
		return
	}
	e.Truncate(e.Len() - 1) // a line feed
}

func (e *encoder) list(p path, v reflect.Value) {
	e.WriteByte('[')
	for i := range v.Len() {
		if i > 0 {
			e.WriteByte(',')
		}
		e.value(p.item(i), v.Index(i))
	}
	e.WriteByte(']')
}

func (e *encoder) table(p path, v reflect.Value) {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	e.WriteByte('{')
	for i, key := range keys {
		e.member(p, i, key.String(), v.MapIndex(key))
	}
	e.WriteByte('}')
}

// record writes a struct, with its kind first unless that is "".
func (e *encoder) record(p path, v reflect.Value, kind string) {
	names, index := e.fields(p, v.Type())
	e.WriteByte('{')
	n := 0
	if kind != "" {
		e.member(p, n, kindKey, reflect.ValueOf(kind))
		n++
	}
	for i, name := range names {
		e.member(p, n+i, name, v.Field(index[i]))
	}
	e.WriteByte('}')
}

// member writes member number n of an object.
func (e *encoder) member(p path, n int, key string, v reflect.Value) {
	p = p.key(key)
	if n > 0 {
		e.WriteByte(',')
	}
	e.value(p, reflect.ValueOf(key))
	e.WriteByte(':')
	e.value(p, v)
}

// variant writes the value in an interface.
func (e *encoder) variant(p path, v reflect.Value) {
	c := e.choice(p, v.Type())
	x := v.Elem()
	t := x.Type()
	if nullable(t) && x.IsNil() {
		e.fail(p, "want a value, got a nil %v", t)
		return
	}
	if t == c.list {
		e.list(p, x)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.kinds)) {
		if c.kinds[name].Type() == t {
			e.record(p, reflect.Indirect(x), name)
			return
		}
	}
	e.fail(p, "Go type %v has no kind, want the type of %s, or kinds that include it", t, c.names())
}
