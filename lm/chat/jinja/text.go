package jinja

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// truthArg is the truth of an argument, false if it is not given.
func (r *run) truthArg(v value) bool {
	if v == missing {
		return false
	}
	return r.truth(v)
}

// texts makes a list of texts.
func (r *run) texts(texts []string) value {
	r.room(len(texts))
	items := make([]value, len(texts))
	for i, t := range texts {
		items[i] = t
	}
	return &list{items}
}

// within returns the part of a text between two indices, and how many
// characters are before it; found is false if it begins after the end.
func within(s string, start, end value) (part string, before int, found bool) {
	if (start == missing || start == nil) && (end == missing || end == nil) {
		return s, 0, true
	}
	n := runeCount(s)
	edge := func(v value, otherwise int) int {
		if v == missing || v == nil {
			return otherwise
		}
		i := intArg(v, otherwise)
		if i < 0 {
			i = max(i+n, 0)
		}
		return i
	}
	from := edge(start, 0)
	to := min(edge(end, n), n)
	if from > to {
		return "", 0, false
	}
	if isASCII(s) {
		return s[from:to], from, true
	}
	return string([]rune(s)[from:to]), from, true
}

// replace is s.replace(old, with, n), of the kind of self; n below 0 means all.
func (r *run) replace(self value, s, old, with string, n int) value {
	count := strings.Count(s, old)
	if n >= 0 {
		count = min(count, n)
	}
	size := len(s)
	if more := len(with) - len(old); more > 0 && count > 0 && (maxString-size)/more < count {
		panic(limitError("a string of more than %d bytes", maxString))
	} else {
		size += more * count
	}
	r.grow(max(size, len(s)))
	return like(self, strings.Replace(s, old, with, count))
}

// split is s.split(sep, maxsplit), or rsplit.
func (r *run) split(s string, v []value, fromRight bool) value {
	limit := intArg(v[1], -1)
	if v[0] == missing || v[0] == nil {
		return r.texts(splitSpace(s, limit, fromRight))
	}
	sep, ok := str(v[0])
	if !ok {
		panic(typeError("must be str or None, not %s", typeName(v[0])))
	}
	if sep == "" {
		panic(valueError("empty separator"))
	}
	if n := strings.Count(s, sep); n >= maxItems {
		panic(limitError("a list of more than %d items", maxItems))
	} else if limit < 0 || limit > n {
		limit = n
	}
	if !fromRight {
		return r.texts(strings.SplitN(s, sep, limit+1))
	}
	parts := make([]string, limit+1)
	for i := limit; i > 0; i-- {
		at := strings.LastIndex(s, sep)
		parts[i], s = s[at+len(sep):], s[:at]
	}
	parts[0] = s
	return r.texts(parts)
}

// splitSpace cuts a text at its white space.
func splitSpace(s string, limit int, fromRight bool) (parts []string) {
	if fromRight {
		s = strings.TrimRightFunc(s, isSpace)
		for s != "" {
			at := strings.LastIndexFunc(s, isSpace)
			if limit >= 0 && len(parts) == limit || at < 0 {
				parts = append(parts, s)
				break
			}
			_, n := utf8.DecodeRuneInString(s[at:])
			parts = append(parts, s[at+n:])
			s = strings.TrimRightFunc(s[:at], isSpace)
		}
		slices.Reverse(parts)
		return parts
	}
	s = strings.TrimLeftFunc(s, isSpace)
	for s != "" {
		at := strings.IndexFunc(s, isSpace)
		if limit >= 0 && len(parts) == limit || at < 0 {
			return append(parts, s)
		}
		parts = append(parts, s[:at])
		s = strings.TrimLeftFunc(s[at:], isSpace)
	}
	return parts
}

// justify fills a text up to a width.
func (r *run) justify(s, how, fill string, width int) value {
	pad := width - runeCount(s)
	if pad <= 0 {
		return s
	}
	fits(pad, len(fill))
	r.grow(len(s) + pad*len(fill))
	left := 0
	switch how {
	case "rjust":
		left = pad
	case "center":
		left = pad/2 + pad&width&1
	case "zfill":
		sign := ""
		if s != "" && (s[0] == '-' || s[0] == '+') {
			sign, s = s[:1], s[1:]
		}
		return sign + strings.Repeat("0", pad) + s
	}
	return strings.Repeat(fill, left) + s + strings.Repeat(fill, pad-left)
}

// joinItems is sep.join(items).
func (r *run) joinItems(sep value, items []value) value {
	between, _ := str(sep)
	_, marked := sep.(markup)
	var vals []value
	var texts []string
	for i, item := range items {
		s, ok := str(item)
		if !ok && !marked {
			panic(typeError("sequence item %d: expected str instance, %s found", i, typeName(item)))
		} else if !ok {
			s = r.text(item)
		}
		if i > 0 {
			vals, texts = append(vals, sep), append(texts, between)
		}
		if !marked {
			item = nil
		}
		vals, texts = append(vals, item), append(texts, s)
	}
	if len(items) == 0 {
		return like(sep, "")
	}
	if marked && len(items) == 1 {
		vals, texts = append(vals, sep), append(texts, "")
	}
	return r.join(vals, texts...)
}
