package jinja

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// toJSON writes what Python's json.dumps writes with transformers' settings:
// text as it is instead of escaped, a blank after commas and colons.
func toJSON(v *exec.Value, a *arguments) (any, error) {
	w := jsonWriter{ascii: a.flag("ensure_ascii", false), indent: -1, comma: ", ", colon: ": "}
	switch in := a.next("indent"); {
	case in == nil:
	case in.IsInteger():
		w.indent = in.Integer()
		w.comma = ","
		if w.indent > 64 {
			return nil, fault("tojson: indent is %d, want at most 64", w.indent)
		}
	default:
		return nil, fault("tojson: indent is no integer")
	}
	if seps := a.next("separators"); seps != nil {
		l := items(seps)
		if len(l) != 2 {
			return nil, fault("tojson: separators are %d, want 2", len(l))
		}
		w.comma, w.colon = fmt.Sprint(l[0]), fmt.Sprint(l[1])
	}
	w.sorted = a.flag("sort_keys", false)
	err := w.value(v, 0)
	return w.String(), err
}

type jsonWriter struct {
	strings.Builder
	ascii, sorted bool
	indent        int // -1 = all on one line
	comma, colon  string
}

func (w *jsonWriter) value(v *exec.Value, depth int) error {
	switch {
	case depth > maxDepth:
		return fault("tojson: values nest deeper than %d", maxDepth)
	case v.IsNil():
		w.WriteString("null")
	case v.IsError():
		return v
	case v.IsBool():
		w.WriteString(strconv.FormatBool(v.Bool()))
	case v.IsInteger():
		w.WriteString(strconv.Itoa(v.Integer()))
	case v.IsFloat():
		w.float(v)
	case v.IsString():
		w.text(v.String())
	case v.IsDict():
		all := pairs(v)
		if w.sorted {
			all = sortedPairs(all)
		}
		return w.group("{", "}", len(all), depth, func(i int) error {
			w.text(all[i].Key.String())
			w.WriteString(w.colon)
			return w.value(all[i].Value, depth+1)
		})
	case v.IsList():
		all := items(v)
		return w.group("[", "]", len(all), depth, func(i int) error { return w.value(exec.ToValue(all[i]), depth+1) })
	default:
		return fault("tojson: %s cannot be written", v.Val.Kind())
	}
	return nil
}

// group writes n elements between brackets.
func (w *jsonWriter) group(open, end string, n, depth int, element func(i int) error) error {
	line := func(depth int) {
		if w.indent >= 0 && n > 0 {
			w.WriteString("\n" + strings.Repeat(" ", w.indent*depth))
		}
	}
	w.WriteString(open)
	for i := range n {
		if i > 0 {
			w.WriteString(w.comma)
		}
		line(depth + 1)
		if err := element(i); err != nil {
			return err
		}
	}
	line(depth)
	w.WriteString(end)
	return nil
}

// float writes a number as Python does.
func (w *jsonWriter) float(v *exec.Value) {
	switch f := v.Float(); {
	case math.IsNaN(f):
		w.WriteString("NaN")
	case math.IsInf(f, 0):
		w.WriteString(map[bool]string{false: "Infinity", true: "-Infinity"}[f < 0])
	default:
		w.WriteString(v.String())
	}
}

func (w *jsonWriter) text(s string) {
	w.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			w.WriteByte('\\')
			w.WriteRune(r)
		case strings.ContainsRune("\b\f\n\r\t", r):
			w.WriteByte('\\')
			w.WriteByte("btn_fr"[r-'\b'])
		case r < ' ' || w.ascii && r > '~' && r <= 0xffff:
			fmt.Fprintf(w, `\u%04x`, r)
		case w.ascii && r > 0xffff: // a surrogate pair
			fmt.Fprintf(w, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		default:
			w.WriteRune(r)
		}
	}
	w.WriteByte('"')
}

func sortedPairs(pairs []*exec.Pair) []*exec.Pair {
	return slices.SortedFunc(slices.Values(pairs), func(a, b *exec.Pair) int { return strings.Compare(a.Key.String(), b.Key.String()) })
}
