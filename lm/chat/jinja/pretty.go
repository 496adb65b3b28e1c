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
func (r *run) pretty(v value) (string, error) {
	p := &printer{writer{r: r}}
	err := p.format(v, 0, 0)
	return p.String(), err
}

type printer struct{ writer }

// format writes a value that begins at a column; allowance is what must follow
// on its last line.
func (p *printer) format(v value, indent, allowance int) error {
	v, err := p.r.keySorted(v)
	if err != nil {
		return err
	}
	text, err := p.r.repr(v)
	if err != nil {
		return err
	}
	width := prettyWidth - indent - allowance
	if runeCount(text) <= width {
		return p.put(text)
	}
	if err := p.r.deeper(); err != nil {
		return err
	}
	defer p.r.shallower()
	switch v := v.(type) {
	case string:
		return p.long(v, indent, allowance)
	case *list:
		return p.lines("[", "]", len(v.items), indent, allowance, func(i, allowance int) error {
			return p.format(v.items[i], indent+1, allowance)
		})
	case *tuple:
		end := ")"
		if len(v.items) == 1 {
			end = ",)"
		}
		return p.lines("(", end, len(v.items), indent, allowance, func(i, allowance int) error {
			return p.format(v.items[i], indent+1, allowance)
		})
	case *dict:
		return p.lines("{", "}", len(v.entries), indent, allowance, func(i, allowance int) error {
			key, err := p.r.repr(v.entries[i].key)
			if err == nil {
				err = p.put(key + ": ")
			}
			if err != nil {
				return err
			}
			return p.format(v.entries[i].val, indent+runeCount(key)+3, allowance)
		})
	}
	return p.put(text)
}

// lines writes items on lines of their own.
func (p *printer) lines(begin, end string, n, indent, allowance int, item func(i, allowance int) error) error {
	if err := p.put(begin); err != nil {
		return err
	}
	for i := range n {
		more := 1
		if i > 0 {
			if err := p.put(",\n" + strings.Repeat(" ", indent+1)); err != nil {
				return err
			}
		}
		if i == n-1 {
			more = allowance + len(end)
		}
		if err := item(i, more); err != nil {
			return err
		}
	}
	return p.put(end)
}

var wordAndSpace = regexp.MustCompile(`\S*\s*`)

// long writes a long text as several strings, in brackets at the top level.
func (p *printer) long(s string, indent, allowance int) error {
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
			if err := p.r.work(len(current)); err != nil {
				return err
			}
		}
		if current != "" {
			chunks = append(chunks, quote(current))
		}
	}
	if len(chunks) == 1 {
		return p.put(chunks[0])
	}
	text := strings.Join(chunks, "\n"+strings.Repeat(" ", indent))
	if top {
		text = "(" + text + ")"
	}
	return p.put(text)
}

// keySorted sorts the keys of a dict and of the dicts in it, by type where they
// cannot be compared.
func (r *run) keySorted(v value) (value, error) {
	if err := r.deeper(); err != nil {
		return nil, err
	}
	defer r.shallower()
	each := func(items []value) ([]value, error) {
		if err := r.room(len(items)); err != nil {
			return nil, err
		}
		out := make([]value, len(items))
		for i, item := range items {
			var err error
			if out[i], err = r.keySorted(item); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	switch v := v.(type) {
	case *list:
		items, err := each(v.items)
		return &list{items}, err
	case *tuple:
		items, err := each(v.items)
		return &tuple{items: items}, err
	case *dict:
		items, err := r.sorted((&view{v, "items"}).items(), func(v value) (value, error) { return v.(*tuple).items[0], nil }, false)
		if err != nil {
			if e, ok := err.(*Error); !ok || e.Class != "TypeError" {
				return nil, err
			}
			items = (&view{v, "items"}).items()
		}
		d := newDict()
		for _, item := range items {
			pair := item.(*tuple).items
			val, err := r.keySorted(pair[1])
			if err == nil {
				err = r.store(d, pair[0], val)
			}
			if err != nil {
				return nil, err
			}
		}
		return d, nil
	}
	return v, nil
}
