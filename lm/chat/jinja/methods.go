package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nikolalohinski/gonja/v2/exec"

	"github.com/stepwise-rl/stepwise/lm/chat"
)

// methodSet holds the methods of strings and dicts that change nothing.
func methodSet() exec.Methods {
	str := map[string]exec.Method[string]{}
	for name, f := range stringMethods {
		str[name] = func(s string, _ *exec.Value, va *exec.VarArgs) (any, error) {
			a := arguments{VarArgs: va}
			v := f(s, &a)
			return v, a.end()
		}
	}
	dict := map[string]exec.Method[map[string]any]{}
	for name, f := range dictMethods {
		dict[name] = func(_ map[string]any, self *exec.Value, va *exec.VarArgs) (any, error) {
			a := arguments{VarArgs: va}
			v := f(pairs(self), &a)
			return v, a.end()
		}
	}
	return exec.Methods{
		Str:   exec.NewMethodSet(str),
		Dict:  exec.NewMethodSet(dict),
		Bool:  exec.NewMethodSet(map[string]exec.Method[bool]{}),
		Int:   exec.NewMethodSet(map[string]exec.Method[int]{}),
		Float: exec.NewMethodSet(map[string]exec.Method[float64]{}),
		List:  exec.NewMethodSet(map[string]exec.Method[[]any]{}),
	}
}

// dictMethods are Python's, in the order in which a dict was made.
var dictMethods = map[string]func(self []*exec.Pair, a *arguments) any{
	"get": func(self []*exec.Pair, a *arguments) any {
		key, missing := a.text("key"), a.next("default")
		for _, p := range self {
			if p.Key.String() == key {
				return p.Value.Interface()
			}
		}
		if missing == nil {
			return nil
		}
		return missing.Interface()
	},
	"items": func(self []*exec.Pair, _ *arguments) any {
		return each(self, func(p *exec.Pair) any { return list{p.Key.Interface(), p.Value.Interface()} })
	},
	"keys": func(self []*exec.Pair, _ *arguments) any {
		return each(self, func(p *exec.Pair) any { return p.Key.Interface() })
	},
	"values": func(self []*exec.Pair, _ *arguments) any {
		return each(self, func(p *exec.Pair) any { return p.Value.Interface() })
	},
}

func each(pairs []*exec.Pair, f func(p *exec.Pair) any) list {
	l := make(list, len(pairs))
	for i, p := range pairs {
		l[i] = f(p)
	}
	return l
}

// stringMethods are Python's. Indices count characters.
var stringMethods = map[string]func(s string, a *arguments) any{
	"strip":  func(s string, a *arguments) any { return strip(s, a, true, true) },
	"lstrip": func(s string, a *arguments) any { return strip(s, a, true, false) },
	"rstrip": func(s string, a *arguments) any { return strip(s, a, false, true) },
	"split":  func(s string, a *arguments) any { return split(s, a, false) },
	"rsplit": func(s string, a *arguments) any { return split(s, a, true) },
	"splitlines": func(s string, a *arguments) any {
		return splitLines(s, a.flag("keepends", false))
	},
	"startswith": func(s string, a *arguments) any { return affix(s, a, strings.HasPrefix) },
	"endswith":   func(s string, a *arguments) any { return affix(s, a, strings.HasSuffix) },
	"replace": func(s string, a *arguments) any {
		before, after := a.text("old"), a.text("new")
		return strings.Replace(s, before, after, a.count("count", -1))
	},
	"removeprefix": func(s string, a *arguments) any { return strings.TrimPrefix(s, a.text("prefix")) },
	"removesuffix": func(s string, a *arguments) any { return strings.TrimSuffix(s, a.text("suffix")) },
	"count":        func(s string, a *arguments) any { return strings.Count(s, a.text("sub")) },
	"find":         func(s string, a *arguments) any { return character(s, strings.Index(s, a.text("sub"))) },
	"rfind":        func(s string, a *arguments) any { return character(s, strings.LastIndex(s, a.text("sub"))) },
	"join": func(s string, a *arguments) any {
		var parts []string
		if v := a.next("iterable"); v != nil {
			for _, item := range items(v) {
				parts = append(parts, exec.ToValue(item).String())
			}
		}
		return strings.Join(parts, s)
	},
	"lower":      func(s string, _ *arguments) any { return strings.ToLower(s) },
	"upper":      func(s string, _ *arguments) any { return strings.ToUpper(s) },
	"title":      func(s string, _ *arguments) any { return title(s, false) },
	"capitalize": func(s string, _ *arguments) any { return title(s, true) },
	"isspace":    func(s string, _ *arguments) any { return s != "" && chat.Trim(s) == "" },
	"isdigit":    func(s string, _ *arguments) any { return all(s, unicode.IsDigit) },
	"isalpha":    func(s string, _ *arguments) any { return all(s, unicode.IsLetter) },
	"isalnum": func(s string, _ *arguments) any {
		return all(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) })
	},
}

func all(s string, is func(r rune) bool) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !is(r) }) < 0
}

// character returns which character begins at a byte.
func character(s string, at int) int {
	if at < 0 {
		return at
	}
	return utf8.RuneCountInString(s[:at])
}

// strip removes white space, or the characters that are given, from ends.
func strip(s string, a *arguments, left, right bool) string {
	is := func(r rune) bool { return chat.Trim(string(r)) == "" }
	if v := a.next("chars"); v != nil {
		chars := v.String()
		is = func(r rune) bool { return strings.ContainsRune(chars, r) }
	}
	if left {
		s = strings.TrimLeftFunc(s, is)
	}
	if right {
		s = strings.TrimRightFunc(s, is)
	}
	return s
}

// affix tests for a prefix or suffix, or for any of several.
func affix(s string, a *arguments, has func(s, affix string) bool) bool {
	v := a.next("affix")
	switch {
	case v == nil:
		a.text("affix") // an error
	case v.IsList():
		for _, item := range items(v) {
			if has(s, exec.ToValue(item).String()) {
				return true
			}
		}
		return false
	}
	return v != nil && has(s, v.String())
}

// split cuts at a separator, or at runs of white space without one, from the
// left or from the right, at most a number of times.
func split(s string, a *arguments, fromRight bool) list {
	sep, most := a.next("sep"), a.count("maxsplit", -1)
	var parts []string
	switch {
	case sep == nil && most < 0:
		parts = strings.FieldsFunc(s, func(r rune) bool { return chat.Trim(string(r)) == "" })
	case sep == nil:
		a.err = fault("maxsplit without a separator is not supported")
	case sep.String() == "":
		a.err = fault("the separator is empty")
	case most < 0:
		parts = strings.Split(s, sep.String())
	case fromRight:
		all := strings.Split(s, sep.String())
		first := max(len(all)-most, 1)
		parts = append([]string{strings.Join(all[:first], sep.String())}, all[first:]...)
	default:
		parts = strings.SplitN(s, sep.String(), most+1)
	}
	l := make(list, len(parts))
	for i := range parts {
		l[i] = parts[i]
	}
	return l
}

// splitLines cuts after what Python takes for the end of a line.
func splitLines(s string, keep bool) list {
	l := list{}
	for s != "" {
		at := strings.IndexAny(s, "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029")
		if at < 0 {
			return append(l, s)
		}
		_, size := utf8.DecodeRuneInString(s[at:])
		if strings.HasPrefix(s[at:], "\r\n") {
			size = 2
		}
		if keep {
			l = append(l, s[:at+size])
		} else {
			l = append(l, s[:at])
		}
		s = s[at+size:]
	}
	return l
}

// title writes the first letter of every word, or of the text, in upper case
// and the others in lower case.
func title(s string, firstOnly bool) string {
	inside := false
	return strings.Map(func(r rune) rune {
		up := !inside
		inside = firstOnly || unicode.IsLetter(r)
		if up {
			return unicode.ToTitle(r)
		}
		return unicode.ToLower(r)
	}, s)
}
