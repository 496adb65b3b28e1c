package jinja

import (
	"regexp"
	"slices"
	"strings"
)

// prettyWidth is how wide the filter pprint writes.
const prettyWidth = 80

// pretty is pprint.pformat(v): repr with the keys of dicts sorted, and a line
// for each item of what does not fit into one.
func (r *run) pretty(v value) string {
	p := &printer{writer{r: r}}
	p.format(v, 0, 0)
	return p.String()
}

type printer struct{ writer }

// format writes a value that begins at a column; allowance is what must follow
// on its last line.
func (p *printer) format(v value, indent, allowance int) {
	v = p.r.keySorted(v)
	text := p.r.repr(v)
	width := prettyWidth - indent - allowance
	if runeCount(text) <= width {
		p.put(text)
		return
	}
	p.r.deeper()
	defer p.r.shallower()
	switch v := v.(type) {
	case string:
		p.long(v, indent, allowance)
	case *list, *tuple:
		items, begin, end := brackets(v)
		p.lines(begin, end, len(items), indent, allowance, func(i, allowance int) {
			p.format(items[i], indent+1, allowance)
		})
	case *dict:
		p.lines("{", "}", len(v.entries), indent, allowance, func(i, allowance int) {
			key := p.r.repr(v.entries[i].key)
			p.put(key + ": ")
			p.format(v.entries[i].val, indent+runeCount(key)+3, allowance)
		})
	default:
		p.put(text)
	}
}

// lines writes items on lines of their own.
func (p *printer) lines(begin, end string, n, indent, allowance int, item func(i, allowance int)) {
	p.put(begin)
	for i := range n {
		more := 1
		if i > 0 {
			p.put(",\n" + strings.Repeat(" ", indent+1))
		}
		if i == n-1 {
			more = allowance + len(end)
		}
		item(i, more)
	}
	p.put(end)
}

var wordAndSpace = regexp.MustCompile(`\S*\s*`)

// long writes a long text as several strings, in brackets at the top level.
func (p *printer) long(s string, indent, allowance int) {
	lines := splitLines(s, true)
	top := indent == 0
	if top {
		indent++
		allowance++
	}
	var chunks []string
	for i, line := range lines {
		width := prettyWidth - indent
		if i == len(lines)-1 {
			width -= allowance
		}
		if runeCount(quote(line)) <= width {
			chunks = append(chunks, quote(line))
			continue
		}
		parts := slices.DeleteFunc(wordAndSpace.FindAllString(line, -1), func(s string) bool { return s == "" })
		current := ""
		for j, part := range parts {
			width := prettyWidth - indent
			if j == len(parts)-1 && i == len(lines)-1 {
				width -= allowance
			}
			if current != "" && runeCount(quote(current+part)) > width {
				chunks = append(chunks, quote(current))
				current = part
			} else {
				current += part
			}
			p.r.work(len(current))
		}
		if current != "" {
			chunks = append(chunks, quote(current))
		}
	}
	if len(chunks) == 1 {
		p.put(chunks[0])
		return
	}
	text := strings.Join(chunks, "\n"+strings.Repeat(" ", indent))
	if top {
		text = "(" + text + ")"
	}
	p.put(text)
}

// keySorted sorts the keys of a dict and of the dicts in it, by type where they
// cannot be compared.
func (r *run) keySorted(v value) value {
	r.deeper()
	defer r.shallower()
	switch v := v.(type) {
	case *list, *tuple:
		items, _ := itemsOf(v)
		r.room(len(items))
		out := make([]value, len(items))
		for i, item := range items {
			out[i] = r.keySorted(item)
		}
		return withItems(v, out)
	case *dict:
		items := (&view{v, "items"}).items()
		catch("TypeError", func() { items = r.sorted(items, func(v value) value { return v.(*tuple).items[0] }, false) })
		d := newDict()
		for _, item := range items {
			pair := item.(*tuple).items
			r.store(d, pair[0], r.keySorted(pair[1]))
		}
		return d
	}
	return v
}
