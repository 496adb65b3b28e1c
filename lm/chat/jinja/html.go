package jinja

import (
	"fmt"
	"html"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func unescapeHTML(s string) string { return html.UnescapeString(s) }

func xmlAttr(r *run, v []value) (value, error) {
	if u, ok := v[0].(*undefined); ok {
		return nil, u.err()
	}
	d, ok := v[0].(*dict)
	if !ok {
		return nil, raise("AttributeError", "%s object has no attribute 'items'", quote(typeName(v[0])))
	}
	var parts []string
	for _, e := range d.entries {
		if _, gone := e.val.(*undefined); gone || e.val == nil {
			continue
		}
		key, ok := str(e.key)
		if !ok {
			return nil, typeError("expected string or bytes-like object, got %s", quote(typeName(e.key)))
		}
		if strings.ContainsAny(key, " \t\n\r\f\v/>=") {
			return nil, valueError("Invalid character in attribute name: %s", shortRepr(key))
		}
		val, err := r.text(e.val)
		if err != nil {
			return nil, err
		}
		if _, safe := e.val.(markup); !safe {
			val = escapeHTML(val)
		}
		if err := r.grow(len(key) + len(val)); err != nil {
			return nil, err
		}
		parts = append(parts, escapeHTML(key)+`="`+val+`"`)
	}
	out := strings.Join(parts, " ")
	space := v[1] == missing
	if !space {
		var err error
		if space, err = r.truth(v[1]); err != nil {
			return nil, err
		}
	}
	if space && out != "" {
		out = " " + out
	}
	return r.safe(out), nil
}

// urlQuote escapes bytes for a path, or for a query, where a space is a plus.
func urlQuote(s string, query bool) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case decimal(c) || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.IndexByte("_.-~", c) >= 0 || c == '/' && !query:
			b.WriteByte(c)
		case c == ' ' && query:
			b.WriteByte('+')
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func urlEncode(r *run, v []value) (value, error) {
	quoted := func(v value, query bool) (string, error) {
		s, err := r.text(v)
		if err == nil {
			s = urlQuote(s, query)
			err = r.grow(len(s))
		}
		return s, err
	}
	pairs := v[0]
	if d, ok := pairs.(*dict); ok {
		pairs = &view{d, "items"}
	}
	it, err := r.iterate(pairs)
	if _, ok := str(pairs); ok || err != nil {
		return quoted(pairs, false)
	}
	var parts []string
	for {
		pair, ok, err := it()
		if !ok || err != nil {
			return strings.Join(parts, "&"), err
		}
		kv, err := r.unpack(pair, 2)
		if err != nil {
			return nil, err
		}
		key, err := quoted(kv[0], true)
		if err != nil {
			return nil, err
		}
		val, err := quoted(kv[1], true)
		if err != nil {
			return nil, err
		}
		parts = append(parts, key+"="+val)
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
func urlize(r *run, v []value) (value, error) {
	s, err := r.text(v[0])
	if err != nil {
		return nil, err
	}
	if _, safe := v[0].(markup); !safe {
		s = escapeHTML(s)
	}
	limit := -1
	if v[1] != missing && v[1] != nil {
		if limit, err = intArg(v[1], -1); err != nil {
			limit = -1 // compared with the lengths of links only
		}
	}
	rels := []string{"noopener"}
	if rel, ok := str(v[4]); ok {
		rels = append(rels, splitSpace(rel, -1, false)...)
	}
	if no, err := r.truthArg(v[2]); err != nil {
		return nil, err
	} else if no {
		rels = append(rels, "nofollow")
	}
	slices.Sort(rels)
	attrs := ` rel="` + escapeHTML(strings.Join(slices.Compact(rels), " ")) + `"`
	if target, ok := str(v[3]); ok && target != "" {
		attrs += ` target="` + escapeHTML(target) + `"`
	}
	var schemes []string
	if v[5] != missing && v[5] != nil {
		items, err := r.collect(v[5])
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			scheme, _ := str(item)
			if !urlScheme.MatchString(scheme) {
				return nil, raise("FilterArgumentError", "%s is not a valid URI scheme prefix.", shortRepr(item))
			}
			schemes = append(schemes, scheme)
		}
	}
	w := &writer{r: r}
	for s != "" {
		at := strings.IndexFunc(s, isSpace)
		if at == 0 {
			at = len(s) - len(strings.TrimLeftFunc(s, isSpace))
			err = w.put(s[:at])
		} else {
			if at < 0 {
				at = len(s)
			}
			if err = r.charge(at); err == nil {
				err = w.put(link(s[:at], attrs, limit, schemes))
			}
		}
		if err != nil {
			return nil, err
		}
		s = s[at:]
	}
	return r.safe(w.String()), nil
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
		url := middle
		if !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
			url = "https://" + url
		}
		middle = `<a href="` + url + `"` + attrs + `>` + shown + `</a>`
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

// chunks cut a line for wrapping: white space, words up to hyphens within
// them, and dashes.
var (
	wordChunk   = regexp.MustCompile(`[^\t\n\v\f\r ]+|[\t\n\v\f\r ]+`)
	wrapDefault = 79
)

// chunks returns the pieces of a line between which it may be broken.
func chunks(line string, hyphens bool) (out []string) {
	for _, word := range wordChunk.FindAllString(line, -1) {
		if !hyphens || !strings.Contains(word, "-") {
			out = append(out, word)
			continue
		}
		rs := []rune(word)
		letter := func(i int) bool { return i >= 0 && i < len(rs) && (rs[i] == '_' || isLetter(rs[i])) }
		start := 0
		for i := 0; i < len(rs); i++ {
			if rs[i] != '-' {
				continue
			}
			end := i
			for end+1 < len(rs) && rs[end+1] == '-' {
				end++
			}
			after := end+1 < len(rs) && (isAlnum(rs[end+1]) || rs[end+1] == '_')
			if end > i { // a dash stands alone between words
				if after && i > start && (isAlnum(rs[i-1]) || strings.ContainsRune(`_!"'&.,?`, rs[i-1])) {
					out = append(out, string(rs[start:i]), string(rs[i:end+1]))
					start = end + 1
				}
				i = end
				continue
			}
			if letter(i-1) && letter(i-2) && letter(i+1) && (letter(i+2) || i+2 < len(rs) && rs[i+2] == '-') ||
				letter(i-1) && i-2 >= 0 && rs[i-2] == '-' && letter(i+1) && letter(i+2) {
				out = append(out, string(rs[start:i+1]))
				start = i + 1
			}
		}
		if start < len(rs) {
			out = append(out, string(rs[start:]))
		}
	}
	return out
}

func isLetter(c rune) bool { return isAlnum(c) && !isDigit(c) }

func wordWrap(r *run, v []value) (value, error) {
	s, ok := str(v[0])
	if u, gone := v[0].(*undefined); gone {
		return nil, u.err()
	} else if !ok {
		return nil, raise("AttributeError", "%s object has no attribute 'splitlines'", quote(typeName(v[0])))
	}
	width, err := operand(v[1], wrapDefault)
	if err != nil {
		return nil, err
	}
	long, hyphens := true, true
	for i, to := range map[int]*bool{2: &long, 4: &hyphens} {
		if v[i] != missing {
			if *to, err = r.truth(v[i]); err != nil {
				return nil, err
			}
		}
	}
	sep, ok := str(v[3])
	switch {
	case v[3] == missing || v[3] == nil:
		sep = "\n"
	case !ok:
		return nil, raise("AttributeError", "%s object has no attribute 'join'", quote(typeName(v[3])))
	}
	w := &writer{r: r}
	for i, line := range splitLines(s, false) {
		wrapped, err := r.wrap(chunks(line, hyphens), width, long, hyphens)
		if err == nil && i > 0 {
			err = w.put(sep)
		}
		if err == nil {
			err = w.put(strings.Join(wrapped, sep))
		}
		if err != nil {
			return nil, err
		}
	}
	return w.String(), nil
}

// wrap fills lines of a width with chunks.
func (r *run) wrap(pieces []string, width int, long, hyphens bool) (lines []string, err error) {
	if width <= 0 {
		return nil, valueError("invalid width %s (must be > 0)", strconv.Itoa(width))
	}
	blank := func(s string) bool { return strings.TrimFunc(s, isSpace) == "" }
	for len(pieces) > 0 {
		if err := r.step(); err != nil {
			return nil, err
		}
		if len(lines) > 0 && blank(pieces[0]) {
			if pieces = pieces[1:]; len(pieces) == 0 {
				break
			}
		}
		var line []string
		n := 0
		for len(pieces) > 0 && n+runeCount(pieces[0]) <= width {
			n += runeCount(pieces[0])
			line, pieces = append(line, pieces[0]), pieces[1:]
		}
		if len(pieces) > 0 && runeCount(pieces[0]) > width {
			if long {
				rs := []rune(pieces[0])
				end := width - n
				if hyphens && len(rs) > end {
					first := slices.IndexFunc(rs, func(c rune) bool { return c != '-' })
					for i := end - 1; first >= 0 && i > first; i-- {
						if rs[i] == '-' {
							end = i + 1
							break
						}
					}
				}
				if err := r.work(len(pieces[0])); err != nil {
					return nil, err
				}
				line = append(line, string(rs[:end]))
				pieces[0] = string(rs[end:])
			} else if len(line) == 0 {
				line, pieces = append(line, pieces[0]), pieces[1:]
			}
		}
		if len(line) > 0 && blank(line[len(line)-1]) {
			line = line[:len(line)-1]
		}
		if len(line) > 0 {
			lines = append(lines, strings.Join(line, ""))
		}
	}
	return lines, nil
}
