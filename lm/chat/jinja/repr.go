package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// text is str(v).
func (r *run) text(v value) string {
	switch v := v.(type) {
	case string:
		return v
	case markup:
		return string(v)
	case *undefined:
		return ""
	}
	return r.repr(v)
}

// repr is repr(v).
func (r *run) repr(v value) string {
	w := &writer{r: r}
	w.repr(v)
	return w.String()
}

// writer collects a text within the bounds of a run.
type writer struct {
	strings.Builder
	r *run
	// within are the containers that are being written, to find those that
	// contain themselves.
	within []any
}

func (w *writer) put(s string) {
	fits(w.Len()+len(s), 1)
	w.WriteString(s)
	w.r.grow(len(s))
}

func (w *writer) repr(v value) {
	switch v := v.(type) {
	case nil:
		w.put("None")
	case bool:
		w.put(map[bool]string{true: "True", false: "False"}[v])
	case int:
		w.put(strconv.Itoa(v))
	case *big.Int:
		w.put(intText(v))
	case float64:
		w.put(floatRepr(v))
	case string:
		w.put(quote(v))
	case markup:
		w.put("Markup(" + quote(string(v)) + ")")
	case *list, *tuple:
		items, begin, end := brackets(v)
		w.items(v, begin, end, len(items), func(i int) { w.repr(items[i]) })
	case *dict:
		w.items(v, "{", "}", len(v.entries), func(i int) {
			w.repr(v.entries[i].key)
			w.put(": ")
			w.repr(v.entries[i].val)
		})
	case *view:
		items := v.items()
		w.items(v, "dict_"+v.kind+"([", "])", len(items), func(i int) { w.repr(items[i]) })
	case *span:
		if v.step == 1 {
			w.put(fmt.Sprintf("range(%d, %d)", v.start, v.stop))
		} else {
			w.put(fmt.Sprintf("range(%d, %d, %d)", v.start, v.stop, v.step))
		}
	case *namespace:
		w.put("<Namespace ")
		w.repr(v.attrs)
		w.put(">")
	case *undefined:
		w.put("Undefined")
	case *macro:
		if v.def.anonymous {
			w.put("<Macro anonymous>")
		} else {
			w.put("<Macro " + quote(v.def.name) + ">")
		}
	case *loop:
		w.put(fmt.Sprintf("<LoopContext %d/%d>", v.index0+1, v.len()))
	case *function:
		w.put("<function " + v.name + ">")
	case *generator:
		w.put("<generator object " + v.name + ">")
	default:
		w.put("<" + typeName(v) + " object>")
	}
}

// brackets returns the items of a list or a tuple and the brackets around them.
func brackets(v value) (items []value, begin, end string) {
	items, _ = itemsOf(v)
	_, isList := v.(*list)
	switch {
	case isList:
		return items, "[", "]"
	case len(items) == 1:
		return items, "(", ",)"
	}
	return items, "(", ")"
}

// items writes a container. One that is being written already is written as
// dots, as in Python.
func (w *writer) items(of any, begin, end string, n int, item func(int)) {
	for _, c := range w.within {
		if c == of {
			w.put(begin[len(begin)-1:] + "..." + end[:1])
			return
		}
	}
	w.r.deeper()
	w.within = append(w.within, of)
	defer func() {
		w.r.shallower()
		w.within = w.within[:len(w.within)-1]
	}()
	w.put(begin)
	for i := range n {
		if i > 0 {
			w.put(", ")
		}
		item(i)
	}
	w.put(end)
}

func (v *view) items() []value {
	out := make([]value, len(v.of.entries))
	for i, e := range v.of.entries {
		switch v.kind {
		case "keys":
			out[i] = e.key
		case "values":
			out[i] = e.val
		default:
			out[i] = newTuple(e.key, e.val)
		}
	}
	return out
}

// quote writes a string as Python's repr does.
func quote(s string) string {
	q := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	var b strings.Builder
	b.WriteRune(q)
	for _, c := range s {
		switch {
		case c == q || c == '\\':
			b.WriteRune('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case !isPrintable(c):
			b.WriteString(asciiEscape(c))
		default:
			b.WriteRune(c)
		}
	}
	b.WriteRune(q)
	return b.String()
}

// asciiEscape writes a character as \xNN, \uNNNN or \UNNNNNNNN.
func asciiEscape(c rune) string {
	switch {
	case c < 0x100:
		return fmt.Sprintf(`\x%02x`, c)
	case c < 0x10000:
		return fmt.Sprintf(`\u%04x`, c)
	}
	return fmt.Sprintf(`\U%08x`, c)
}

func isPrintable(c rune) bool {
	return c == ' ' || !unicode.In(c, unicode.Z, unicode.C) && unicode.IsPrint(c)
}

// shortRepr is repr for messages: what is long or nested is not written.
func shortRepr(v value) string {
	switch v := v.(type) {
	case string:
		if len(v) > 100 {
			return quote(v[:100]) + "…"
		}
		return quote(v)
	case int, bool, float64, nil:
		w := &writer{r: &run{}}
		w.repr(v)
		return w.String()
	}
	return "<" + typeName(v) + ">"
}

// floatRepr is the shortest text that reads back as f, with an exponent from
// 1e16 up and below 1e-4.
func floatRepr(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 0):
		return strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, 64), "+"))
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// intText writes an int in decimal. Python refuses more digits than that.
func intText(i *big.Int) string {
	if i.BitLen() > maxDigits*4 {
		panic(valueError("Exceeds the limit (%d digits) for integer string conversion", maxDigits))
	}
	s := i.String()
	if len(strings.TrimPrefix(s, "-")) > maxDigits {
		panic(valueError("Exceeds the limit (%d digits) for integer string conversion", maxDigits))
	}
	return s
}
