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
func toJSON(r *run, v []value) value {
	j := &jsonWriter{writer: writer{r: r}, item: ", ", colon: ": "}
	j.ascii = r.truthArg(v[1])
	if v[2] != missing && v[2] != nil {
		j.item = ","
		if s, ok := str(v[2]); ok {
			j.indent, j.lines = s, true
		} else {
			n := intArg(v[2], 0)
			if n > 1000 {
				panic(limitError("an indent of more than 1000"))
			}
			j.indent, j.lines = strings.Repeat(" ", max(n, 0)), true
		}
	}
	if v[3] != missing && v[3] != nil {
		pair := r.unpack(v[3], 2)
		j.item = textArg("separators", pair[0])
		j.colon = textArg("separators", pair[1])
	}
	j.sort = r.truthArg(v[4])
	j.value(v[0], 1)
	return j.String()
}

type jsonWriter struct {
	writer
	ascii, sort, lines  bool
	indent, item, colon string
}

func (j *jsonWriter) value(v value, depth int) {
	switch v := v.(type) {
	case nil:
		j.put("null")
	case bool:
		j.put(map[bool]string{true: "true", false: "false"}[v])
	case int, *big.Int:
		j.repr(v)
	case float64:
		j.put(jsonFloat(v))
	case string:
		j.put(j.quote(v))
	case markup:
		j.put(j.quote(string(v)))
	case *list, *tuple:
		items, _ := itemsOf(v)
		j.items("[", "]", len(items), depth, func(i int) { j.value(items[i], depth+1) })
	case *dict:
		entries := v.entries
		if j.sort {
			pairs := j.r.sorted((&view{v, "items"}).items(), func(v value) value { return v }, false)
			entries = nil
			for _, p := range pairs {
				entries = append(entries, entry{p.(*tuple).items[0], p.(*tuple).items[1]})
			}
		}
		j.items("{", "}", len(entries), depth, func(i int) {
			j.put(j.key(entries[i].key) + j.colon)
			j.value(entries[i].val, depth+1)
		})
	default:
		panic(typeError("Object of type %s is not JSON serializable", typeName(v)))
	}
}

func (j *jsonWriter) items(begin, end string, n, depth int, item func(int)) {
	if n == 0 {
		j.put(begin + end)
		return
	}
	j.r.deeper()
	defer j.r.shallower()
	line := ""
	if j.lines {
		fits(depth, len(j.indent))
		line = "\n" + strings.Repeat(j.indent, depth)
	}
	j.put(begin)
	for i := range n {
		sep := line
		if i > 0 {
			sep = j.item + line
		}
		j.put(sep)
		item(i)
	}
	if j.lines {
		end = "\n" + strings.Repeat(j.indent, depth-1) + end
	}
	j.put(end)
}

// key writes a key of a dict: a string, or what has a text in JSON.
func (j *jsonWriter) key(k value) string {
	switch k := k.(type) {
	case string:
		return j.quote(k)
	case markup:
		return j.quote(string(k))
	case nil:
		return `"null"`
	case bool:
		return fmt.Sprintf(`"%v"`, k)
	case float64:
		return `"` + jsonFloat(k) + `"`
	case int, *big.Int:
		return `"` + j.r.repr(k) + `"`
	}
	panic(typeError("keys must be str, int, float, bool or None, not %s", typeName(k)))
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
