package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	gopath "path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Decode lays the JSON text b over base and returns the result. T is a struct
// or an interface; without a base pass the zero T. Interfaces find their
// implementations among kinds.
//
// It is an error if b is not one JSON value in UTF-8, has an unknown field or
// kind, a key twice or a value of the wrong type, or if the result or a part of
// it has a method Validate() error that returns one. The error gives the path and
// what was expected; the result is then the zero T.
func Decode[T any](b []byte, base T, kinds ...Kinds) (T, error) {
	if err := decode(b, reflect.ValueOf(&base).Elem(), kinds); err != nil {
		var zero T
		return zero, fmt.Errorf("settings: %w", err)
	}
	return base, nil
}

func decode(b []byte, v reflect.Value, kinds []Kinds) error {
	if !utf8.Valid(b) {
		return errors.New("want JSON in UTF-8, got other bytes")
	}
	var raw json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		line := 1
		if s, ok := errors.AsType[*json.SyntaxError](err); ok {
			line += bytes.Count(b[:s.Offset], []byte("\n"))
		}
		return fmt.Errorf("want one JSON value: line %d: %w", line, err)
	}
	if string(raw) == "null" {
		return errors.New("want settings, got null")
	}
	d := decoder{walk{kinds: kinds}}
	d.value(nil, v, raw)
	d.validate(nil, v)
	return d.err
}

// decoder writes valid JSON into Go values. It never changes what a value
// shares with others: pointers, slices and maps are made anew.
type decoder struct{ walk }

// mismatch is the failure at JSON of another form than wanted.
func (d *decoder) mismatch(p path, want string, got json.RawMessage) {
	line := strings.Join(strings.Fields(string(got)), " ")
	d.fail(p, "want %s, got %.40s", want, line)
}

// value decodes into v, which is settable and holds the base.
func (d *decoder) value(p path, v reflect.Value, raw json.RawMessage) {
	if d.stop(p) {
		return
	}
	f, want := formOf(v.Type())
	switch null := string(raw) == "null"; {
	case f == unsupported:
		d.unsupported(p, v.Type())
	case null && f >= list:
		v.SetZero()
	case f == variant:
		d.variant(p, v, raw)
	case f == pointer:
		d.value(p, renew(v), raw)
	case f == list:
		d.list(p, v, raw)
	case f == table:
		d.table(p, v, d.object(p, raw, want))
	case f == record:
		d.record(p, v, d.object(p, raw, want))
	case f == duration:
		var text string
		err := json.Unmarshal(raw, &text)
		x, bad := time.ParseDuration(text)
		if err != nil || bad != nil {
			d.mismatch(p, want, raw)
		}
		v.SetInt(int64(x))
	case f == float && string(raw) == inf:
		v.SetFloat(math.Inf(1))
	case f == float && string(raw) == minusInf:
		v.SetFloat(math.Inf(-1))
	default:
		err := json.Unmarshal(raw, v.Addr().Interface())
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok || null {
			d.mismatch(p, want, raw)
		} else if err != nil { // of UnmarshalText
			d.fail(p, "%w", err)
		}
	}
}

// renew makes the pointer v point to a copy of what it points to, or to a new
// zero value if it is nil, and returns that.
func renew(v reflect.Value) reflect.Value {
	x := reflect.New(v.Type().Elem())
	if !v.IsNil() {
		x.Elem().Set(v.Elem())
	}
	v.Set(x)
	return x.Elem()
}

func (d *decoder) list(p path, v reflect.Value, raw json.RawMessage) {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		d.mismatch(p, "an array", raw)
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		d.value(p.item(i), v.Index(i), item)
	}
}

// member is a key of a JSON object and its value.
type member struct {
	key   string
	value json.RawMessage
}

// object splits a JSON object, in the order of the text.
func (d *decoder) object(p path, raw json.RawMessage, want string) (o []member) {
	j := json.NewDecoder(bytes.NewReader(raw))
	if open, _ := j.Token(); open != json.Delim('{') {
		d.mismatch(p, want, raw)
		return nil
	}
	seen := map[string]bool{}
	for j.More() {
		key, _ := j.Token() // no error here and below: raw is valid JSON
		m := member{key: key.(string)}
		_ = j.Decode(&m.value)
		if seen[m.key] {
			d.fail(p.key(m.key), "want each key once, got it twice")
		}
		seen[m.key] = true
		o = append(o, m)
	}
	return o
}

func (d *decoder) table(p path, v reflect.Value, o []member) {
	t := v.Type()
	v.Set(reflect.MakeMap(t))
	for _, m := range o {
		x := reflect.New(t.Elem()).Elem()
		d.value(p.key(m.key), x, m.value)
		v.SetMapIndex(reflect.ValueOf(m.key).Convert(t.Key()), x)
	}
}

func (d *decoder) record(p path, v reflect.Value, o []member) {
	names, index := d.fields(p, v.Type())
	for _, m := range o {
		if i := slices.Index(names, m.key); i >= 0 {
			d.value(p.key(m.key), v.Field(index[i]), m.value)
		} else {
			d.fail(p.key(m.key), "unknown field, want %s", oneOf(names))
		}
	}
}

// variant decodes into an interface.
func (d *decoder) variant(p path, v reflect.Value, raw json.RawMessage) {
	c := d.choice(p, v.Type())
	if raw[0] == '[' && c.list != nil {
		x := reflect.New(c.list).Elem()
		d.list(p, x, raw)
		v.Set(x)
		return
	}
	o := d.object(p, raw, c.want())
	from := v.Elem() // what o changes
	if i := slices.IndexFunc(o, func(m member) bool { return m.key == kindKey }); i >= 0 {
		var name string
		err := json.Unmarshal(o[i].value, &name)
		if from = c.kinds[name]; err != nil || !from.IsValid() {
			d.unknown(p.key(kindKey), name, o[i].value, v.Type(), c)
		}
		o = slices.Delete(o, i, i+1)
	}
	if !from.IsValid() || !isStruct(from.Type()) {
		d.mismatch(p, c.want(), raw)
		return
	}
	x := reflect.New(from.Type()).Elem()
	x.Set(from)
	s := x
	if s.Kind() == reflect.Pointer {
		s = renew(x)
	}
	d.record(p, s, o)
	v.Set(x)
}

// unknown is the failure at a kind that is none of c, the choice for the interface t.
func (d *decoder) unknown(p path, name string, got json.RawMessage, t reflect.Type, c choice) {
	for _, kinds := range d.kinds {
		if x, ok := kinds[name]; ok && name != "" && reflect.TypeOf(x) != c.list {
			d.fail(p, "kind %q stands for Go type %T, which is no %v, want %s", name, x, t, c.names())
		}
	}
	if len(c.kinds) == 0 {
		d.fail(p, "unknown kind %.40s: no kinds of %v were given, want those of package %s", got, t, gopath.Base(t.PkgPath()))
	}
	or := ""
	if c.list != nil {
		or = ", or an array of such objects"
	}
	d.fail(p, "unknown kind %.40s, want %s%s", got, c.names(), or)
}

// validate calls the Validate methods of v and of all its parts, inner ones first,
// so that an error has the longest path.
func (d *decoder) validate(p path, v reflect.Value) {
	if d.stop(p) {
		return
	}
	switch f, _ := formOf(v.Type()); f {
	case pointer, variant:
		if !v.IsNil() {
			d.validate(p, v.Elem())
		}
		return
	case list:
		for i := range v.Len() {
			d.validate(p.item(i), v.Index(i))
		}
	case table:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			d.validate(p.key(key.String()), v.MapIndex(key))
		}
	case record:
		names, index := d.fields(p, v.Type())
		for i, name := range names {
			d.validate(p.key(name), v.Field(index[i]))
		}
	}
	x := reflect.New(v.Type()) // a pointer has the methods of both receivers
	x.Elem().Set(v)
	if x, ok := x.Interface().(interface{ Validate() error }); ok && d.err == nil {
		if err := x.Validate(); err != nil {
			d.invalid(p, v.Type(), err)
		}
	}
}

// invalid is the failure of Validate of a t at p. Where its error begins with the
// Go name of a field, as "advantage: GRPO.Epsilon is -1" does, or of a field's field,
// the path takes the place of that name: "norm.epsilon is -1".
func (d *decoder) invalid(p path, t reflect.Type, err error) {
	text := strings.TrimPrefix(err.Error(), gopath.Base(t.PkgPath())+": ")
	if name, ok := strings.CutPrefix(text, t.Name()); ok {
		at, rest := d.place(p, t, name)
		begins := func(words string) bool { return strings.HasPrefix(rest, words) } // not "Low and High are"
		if len(at) > len(p) && slices.ContainsFunc([]string{" is ", " needs ", ": "}, begins) {
			text, p = at.String()+rest, nil
		}
	}
	d.fail(p, "%w", invalid{text, err})
}

var goField = regexp.MustCompile(`^\.\w+`)

// place returns the path of the part of a t at p that text begins with in Go, such as
// ".Losses[1].Low", and the text after it.
func (d *decoder) place(p path, t reflect.Type, text string) (path, string) {
	switch f, _ := formOf(t); f {
	case pointer:
		return d.place(p, t.Elem(), text)
	case list:
		if i := strings.Index(text, "]") + 1; i > 0 && text[0] == '[' {
			return d.place(append(p, text[:i]), t.Elem(), text[i:])
		}
	case record:
		name := goField.FindString(text)
		names, index := d.fields(p, t)
		for i := range names {
			if f := t.Field(index[i]); name == "."+f.Name {
				return d.place(p.key(names[i]), f.Type, text[len(name):])
			}
		}
	}
	return p, text
}

// invalid is an error of Validate in other words.
type invalid struct {
	text string
	err  error
}

func (e invalid) Error() string { return e.text }
func (e invalid) Unwrap() error { return e.err }
