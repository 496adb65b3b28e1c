package jinja

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strings"
)

// textFilter adds a filter whose value is made a text first, by str unless it
// is markup, which stays so.
func textFilter(name string, params string, f func(r *run, s string, v []value) (value, error)) {
	filter(name, 1, "value "+params, func(r *run, v []value) (value, error) {
		s, err := r.text(v[0])
		if err != nil {
			return nil, err
		}
		if err := r.grow(len(s)); err != nil {
			return nil, err
		}
		out, err := f(r, s, v[1:])
		if t, ok := out.(string); ok && err == nil {
			out = like(v[0], t)
		}
		return out, err
	})
}

// needText is the value of a filter that takes nothing but a string.
func needText(v value) (string, error) {
	if u, ok := v.(*undefined); ok {
		return "", u.err()
	}
	if _, ok := v.(*list); ok {
		return "", raise("AttributeError", "'list' object has no attribute 'splitlines'")
	}
	s, ok := str(v)
	if !ok {
		return "", typeError("unsupported operand type(s) for +=: %s and 'str'", quote(typeName(v)))
	}
	return s, nil
}

var (
	wordStart = regexp.MustCompile(`[-\s\x{1c}-\x{1f}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}({\[<]+`)
	words     = regexp.MustCompile(`[\pL\pN_]+`)
)

func init() {
	textFilter("string", "", func(_ *run, s string, _ []value) (value, error) { return s, nil })
	textFilter("upper", "", func(_ *run, s string, _ []value) (value, error) { return upper(s), nil })
	textFilter("lower", "", func(_ *run, s string, _ []value) (value, error) { return lower(s), nil })
	textFilter("capitalize", "", func(_ *run, s string, _ []value) (value, error) { return capitalize(s), nil })
	textFilter("title", "", func(_ *run, s string, _ []value) (value, error) {
		var b strings.Builder
		word := func(w string) {
			for i, c := range w {
				if i > 0 {
					b.WriteString(lower(w[i:]))
					return
				}
				if b.WriteString(upper(string(c))); len(w) == len(string(c)) {
					return
				}
			}
		}
		last := 0
		for _, at := range wordStart.FindAllStringIndex(s, -1) {
			word(s[last:at[0]])
			b.WriteString(s[at[0]:at[1]])
			last = at[1]
		}
		word(s[last:])
		return b.String(), nil
	})
	textFilter("trim", "chars", func(r *run, s string, v []value) (value, error) {
		return stringMethods["strip"](r, s, &args{pos: given(v)})
	})
	textFilter("center", "width", func(r *run, s string, v []value) (value, error) {
		width, err := intArg(v[0], 80)
		if err != nil {
			return nil, err
		}
		return r.justify(s, "center", " ", width)
	})
	textFilter("wordcount", "", func(_ *run, s string, _ []value) (value, error) { return len(words.FindAllStringIndex(s, -1)), nil })
	filter("replace", 3, "s old new count", func(r *run, v []value) (value, error) {
		var texts [3]string
		for i := range texts {
			var err error
			if texts[i], err = r.text(v[i]); err != nil {
				return nil, err
			}
		}
		n := -1
		if v[3] != missing && v[3] != nil {
			var err error
			if n, err = intArg(v[3], -1); err != nil {
				return nil, err
			}
		}
		return r.replace("", texts[0], texts[1], texts[2], n)
	})
	filter("indent", 1, "s width first blank", indent)
	filter("truncate", 1, "s length killwords end leeway", truncateText)
	filter("wordwrap", 1, "s width break_long_words wrapstring break_on_hyphens", wordWrap)
	filter("abs", 1, "x", func(r *run, v []value) (value, error) {
		n, ok := number(v[0])
		if !ok {
			return nil, typeError("bad operand type for abs(): %s", quote(typeName(v[0])))
		}
		if f, ok := n.(float64); ok {
			return math.Abs(f), nil
		}
		i, _ := integer(n)
		return normal(new(big.Int).Abs(i)), nil
	})
	filter("int", 1, "value default base", toInt)
	filter("float", 1, "value default", func(_ *run, v []value) (value, error) {
		if v[1] == missing {
			v[1] = 0.0
		}
		if u, ok := v[0].(*undefined); ok {
			return nil, u.err()
		}
		if s, ok := str(v[0]); ok {
			if f, ok := parseFloat(s); ok {
				return f, nil
			}
			return v[1], nil
		}
		if _, ok := number(v[0]); !ok {
			return v[1], nil
		}
		return float(v[0])
	})
	filter("round", 1, "value precision method", roundFilter)
	filter("filesizeformat", 1, "value binary", fileSize)
	filter("tojson", 1, "x ensure_ascii indent separators sort_keys", toJSON)
	filter("pprint", 1, "value", func(r *run, v []value) (value, error) { return r.pretty(v[0]) })

	filter("safe", 1, "value", func(r *run, v []value) (value, error) {
		s, err := r.text(v[0])
		return markup(s), err
	})
	filter("escape e", 1, "s", func(r *run, v []value) (value, error) {
		if m, ok := v[0].(markup); ok {
			return m, nil
		}
		s, err := r.text(v[0])
		if err == nil {
			s = escapeHTML(s)
			err = r.grow(len(s))
		}
		return markup(s), err
	})
	filter("forceescape", 1, "value", func(r *run, v []value) (value, error) {
		s, err := r.text(v[0])
		if err == nil {
			s = escapeHTML(s)
			err = r.grow(len(s))
		}
		return markup(s), err
	})
	filter("striptags", 1, "value", func(r *run, v []value) (value, error) {
		s, err := r.text(v[0])
		if err != nil {
			return nil, err
		}
		return unescapeHTML(strings.Join(splitSpace(stripTags(s), -1, false), " ")), r.grow(len(s))
	})
	filter("xmlattr", 1, "d autospace", xmlAttr)
	filter("urlencode", 1, "value", urlEncode)
	filter("urlize", 1, "value trim_url_limit nofollow target rel extra_schemes", urlize)
}

// stripTags removes tags and comments, up to one that does not end.
func stripTags(s string) string {
	var b strings.Builder
	for {
		start := strings.IndexByte(s, '<')
		if start < 0 {
			return b.String() + s
		}
		open, end := "<", ">"
		if strings.HasPrefix(s[start:], "<!--") {
			open, end = "<!--", "-->"
		}
		n := strings.Index(s[start+len(open):], end)
		if n < 0 {
			return b.String() + s
		}
		b.WriteString(s[:start])
		s = s[start+len(open)+n+len(end):]
	}
}

// given are the arguments up to the first that is missing.
func given(v []value) []value {
	if i := slices.Index(v, missing); i >= 0 {
		return v[:i]
	}
	return v
}

func indent(r *run, v []value) (value, error) {
	by := strings.Repeat(" ", 4)
	if w, ok := str(v[1]); ok {
		by = w
	} else if v[1] != missing {
		n, err := operand(v[1], 4)
		if err != nil {
			return nil, err
		}
		spaces, err := r.repeat(" ", n)
		if err != nil {
			return nil, err
		}
		by = spaces.(string)
	}
	s, err := needText(v[0])
	if err != nil {
		return nil, err
	}
	first, err := r.truthArg(v[2])
	if err != nil {
		return nil, err
	}
	blank, err := r.truthArg(v[3])
	if err != nil {
		return nil, err
	}
	w := &writer{r: r}
	for i, line := range splitLines(s+"\n", false) {
		if i > 0 {
			if err := w.put("\n"); err != nil {
				return nil, err
			}
		}
		if i == 0 && first || i > 0 && (blank || line != "") {
			if err := w.put(by); err != nil {
				return nil, err
			}
		}
		if err := w.put(line); err != nil {
			return nil, err
		}
	}
	return like(v[0], w.String()), nil
}

func truncateText(r *run, v []value) (value, error) {
	s, isText := str(v[0])
	length, err := operand(v[1], 255)
	if err != nil {
		return nil, err
	}
	end, ok := str(v[3])
	if !ok {
		end = "..."
	}
	leeway := 5
	if v[4] != missing && v[4] != nil {
		if leeway, err = operand(v[4], 5); err != nil {
			return nil, err
		}
	}
	if length < runeCount(end) {
		return nil, raise("AssertionError", "expected length >= %d, got %d", runeCount(end), length)
	}
	if leeway < 0 {
		return nil, raise("AssertionError", "expected leeway >= 0, got %d", leeway)
	}
	n, err := r.length(v[0])
	if err != nil {
		return nil, err
	}
	if n <= length || n-length <= leeway {
		return v[0], nil
	}
	if !isText {
		return nil, typeError("%s object cannot be truncated", quote(typeName(v[0])))
	}
	if s, err = r.cut(s, length-runeCount(end)); err != nil {
		return nil, err
	}
	kill, err := r.truthArg(v[2])
	if err != nil {
		return nil, err
	}
	if i := strings.LastIndexByte(s, ' '); i >= 0 && !kill {
		s = s[:i]
	}
	return like(v[0], s+end), r.grow(len(s))
}

func toInt(r *run, v []value) (value, error) {
	otherwise := v[1]
	if otherwise == missing {
		otherwise = 0
	}
	switch x := v[0].(type) {
	case *undefined:
		return nil, x.err()
	case string, markup:
		s, _ := str(x)
		base, err := intArg(v[2], 10)
		i := value(nil)
		if err != nil {
			err = valueError("no base")
		} else {
			i, err = parseInt(s, base)
		}
		if e, ok := err.(*Error); !ok || e.Class != "ValueError" {
			return i, err
		}
		if f, ok := parseFloat(s); ok {
			if i, err := truncate(f); err == nil {
				return i, nil
			}
		}
		return otherwise, nil
	case float64:
		i, err := truncate(x)
		if e, ok := err.(*Error); ok && e.Class == "ValueError" {
			return otherwise, nil
		}
		return i, err
	}
	if n, ok := number(v[0]); ok {
		return n, nil
	}
	return otherwise, nil
}

func roundFilter(_ *run, v []value) (value, error) {
	how := "common"
	if v[2] != missing {
		how, _ = str(v[2])
	}
	if how != "common" && how != "ceil" && how != "floor" {
		return nil, raise("FilterArgumentError", "method must be common, ceil or floor")
	}
	if how == "common" && v[1] == nil { // round(v), an int
		rounded, err := round(v[0], 0)
		if f, ok := rounded.(float64); ok && err == nil {
			return truncate(f)
		}
		return rounded, err
	}
	digits, err := intArg(v[1], 0)
	if err != nil {
		return nil, err
	}
	if how == "common" {
		return round(v[0], digits)
	}
	if digits > 400 || digits < -400 {
		return nil, limitError("more than 400 digits")
	}
	n, ok := number(v[0])
	if !ok {
		return nil, typeError("unsupported operand type(s) for *: %s and 'int'", quote(typeName(v[0])))
	}
	unit, err := arithmetic("**", 10, digits)
	if err != nil {
		return nil, err
	}
	if n, err = arithmetic("*", n, unit); err != nil {
		return nil, err
	}
	if f, ok := n.(float64); ok {
		if how == "ceil" {
			f = math.Ceil(f)
		} else {
			f = math.Floor(f)
		}
		if n, err = truncate(f); err != nil {
			return nil, err
		}
	}
	return arithmetic("/", n, unit)
}

func fileSize(r *run, v []value) (value, error) {
	var size float64
	if s, ok := str(v[0]); ok {
		if size, ok = parseFloat(s); !ok {
			return nil, valueError("could not convert string to float: %s", shortRepr(s))
		}
	} else if u, ok := v[0].(*undefined); ok {
		return nil, u.err()
	} else {
		var err error
		if size, err = float(v[0]); err != nil {
			return nil, err
		}
	}
	base, units := 1000.0, []string{"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"}
	binary, err := r.truthArg(v[1])
	if err != nil {
		return nil, err
	}
	if binary {
		base, units = 1024, []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}
	}
	switch {
	case size == 1:
		return "1 Byte", nil
	case size < base:
		i, err := truncate(size)
		if err != nil {
			return nil, err
		}
		s, err := r.text(i)
		return s + " Bytes", err
	}
	unit := base
	for _, name := range units {
		unit *= base
		if size < unit || name[0] == 'Y' {
			return fmt.Sprintf("%.1f %s", base*size/unit, name), nil
		}
	}
	return nil, nil
}
