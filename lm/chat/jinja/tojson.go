package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// toJSON is json.dumps with transformers' defaults.
func toJSON(r *run, v []value) (value, error) {
	j := &jsonWriter{writer: writer{r: r}, item: ", ", colon: ": "}
	var err error
	if j.ascii, err = r.truthArg(v[1]); err != nil {
		return nil, err
	}
	if v[2] != missing && v[2] != nil {
		j.item = ","
		if s, ok := str(v[2]); ok {
			j.indent, j.lines = s, true
		} else {
			n, err := intArg(v[2], 0)
			if err != nil {
				return nil, err
			}
			if n > 1000 {
				return nil, limitError("an indent of more than 1000")
			}
			j.indent, j.lines = strings.Repeat(" ", max(n, 0)), true
		}
	}
	if v[3] != missing && v[3] != nil {
		pair, err := r.unpack(v[3], 2)
		if err != nil {
			return nil, err
		}
		if j.item, err = textArg("separators", pair[0]); err != nil {
			return nil, err
		}
		if j.colon, err = textArg("separators", pair[1]); err != nil {
			return nil, err
		}
	}
	if j.sort, err = r.truthArg(v[4]); err != nil {
		return nil, err
	}
	if err := j.value(v[0], 1); err != nil {
		return nil, err
	}
	return j.String(), nil
}

type jsonWriter struct {
	writer
	ascii, sort, lines  bool
	indent, item, colon string
}

func (j *jsonWriter) value(v value, depth int) error {
	switch v := v.(type) {
	case nil:
		return j.put("null")
	case bool:
		return j.put(map[bool]string{true: "true", false: "false"}[v])
	case int, *big.Int:
		return j.repr(v)
	case float64:
		return j.put(jsonFloat(v))
	case string:
		return j.put(j.quote(v))
	case markup:
		return j.put(j.quote(string(v)))
	case *list:
		return j.items("[", "]", len(v.items), depth, func(i int) error { return j.value(v.items[i], depth+1) })
	case *tuple:
		return j.items("[", "]", len(v.items), depth, func(i int) error { return j.value(v.items[i], depth+1) })
	case *dict:
		entries := v.entries
		if j.sort {
			pairs, err := j.r.sorted((&view{v, "items"}).items(), func(v value) (value, error) { return v, nil }, false)
			if err != nil {
				return err
			}
			entries = nil
			for _, p := range pairs {
				entries = append(entries, entry{p.(*tuple).items[0], p.(*tuple).items[1]})
			}
		}
		return j.items("{", "}", len(entries), depth, func(i int) error {
			key, err := j.key(entries[i].key)
			if err == nil {
				err = j.put(key + j.colon)
			}
			if err != nil {
				return err
			}
			return j.value(entries[i].val, depth+1)
		})
	}
	return typeError("Object of type %s is not JSON serializable", typeName(v))
}

func (j *jsonWriter) items(begin, end string, n, depth int, item func(int) error) error {
	if n == 0 {
		return j.put(begin + end)
	}
	if err := j.r.deeper(); err != nil {
		return err
	}
	defer j.r.shallower()
	line := ""
	if j.lines {
		if len(j.indent)*depth > maxString {
			return limitError("a string of more than %d bytes", maxString)
		}
		line = "\n" + strings.Repeat(j.indent, depth)
	}
	if err := j.put(begin); err != nil {
		return err
	}
	for i := range n {
		sep := line
		if i > 0 {
			sep = j.item + line
		}
		if err := j.put(sep); err != nil {
			return err
		}
		if err := item(i); err != nil {
			return err
		}
	}
	if j.lines {
		end = "\n" + strings.Repeat(j.indent, depth-1) + end
	}
	return j.put(end)
}

// key writes a key of a dict: a string, or what has a text in JSON.
func (j *jsonWriter) key(k value) (string, error) {
	switch k := k.(type) {
	case string:
		return j.quote(k), nil
	case markup:
		return j.quote(string(k)), nil
	case nil:
		return `"null"`, nil
	case bool:
		return fmt.Sprintf(`"%v"`, k), nil
	case float64:
		return `"` + jsonFloat(k) + `"`, nil
	case int, *big.Int:
		s, err := j.r.repr(k)
		return `"` + s + `"`, err
	}
	return "", typeError("keys must be str, int, float, bool or None, not %s", typeName(k))
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return floatRepr(f)
}

func (j *jsonWriter) quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch i := strings.IndexRune("\"\\\n\r\t\b\f", c); {
		case i >= 0:
			b.WriteByte('\\')
			b.WriteByte(`"\nrtbf`[i])
		case c < ' ' || j.ascii && c >= utf8.RuneSelf && c < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, c)
		case j.ascii && c >= utf8.RuneSelf:
			hi, lo := utf16.EncodeRune(c)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
