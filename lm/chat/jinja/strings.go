package jinja

import (
	"html"
	"math/big"
	"strings"
	"unicode"
)

// textMethod adds a method of strings that needs nothing but the text.
func textMethod(name string, f func(string) value) {
	methodSet(stringMethods, name, 0, "", func(r *run, self value, _ []value) value {
		s, _ := str(self)
		v := f(s)
		if t, ok := v.(string); ok {
			r.grow(len(t))
			return like(self, t)
		}
		r.work(len(s))
		return v
	})
}

// strMethod adds a method of strings.
func strMethod(name string, required int, params string, f func(r *run, s string, v []value) value) {
	methodSet(stringMethods, name, required, params, func(r *run, self value, v []value) value {
		s, _ := str(self)
		r.work(len(s))
		out := f(r, s, v)
		if _, ok := self.(markup); ok {
			out = marked(out)
		}
		return out
	})
}

// marked makes markup of the strings in a result.
func marked(v value) value {
	if s, ok := v.(string); ok {
		return markup(s)
	}
	items, ok := itemsOf(v)
	if !ok {
		return v
	}
	var out []value
	for _, item := range items {
		out = append(out, marked(item))
	}
	return withItems(v, out)
}

// textArg is an argument that must be a string.
func textArg(method string, v value) string {
	s, ok := str(v)
	if !ok {
		panic(typeError("%s() argument must be str, not %s", method, typeName(v)))
	}
	return s
}

// operand is an argument of a filter that Jinja calculates with.
func operand(v value, otherwise int) int {
	use(v)
	return intArg(v, otherwise)
}

// intArg is an argument that must be an int; otherwise is what it is if it is
// not given.
func intArg(v value, otherwise int) int {
	if v == missing {
		return otherwise
	}
	i, ok := small(v)
	if !ok {
		panic(typeError("%s object cannot be interpreted as an integer", quote(typeName(v))))
	}
	if _, huge := v.(*big.Int); huge {
		panic(raise("OverflowError", "Python int too large to convert to C ssize_t"))
	}
	return i
}

func init() {
	textMethod("upper", func(s string) value { return upper(s) })
	textMethod("lower", func(s string) value { return lower(s) })
	textMethod("title", func(s string) value { return title(s) })
	textMethod("capitalize", func(s string) value { return capitalize(s) })
	textMethod("isspace", func(s string) value { return allChars(s, isSpace) })
	textMethod("isalpha", func(s string) value { return allChars(s, unicode.IsLetter) })
	textMethod("isalnum", func(s string) value { return allChars(s, isAlnum) })
	textMethod("isdigit", func(s string) value { return allChars(s, isDigit) })
	textMethod("isdecimal", func(s string) value { return allChars(s, func(c rune) bool { return unicode.Is(unicode.Nd, c) }) })
	textMethod("isnumeric", func(s string) value { return allChars(s, isNumeric) })
	textMethod("isascii", func(s string) value { return isASCII(s) })
	textMethod("islower", func(s string) value { return isCased(s, unicode.Lu, unicode.Lt, unicode.Other_Uppercase) })
	textMethod("isupper", func(s string) value { return isCased(s, unicode.Ll, unicode.Lt, unicode.Other_Lowercase) })

	for name, sides := range map[string][2]bool{"strip": {true, true}, "lstrip": {true, false}, "rstrip": {false, true}} {
		strMethod(name, 0, "chars", func(_ *run, s string, v []value) value {
			if v[0] == missing || v[0] == nil {
				return strip(s, "", sides[0], sides[1])
			}
			chars, ok := str(v[0])
			if !ok {
				panic(typeError("%s arg must be None or str", name))
			}
			if chars == "" {
				return s
			}
			return strip(s, chars, sides[0], sides[1])
		})
	}
	for name, has := range map[string]func(s, part string) bool{"startswith": strings.HasPrefix, "endswith": strings.HasSuffix} {
		strMethod(name, 1, "prefix start end", func(r *run, s string, v []value) value {
			part, _, found := within(s, v[1], v[2])
			if !found {
				return false
			}
			options := []value{v[0]}
			if t, ok := v[0].(*tuple); ok {
				options = t.items
			}
			for _, o := range options {
				p, ok := str(o)
				if !ok {
					panic(typeError("%s first arg must be str or a tuple of str, not %s", name, typeName(o)))
				}
				if has(part, p) {
					return true
				}
			}
			return false
		})
	}
	for name, cut := range map[string]func(s, part string) string{"removeprefix": strings.TrimPrefix, "removesuffix": strings.TrimSuffix} {
		strMethod(name, 1, "affix", func(_ *run, s string, v []value) value { return cut(s, textArg(name, v[0])) })
	}
	for _, name := range []string{"find", "rfind", "index", "rindex"} {
		strMethod(name, 1, "sub start end", func(_ *run, s string, v []value) value {
			part, before, found := within(s, v[1], v[2])
			sub := textArg(name, v[0])
			at := -1
			if found && name[0] == 'r' {
				at = strings.LastIndex(part, sub)
			} else if found {
				at = strings.Index(part, sub)
			}
			if at >= 0 {
				return before + runeCount(part[:at])
			}
			if strings.HasSuffix(name, "index") {
				panic(valueError("substring not found"))
			}
			return -1
		})
	}
	strMethod("count", 1, "sub start end", func(_ *run, s string, v []value) value {
		part, _, found := within(s, v[1], v[2])
		sub := textArg("count", v[0])
		if !found {
			return 0
		}
		return strings.Count(part, sub)
	})
	methodSet(stringMethods, "replace", 2, "old new count", func(r *run, self value, v []value) value {
		s, _ := str(self)
		old := textArg("replace", v[0])
		with := textArg("replace", v[1])
		n := intArg(v[2], -1)
		_, safe := self.(markup)
		if _, ok := v[1].(markup); safe && !ok {
			with = html.EscapeString(with)
		}
		return r.replace(self, s, old, with, n)
	})
	for _, name := range []string{"split", "rsplit"} {
		strMethod(name, 0, "sep maxsplit", func(r *run, s string, v []value) value { return r.split(s, v, name == "rsplit") })
	}
	strMethod("splitlines", 0, "keepends", func(r *run, s string, v []value) value {
		return r.texts(splitLines(s, intArg(v[0], 0) != 0))
	})
	for _, name := range []string{"partition", "rpartition"} {
		strMethod(name, 1, "sep", func(_ *run, s string, v []value) value {
			sep := textArg(name, v[0])
			if sep == "" {
				panic(valueError("empty separator"))
			}
			at := strings.Index(s, sep)
			if name[0] == 'r' {
				if at = strings.LastIndex(s, sep); at < 0 {
					return newTuple("", "", s)
				}
			}
			if at < 0 {
				return newTuple(s, "", "")
			}
			return newTuple(s[:at], sep, s[at+len(sep):])
		})
	}
	for _, name := range []string{"ljust", "rjust", "center", "zfill"} {
		params := "width fillchar"
		if name == "zfill" {
			params = "width"
		}
		strMethod(name, 1, params, func(r *run, s string, v []value) value {
			width := intArg(v[0], 0)
			fill := " "
			if len(v) > 1 && v[1] != missing {
				fill = textArg(name, v[1])
				if runeCount(fill) != 1 {
					panic(typeError("The fill character must be exactly one character long"))
				}
			}
			return r.justify(s, name, fill, width)
		})
	}
	methodSet(stringMethods, "join", 1, "iterable", func(r *run, self value, v []value) value {
		return r.joinItems(self, r.collectOr(v[0], typeError("can only join an iterable")))
	})
	stringMethods["format"] = func(r *run, self value, a *args) value { return r.format(self, a) }
}
