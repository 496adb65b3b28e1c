package jinja

import (
	"maps"
	"slices"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// list is a list as templates see it. The engine's own lists count negative
// indices wrongly.
type list []any

// GetItem implements exec.ItemGetter.
func (l list) GetItem(key any) (*exec.Value, bool) {
	i, ok := key.(int)
	if ok && i < 0 {
		i += len(l)
	}
	if !ok || i < 0 || i >= len(l) {
		return exec.AsValue(nil), false
	}
	return exec.ToValue(l[i]), true
}

// value converts what a caller sets to what the engine works on.
func value(v any) (any, error) {
	switch v := v.(type) {
	case nil, string, bool, int, float64:
		return v, nil
	case []any:
		items := make(list, len(v))
		for i := range v {
			item, err := value(v[i])
			if err != nil {
				return nil, err
			}
			items[i] = item
		}
		return items, nil
	case map[string]any:
		d := exec.NewDict()
		for _, key := range slices.Sorted(maps.Keys(v)) {
			item, err := value(v[key])
			if err != nil {
				return nil, err
			}
			d.Pairs = append(d.Pairs, &exec.Pair{Key: exec.AsValue(key), Value: exec.AsValue(item)})
		}
		return d, nil
	}
	return nil, fault("%T is none of nil, string, bool, int, float64, []any and map[string]any", v)
}

// listed turns the engine's lists into ours.
func listed(v *exec.Value) *exec.Value {
	if !v.IsList() || v.IsError() {
		return v
	}
	if _, ok := v.Interface().(list); ok {
		return v
	}
	return exec.AsValue(items(v))
}

// items returns the elements of a list, or the keys of a dict.
func items(v *exec.Value) list {
	l := list{}
	v.Iterate(func(_, _ int, item, _ *exec.Value) bool {
		l = append(l, listed(item).Interface())
		return true
	}, func() {})
	return l
}

// pairs returns what a dict holds, in order.
func pairs(v *exec.Value) []*exec.Pair {
	if d, ok := v.Interface().(*exec.Dict); ok {
		return d.Pairs
	}
	var out []*exec.Pair
	v.Iterate(func(_, _ int, key, item *exec.Value) bool {
		out = append(out, &exec.Pair{Key: key, Value: item})
		return true
	}, func() {})
	return out
}

// arguments are those of a call.
type arguments struct {
	*exec.VarArgs
	used int
	err  error
}

// next returns the next argument, given by place or by name; nil if it is not
// given, or none.
func (a *arguments) next(name string) *exec.Value {
	i := a.used
	a.used++
	named, byName := a.KwArgs[name]
	switch {
	case i < len(a.Args) && byName:
		a.err = fault("argument %s is given twice", name)
		return nil
	case i < len(a.Args):
		named = a.Args[i]
	case byName:
		delete(a.KwArgs, name)
	}
	if named == nil || named.IsNil() {
		return nil
	}
	return named
}

// text returns the next argument, which has to be a string.
func (a *arguments) text(name string) string {
	v := a.next(name)
	if v == nil || !v.IsString() {
		if a.err == nil {
			a.err = fault("argument %s is missing or no string", name)
		}
		return ""
	}
	return v.String()
}

// count returns the next argument, an integer that may be missing.
func (a *arguments) count(name string, missing int) int {
	v := a.next(name)
	switch {
	case v == nil:
		return missing
	case !v.IsInteger():
		a.err = fault("argument %s is no integer", name)
	}
	return v.Integer()
}

// flag returns the next argument as a condition.
func (a *arguments) flag(name string, missing bool) bool {
	v := a.next(name)
	if v == nil {
		return missing
	}
	return v.IsTrue()
}

// end returns the first error, or one if there are more arguments than were
// asked for.
func (a *arguments) end() error {
	if a.err != nil {
		return a.err
	}
	if len(a.Args) > a.used {
		return fault("%d arguments, want at most %d", len(a.Args), a.used)
	}
	for _, name := range slices.Sorted(maps.Keys(a.KwArgs)) {
		return fault("unknown argument %s", name)
	}
	return nil
}
