package jinja

import (
	"math/big"
	"strings"
	"unicode"
)

// textMethod adds a method of strings that needs nothing but the text.
func textMethod(name string, f func(string) value) {
	methodSet(stringMethods, name, 0, "", func(r *run, self value, _ []value) (value, error) {
		s, _ := str(self)
		v := f(s)
		if t, ok := v.(string); ok {
			return like(self, t), r.grow(len(t))
		}
		return v, r.work(len(s))
	})
}

// strMethod adds a method of strings.
func strMethod(name string, required int, params string, f func(r *run, s string, v []value) (value, error)) {
	methodSet(stringMethods, name, required, params, func(r *run, self value, v []value) (value, error) {
		s, _ := str(self)
		if err := r.work(len(s)); err != nil {
			return nil, err
		}
		out, err := f(r, s, v)
		if _, ok := self.(markup); ok && err == nil {
			out = marked(out)
		}
		return out, err
	})
}

// marked makes markup of the strings in a result.
func marked(v value) value {
	switch v := v.(type) {
	case string:
		return markup(v)
	case *list:
		return &list{markedItems(v.items)}
	case *tuple:
		return &tuple{items: markedItems(v.items)}
	}
	return v
}

func markedItems(items []value) (out []value) {
	for _, v := range items {
		out = append(out, marked(v))
	}
	return out
}

// textArg is an argument that must be a string.
func textArg(method string, v value) (string, error) {
	s, ok := str(v)
	if !ok {
		return "", typeError("%s() argument must be str, not %s", method, typeName(v))
	}
	return s, nil
}

// operand is an argument of a filter that Jinja calculates with.
func operand(v value, otherwise int) (int, error) {
	if u, ok := v.(*undefined); ok {
		return 0, u.err()
	}
	return intArg(v, otherwise)
}

// intArg is an argument that must be an int; otherwise is what it is if it is
// not given.
func intArg(v value, otherwise int) (int, error) {
	if v == missing {
		return otherwise, nil
	}
	i, ok := small(v)
	if !ok {
		return 0, typeError("%s object cannot be interpreted as an integer", quote(typeName(v)))
	}
	if _, huge := v.(*big.Int); huge {
		return 0, raise("OverflowError", "Python int too large to convert to C ssize_t")
	}
	return i, nil
}

func init() {
	textMethod("upper", func(s string) value { return upper(s) })
	textMethod("lower", func(s string) value { return lower(s) })
	textMethod("title", func(s string) value { return title(s) })
	textMethod("capitalize", func(s string) value { return capitalize(s) })
	textMethod("swapcase", func(s string) value { return swapCase(s) })
	textMethod("casefold", func(s string) value { return casefold(s) })
	textMethod("isspace", func(s string) value { return allChars(s, isSpace) })
	textMethod("isalpha", func(s string) value { return allChars(s, unicode.IsLetter) })
	textMethod("isalnum", func(s string) value { return allChars(s, isAlnum) })
	textMethod("isdigit", func(s string) value { return allChars(s, isDigit) })
	textMethod("isdecimal", func(s string) value { return allChars(s, func(c rune) bool { return unicode.Is(unicode.Nd, c) }) })
	textMethod("isnumeric", func(s string) value { return allChars(s, isNumeric) })
	textMethod("isascii", func(s string) value { return isASCII(s) })
	textMethod("isprintable", func(s string) value { return s == "" || allChars(s, isPrintable) })
	textMethod("isidentifier", func(s string) value { return isIdentifier(s) })
	textMethod("islower", func(s string) value { return isCased(s, unicode.Lu, unicode.Lt, unicode.Other_Uppercase) })
	textMethod("isupper", func(s string) value { return isCased(s, unicode.Ll, unicode.Lt, unicode.Other_Lowercase) })
	textMethod("istitle", func(s string) value { return isTitle(s) })

	for name, sides := range map[string][2]bool{"strip": {true, true}, "lstrip": {true, false}, "rstrip": {false, true}} {
		strMethod(name, 0, "chars", func(_ *run, s string, v []value) (value, error) {
			if v[0] == missing || v[0] == nil {
				return strip(s, "", sides[0], sides[1]), nil
			}
			chars, ok := str(v[0])
			if !ok {
				return nil, typeError("%s arg must be None or str", name)
			}
			if chars == "" {
				return s, nil
			}
			return strip(s, chars, sides[0], sides[1]), nil
		})
	}
	for name, has := range map[string]func(s, part string) bool{"startswith": strings.HasPrefix, "endswith": strings.HasSuffix} {
		strMethod(name, 1, "prefix start end", func(r *run, s string, v []value) (value, error) {
			part, _, found, err := within(s, v[1], v[2])
			if err != nil || !found {
				return false, err
			}
			options := []value{v[0]}
			if t, ok := v[0].(*tuple); ok {
				options = t.items
			}
			for _, o := range options {
				p, ok := str(o)
				if !ok {
					return nil, typeError("%s first arg must be str or a tuple of str, not %s", name, typeName(o))
				}
				if has(part, p) {
					return true, nil
				}
			}
			return false, nil
		})
	}
	for name, cut := range map[string]func(s, part string) string{"removeprefix": strings.TrimPrefix, "removesuffix": strings.TrimSuffix} {
		strMethod(name, 1, "affix", func(_ *run, s string, v []value) (value, error) {
			part, err := textArg(name, v[0])
			return cut(s, part), err
		})
	}
	for _, name := range []string{"find", "rfind", "index", "rindex"} {
		strMethod(name, 1, "sub start end", func(_ *run, s string, v []value) (value, error) {
			part, before, found, err := within(s, v[1], v[2])
			if err != nil {
				return nil, err
			}
			sub, err := textArg(name, v[0])
			if err != nil {
				return nil, err
			}
			at := -1
			if found && name[0] == 'r' {
				at = strings.LastIndex(part, sub)
			} else if found {
				at = strings.Index(part, sub)
			}
			if at >= 0 {
				return before + runeCount(part[:at]), nil
			}
			if strings.HasSuffix(name, "index") {
				return nil, valueError("substring not found")
			}
			return -1, nil
		})
	}
	strMethod("count", 1, "sub start end", func(_ *run, s string, v []value) (value, error) {
		part, _, found, err := within(s, v[1], v[2])
		if err != nil {
			return nil, err
		}
		sub, err := textArg("count", v[0])
		if err != nil || !found {
			return 0, err
		}
		return strings.Count(part, sub), nil
	})
	methodSet(stringMethods, "replace", 2, "old new count", func(r *run, self value, v []value) (value, error) {
		s, _ := str(self)
		old, err := textArg("replace", v[0])
		if err != nil {
			return nil, err
		}
		with, err := textArg("replace", v[1])
		if err != nil {
			return nil, err
		}
		n, err := intArg(v[2], -1)
		if err != nil {
			return nil, err
		}
		_, safe := self.(markup)
		if _, ok := v[1].(markup); safe && !ok {
			with = escapeHTML(with)
		}
		return r.replace(self, s, old, with, n)
	})
	for _, name := range []string{"split", "rsplit"} {
		strMethod(name, 0, "sep maxsplit", func(r *run, s string, v []value) (value, error) { return r.split(s, v, name == "rsplit") })
	}
	strMethod("splitlines", 0, "keepends", func(r *run, s string, v []value) (value, error) {
		keep, err := intArg(v[0], 0)
		if err != nil {
			return nil, err
		}
		return r.texts(splitLines(s, keep != 0))
	})
	for _, name := range []string{"partition", "rpartition"} {
		strMethod(name, 1, "sep", func(_ *run, s string, v []value) (value, error) {
			sep, err := textArg(name, v[0])
			if err != nil {
				return nil, err
			}
			if sep == "" {
				return nil, valueError("empty separator")
			}
			at := strings.Index(s, sep)
			if name[0] == 'r' {
				if at = strings.LastIndex(s, sep); at < 0 {
					return newTuple("", "", s), nil
				}
			}
			if at < 0 {
				return newTuple(s, "", ""), nil
			}
			return newTuple(s[:at], sep, s[at+len(sep):]), nil
		})
	}
	for _, name := range []string{"ljust", "rjust", "center", "zfill"} {
		params := "width fillchar"
		if name == "zfill" {
			params = "width"
		}
		strMethod(name, 1, params, func(r *run, s string, v []value) (value, error) {
			width, err := intArg(v[0], 0)
			if err != nil {
				return nil, err
			}
			fill := " "
			if len(v) > 1 && v[1] != missing {
				if fill, err = textArg(name, v[1]); err != nil {
					return nil, err
				}
				if runeCount(fill) != 1 {
					return nil, typeError("The fill character must be exactly one character long")
				}
			}
			return r.justify(s, name, fill, width)
		})
	}
	strMethod("expandtabs", 0, "tabsize", func(r *run, s string, v []value) (value, error) {
		size, err := intArg(v[0], 8)
		if err != nil {
			return nil, err
		}
		w, column := &writer{r: r}, 0
		for _, c := range s {
			out := string(c)
			switch c {
			case '\t':
				out = ""
				if size > 0 {
					n := size - column%size
					if n > maxString {
						return nil, limitError("a string of more than %d bytes", maxString)
					}
					out = strings.Repeat(" ", n)
				}
				column += len(out)
			case '\n', '\r':
				column = 0
			default:
				column++
			}
			if err := w.put(out); err != nil {
				return nil, err
			}
		}
		return w.String(), nil
	})
	methodSet(stringMethods, "join", 1, "iterable", func(r *run, self value, v []value) (value, error) {
		items, err := r.collect(v[0])
		if err != nil {
			if e, ok := err.(*Error); ok && e.Class == "TypeError" {
				err = typeError("can only join an iterable")
			}
			return nil, err
		}
		return r.joinItems(self, items)
	})
	strMethod("translate", 1, "table", func(r *run, s string, v []value) (value, error) {
		switch table := v[0].(type) {
		case *undefined:
			return nil, table.err()
		case string, markup, *list, *tuple, *dict, *span:
		default:
			return nil, typeError("%s object is not subscriptable", quote(typeName(table)))
		}
		w := &writer{r: r}
		for _, c := range s {
			to, ok, err := r.element(v[0], int(c))
			if err != nil {
				return nil, err
			}
			out := string(c)
			if ok {
				if n, isInt := small(to); isInt {
					out = string(rune(n))
				} else if to == nil {
					out = ""
				} else if out, ok = str(to); !ok {
					return nil, typeError("character mapping must return integer, None or str")
				}
			}
			if err := w.put(out); err != nil {
				return nil, err
			}
		}
		return w.String(), nil
	})
	stringMethods["format"] = func(r *run, self value, a *args) (value, error) { return r.format(self, a) }
	methodSet(stringMethods, "format_map", 1, "mapping", func(r *run, self value, v []value) (value, error) {
		a := &args{}
		if d, ok := v[0].(*dict); ok {
			for _, e := range d.entries {
				if name, ok := str(e.key); ok {
					a.names, a.named = append(a.names, name), append(a.named, e.val)
				}
			}
		}
		return r.format(self, a)
	})
	for _, name := range []string{"encode", "maketrans"} {
		methodSet(stringMethods, name, 0, "x y z", func(*run, value, []value) (value, error) {
			return nil, limitError("str.%s is not supported", name)
		})
	}
}
