package jinja

import (
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

func xmlAttr(r *run, v []value) value {
	use(v[0])
	d, ok := v[0].(*dict)
	if !ok {
		panic(raise("AttributeError", "%s object has no attribute 'items'", quote(typeName(v[0]))))
	}
	var parts []string
	for _, e := range d.entries {
		if _, gone := e.val.(*undefined); gone || e.val == nil {
			continue
		}
		key, ok := str(e.key)
		if !ok {
			panic(typeError("expected string or bytes-like object, got %s", quote(typeName(e.key))))
		}
		if strings.ContainsAny(key, " \t\n\r\f\v/>=") {
			panic(valueError("Invalid character in attribute name: %s", shortRepr(key)))
		}
		val := r.text(e.val)
		if _, safe := e.val.(markup); !safe {
			val = html.EscapeString(val)
		}
		r.grow(len(key) + len(val))
		parts = append(parts, html.EscapeString(key)+`="`+val+`"`)
	}
	out := strings.Join(parts, " ")
	space := v[1] == missing
	if !space {
		space = r.truth(v[1])
	}
	if space && out != "" {
		out = " " + out
	}
	return r.safe(out)
}

// urlQuote escapes bytes for a path, or for a query, where a space is a plus.
func urlQuote(s string, query bool) string {
	s = url.QueryEscape(s)
	if !query {
		s = strings.NewReplacer("+", "%20", "%2F", "/").Replace(s)
	}
	return s
}

func urlEncode(r *run, v []value) value {
	quoted := func(v value, query bool) string {
		s := urlQuote(r.text(v), query)
		r.grow(len(s))
		return s
	}
	pairs := v[0]
	if d, ok := pairs.(*dict); ok {
		pairs = &view{d, "items"}
	}
	it, ok := r.iter(pairs)
	if _, isText := str(pairs); isText || !ok {
		return quoted(pairs, false)
	}
	var parts []string
	for {
		pair, ok := it()
		if !ok {
			return strings.Join(parts, "&")
		}
		kv := r.unpack(pair, 2)
		parts = append(parts, quoted(kv[0], true)+"="+quoted(kv[1], true))
	}
}

var (
	isURL = regexp.MustCompile(`(?i)^((https?://|www\.)(([\pL\pN_%-]+\.)+)?([a-z]{2,63}|xn--[\pL\pN_%]{2,59})` +
		`|([\pL\pN_%-]{2,63}\.)+(com|net|int|edu|gov|org|info|mil)` +
		`|(https?://)((([\d]{1,3})(\.[\d]{1,3}){3})|(\[([\da-f]{0,4}:){2}([\da-f]{0,4}:?){1,6}\])))(?::[\d]{1,5})?(?:[/?#]\S*)?\n?$`)
	isEmail   = regexp.MustCompile(`^\S+@[\pL\pN_][\pL\pN_.-]*\.[\pL\pN_]+\n?$`)
	linkHead  = regexp.MustCompile(`^([(<]|&lt;)+`)
	linkTail  = regexp.MustCompile(`([)>.,\n]|&gt;)+$`)
	urlScheme = regexp.MustCompile(`^([\pL\pN_.+-]{2,}:(/){0,2})$`)
)

// urlize makes links of the URLs in a text.
func urlize(r *run, v []value) value {
	s := r.text(v[0])
	if _, safe := v[0].(markup); !safe {
		s = html.EscapeString(s)
	}
	limit := -1
	if v[1] != missing && v[1] != nil {
		catch("", func() { limit = intArg(v[1], -1) }) // compared with the lengths of links only
	}
	rels := []string{"noopener"}
	if rel, ok := str(v[4]); ok {
		rels = append(rels, splitSpace(rel, -1, false)...)
	}
	if r.truthArg(v[2]) {
		rels = append(rels, "nofollow")
	}
	slices.Sort(rels)
	attrs := ` rel="` + html.EscapeString(strings.Join(slices.Compact(rels), " ")) + `"`
	if target, ok := str(v[3]); ok && target != "" {
		attrs += ` target="` + html.EscapeString(target) + `"`
	}
	var schemes []string
	if v[5] != missing && v[5] != nil {
		items := r.collect(v[5])
		for _, item := range items {
			scheme, _ := str(item)
			if !urlScheme.MatchString(scheme) {
				panic(raise("FilterArgumentError", "%s is not a valid URI scheme prefix.", shortRepr(item)))
			}
			schemes = append(schemes, scheme)
		}
	}
	w := &writer{r: r}
	for s != "" {
		at := strings.IndexFunc(s, isSpace)
		if at == 0 {
			at = len(s) - len(strings.TrimLeftFunc(s, isSpace))
			w.put(s[:at])
		} else {
			if at < 0 {
				at = len(s)
			}
			r.charge(at)
			w.put(link(s[:at], attrs, limit, schemes))
		}
		s = s[at:]
	}
	return r.safe(w.String())
}

// link makes a link of a word if it is a URL, an address, or of a scheme, and not
// longer than any of those.
func link(word, attrs string, limit int, schemes []string) string {
	if len(word) > 1<<16 {
		return word
	}
	head := linkHead.FindString(word)
	middle, tail := word[len(head):], ""
	if at := linkTail.FindStringIndex(middle); at != nil {
		middle, tail = middle[:at[0]], middle[at[0]:]
	}
	for _, pair := range [][2]string{{"(", ")"}, {"<", ">"}, {"&lt;", "&gt;"}} {
		open := strings.Count(middle, pair[0])
		if open <= strings.Count(middle, pair[1]) {
			continue
		}
		for range min(open, strings.Count(tail, pair[1])) {
			end := strings.Index(tail, pair[1]) + len(pair[1])
			middle, tail = middle+tail[:end], tail[end:]
		}
	}
	shown := middle
	if limit >= 0 && runeCount(middle) > limit {
		shown = string([]rune(middle)[:limit]) + "..."
	}
	switch {
	case isURL.MatchString(middle):
		to := middle
		if !strings.HasPrefix(to, "https://") && !strings.HasPrefix(to, "http://") {
			to = "https://" + to
		}
		middle = `<a href="` + to + `"` + attrs + `>` + shown + `</a>`
	case strings.HasPrefix(middle, "mailto:") && isEmail.MatchString(middle[7:]):
		middle = `<a href="` + middle + `">` + middle[7:] + `</a>`
	case strings.Contains(middle, "@") && !strings.HasPrefix(middle, "www.") && middle[0] != '@' && !strings.Contains(middle, ":") && isEmail.MatchString(middle):
		middle = `<a href="mailto:` + middle + `">` + middle + `</a>`
	default:
		for _, scheme := range schemes {
			if middle != scheme && strings.HasPrefix(middle, scheme) {
				middle = `<a href="` + middle + `"` + attrs + `>` + middle + `</a>`
			}
		}
	}
	return head + middle + tail
}
