package jinja

import (
	"html"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// textFilter adds a filter whose value is made a text first, by str unless it
// is markup, which stays so.
func textFilter(name string, params string, f func(r *run, s string, v []value) value) {
	filter(name, 1, "value "+params, func(r *run, v []value) value {
		s := r.text(v[0])
		r.grow(len(s))
		out := f(r, s, v[1:])
		if t, ok := out.(string); ok {
			out = like(v[0], t)
		}
		return out
	})
}

// needText is the value of a filter that takes nothing but a string.
func needText(v value) string {
	use(v)
	if _, ok := v.(*list); ok {
		panic(raise("AttributeError", "'list' object has no attribute 'splitlines'"))
	}
	s, ok := str(v)
	if !ok {
		panic(typeError("unsupported operand type(s) for +=: %s and 'str'", quote(typeName(v))))
	}
	return s
}

var wordStart = regexp.MustCompile(`[-\s\x{1c}-\x{1f}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}({\[<]+`)

func init() {
	textFilter("string", "", func(_ *run, s string, _ []value) value { return s })
	textFilter("upper", "", func(_ *run, s string, _ []value) value { return upper(s) })
	textFilter("lower", "", func(_ *run, s string, _ []value) value { return lower(s) })
	textFilter("capitalize", "", func(_ *run, s string, _ []value) value { return capitalize(s) })
	textFilter("title", "", func(_ *run, s string, _ []value) value {
		var b strings.Builder
		word := func(w string) {
			_, n := utf8.DecodeRuneInString(w)
			b.WriteString(upper(w[:n]) + lower(w[n:]))
		}
		last := 0
		for _, at := range wordStart.FindAllStringIndex(s, -1) {
			word(s[last:at[0]])
			b.WriteString(s[at[0]:at[1]])
			last = at[1]
		}
		word(s[last:])
		return b.String()
	})
	textFilter("trim", "chars", func(r *run, s string, v []value) value {
		return stringMethods["strip"](r, s, &args{pos: given(v)})
	})
	filter("replace", 3, "s old new count", func(r *run, v []value) value {
		var texts [3]string
		for i := range texts {
			texts[i] = r.text(v[i])
		}
		n := -1
		if v[3] != missing && v[3] != nil {
			n = intArg(v[3], -1)
		}
		return r.replace("", texts[0], texts[1], texts[2], n)
	})
	filter("indent", 1, "s width first blank", indent)
	filter("truncate", 1, "s length killwords end leeway", truncateText)
	filter("abs", 1, "x", func(r *run, v []value) value {
		n, ok := number(v[0])
		if !ok {
			panic(typeError("bad operand type for abs(): %s", quote(typeName(v[0]))))
		}
		if f, ok := n.(float64); ok {
			return math.Abs(f)
		}
		i, _ := integer(n)
		return normal(new(big.Int).Abs(i))
	})
	filter("int", 1, "value default base", toInt)
	filter("float", 1, "value default", func(_ *run, v []value) value {
		use(v[0])
		otherwise := orElse(v[1], 0.0)
		if s, ok := str(v[0]); ok {
			if f, ok := parseFloat(s); ok {
				return f
			}
			return otherwise
		}
		if _, ok := number(v[0]); !ok {
			return otherwise
		}
		return float(v[0])
	})
	filter("round", 1, "value precision method", roundFilter)
	filter("tojson", 1, "x ensure_ascii indent separators sort_keys", toJSON)
	filter("safe", 1, "value", func(r *run, v []value) value { return markup(r.text(v[0])) })
	filter("escape e", 1, "s", func(r *run, v []value) value {
		if _, ok := v[0].(markup); ok {
			return v[0]
		}
		s := html.EscapeString(r.text(v[0]))
		r.grow(len(s))
		return markup(s)
	})
}

// given are the arguments up to the first that is missing.
func given(v []value) []value {
	if i := slices.Index(v, missing); i >= 0 {
		return v[:i]
	}
	return v
}

func indent(r *run, v []value) value {
	by := strings.Repeat(" ", 4)
	if w, ok := str(v[1]); ok {
		by = w
	} else if v[1] != missing {
		by = r.repeat(" ", operand(v[1], 4)).(string)
	}
	s := needText(v[0])
	first := r.truthArg(v[2])
	blank := r.truthArg(v[3])
	w := &writer{r: r}
	for i, line := range splitLines(s+"\n", false) {
		if i > 0 {
			w.put("\n")
		}
		if i == 0 && first || i > 0 && (blank || line != "") {
			w.put(by)
		}
		w.put(line)
	}
	return like(v[0], w.String())
}

func truncateText(r *run, v []value) value {
	s, isText := str(v[0])
	length := operand(v[1], 255)
	end, ok := str(v[3])
	if !ok {
		end = "..."
	}
	leeway := 5
	if v[4] != missing && v[4] != nil {
		leeway = operand(v[4], 5)
	}
	if length < runeCount(end) {
		panic(raise("AssertionError", "expected length >= %d, got %d", runeCount(end), length))
	}
	if leeway < 0 {
		panic(raise("AssertionError", "expected leeway >= 0, got %d", leeway))
	}
	n := r.length(v[0])
	if n <= length || n-length <= leeway {
		return v[0]
	}
	if !isText {
		panic(typeError("%s object cannot be truncated", quote(typeName(v[0]))))
	}
	s = r.cut(s, length-runeCount(end))
	kill := r.truthArg(v[2])
	if i := strings.LastIndexByte(s, ' '); i >= 0 && !kill {
		s = s[:i]
	}
	r.grow(len(s))
	return like(v[0], s+end)
}

func toInt(r *run, v []value) value {
	use(v[0])
	otherwise := orElse(v[1], 0)
	switch x := v[0].(type) {
	case string, markup:
		s, _ := str(x)
		base := 1 // not one
		catch("", func() { base = intArg(v[2], 10) })
		i := otherwise
		if catch("ValueError", func() { i = parseInt(s, base) }) != nil {
			if f, ok := parseFloat(s); ok {
				catch("", func() { i = truncate(f) })
			}
		}
		return i
	case float64:
		i := otherwise
		catch("ValueError", func() { i = truncate(x) })
		return i
	}
	if n, ok := number(v[0]); ok {
		return n
	}
	return otherwise
}

func roundFilter(_ *run, v []value) value {
	how := "common"
	if v[2] != missing {
		how, _ = str(v[2])
	}
	if how != "common" && how != "ceil" && how != "floor" {
		panic(raise("FilterArgumentError", "method must be common, ceil or floor"))
	}
	if how == "common" && v[1] == nil { // round(v), an int
		rounded := round(v[0], 0)
		if f, ok := rounded.(float64); ok {
			return truncate(f)
		}
		return rounded
	}
	digits := intArg(v[1], 0)
	if how == "common" {
		return round(v[0], digits)
	}
	if digits > 400 || digits < -400 {
		panic(limitError("more than 400 digits"))
	}
	n, ok := number(v[0])
	if !ok {
		panic(typeError("unsupported operand type(s) for *: %s and 'int'", quote(typeName(v[0]))))
	}
	unit := arithmetic("**", 10, digits)
	n = arithmetic("*", n, unit)
	if f, ok := n.(float64); ok {
		if how == "ceil" {
			f = math.Ceil(f)
		} else {
			f = math.Floor(f)
		}
		n = truncate(f)
	}
	return arithmetic("/", n, unit)
}
