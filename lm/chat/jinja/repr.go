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
func (r *run) text(v value) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case markup:
		return string(v), nil
	case *undefined:
		return "", nil
	}
	return r.repr(v)
}

// repr is repr(v).
func (r *run) repr(v value) (string, error) {
	w := &writer{r: r}
	if err := w.repr(v); err != nil {
		return "", err
	}
	return w.String(), nil
}

// writer collects a text within the bounds of a run.
type writer struct {
	strings.Builder
	r *run
	// within are the containers that are being written, to find those that
	// contain themselves.
	within []any
}

func (w *writer) put(s string) error {
	if w.Len()+len(s) > maxString {
		return limitError("a string of more than %d bytes", maxString)
	}
	w.WriteString(s)
	return w.r.grow(len(s))
}

func (w *writer) repr(v value) error {
	switch v := v.(type) {
	case nil:
		return w.put("None")
	case bool:
		if v {
			return w.put("True")
		}
		return w.put("False")
	case int:
		return w.put(strconv.Itoa(v))
	case *big.Int:
		s, err := intText(v)
		if err != nil {
			return err
		}
		return w.put(s)
	case float64:
		return w.put(floatRepr(v))
	case string:
		return w.put(quote(v))
	case markup:
		return w.put("Markup(" + quote(string(v)) + ")")
	case *list:
		return w.items(v, "[", "]", len(v.items), func(i int) error { return w.repr(v.items[i]) })
	case *tuple:
		end := ")"
		if len(v.items) == 1 {
			end = ",)"
		}
		return w.items(v, "(", end, len(v.items), func(i int) error { return w.repr(v.items[i]) })
	case *dict:
		return w.items(v, "{", "}", len(v.entries), func(i int) error {
			if err := w.repr(v.entries[i].key); err != nil {
				return err
			}
			if err := w.put(": "); err != nil {
				return err
			}
			return w.repr(v.entries[i].val)
		})
	case *view:
		items := v.items()
		return w.items(v, "dict_"+v.kind+"([", "])", len(items), func(i int) error { return w.repr(items[i]) })
	case *span:
		if v.step == 1 {
			return w.put(fmt.Sprintf("range(%d, %d)", v.start, v.stop))
		}
		return w.put(fmt.Sprintf("range(%d, %d, %d)", v.start, v.stop, v.step))
	case *namespace:
		if err := w.put("<Namespace "); err != nil {
			return err
		}
		if err := w.repr(v.attrs); err != nil {
			return err
		}
		return w.put(">")
	case *undefined:
		return w.put("Undefined")
	case *macro:
		if v.def.anonymous {
			return w.put("<Macro anonymous>")
		}
		return w.put("<Macro " + quote(v.def.name) + ">")
	case *loop:
		n, err := v.len()
		if err != nil {
			return err
		}
		return w.put(fmt.Sprintf("<LoopContext %d/%d>", v.index0+1, n))
	case *function:
		return w.put("<function " + v.name + ">")
	case *generator:
		return w.put("<generator object " + v.name + ">")
	}
	return w.put("<" + typeName(v) + " object>")
}

// items writes a container. One that is being written already is written as
// dots, as in Python.
func (w *writer) items(of any, begin, end string, n int, item func(int) error) error {
	for _, c := range w.within {
		if c == of {
			return w.put(begin[len(begin)-1:] + "..." + end[:1])
		}
	}
	if err := w.r.deeper(); err != nil {
		return err
	}
	w.within = append(w.within, of)
	defer func() {
		w.r.shallower()
		w.within = w.within[:len(w.within)-1]
	}()
	if err := w.put(begin); err != nil {
		return err
	}
	for i := range n {
		if i > 0 {
			if err := w.put(", "); err != nil {
				return err
			}
		}
		if err := item(i); err != nil {
			return err
		}
	}
	return w.put(end)
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
		_ = w.repr(v)
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
func intText(i *big.Int) (string, error) {
	if i.BitLen() > maxDigits*4 {
		return "", valueError("Exceeds the limit (%d digits) for integer string conversion", maxDigits)
	}
	s := i.String()
	if len(strings.TrimPrefix(s, "-")) > maxDigits {
		return "", valueError("Exceeds the limit (%d digits) for integer string conversion", maxDigits)
	}
	return s, nil
}
