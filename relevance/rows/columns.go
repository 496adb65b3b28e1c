package rows

import (
	"cmp"
	"fmt"
	"strings"
)

// column returns the value of a column, which by default has its role's name; nil if
// it is absent.
func (r *row) column(name, role string) value {
	v, _ := r.values.get(cmp.Or(name, role))
	return v
}

// wrong makes the error about a column.
func (r *row) wrong(t *Table, name, role, format string, args ...any) *RowError {
	column := cmp.Or(name, role)
	return &RowError{t.File, r.line, column, fmt.Sprintf(format, args...), r.seen.lacks(t.File, column)}
}

// text returns a text or number that must not be blank, as white space and control
// characters are: of these a prompt has nothing left (see Line).
func (r *row) text(t *Table, name, role string) (string, *RowError) {
	v, present := r.values.get(cmp.Or(name, role))
	s, ok := scalar(v)
	_, isBool := v.(bool)
	switch {
	case !ok || isBool || Line(s) == "":
		return "", r.wrong(t, name, role, "%s, want a text that is not empty%s", found(v, present), r.others(present))
	case !validText(s):
		return "", r.wrong(t, name, role, "is not valid UTF-8")
	}
	return s, nil
}

// others lists the columns that there are, for the message that one is missing.
func (r *row) others(present bool) string {
	if present || len(r.values) == 0 {
		return ""
	}
	var names []string
	for _, m := range r.values {
		if len(names) == mostListed {
			names = append(names, "...")
			break
		}
		names = append(names, m.name)
	}
	return "; the columns are " + strings.Join(names, ", ")
}

// raters returns the labels of single raters, "" for one who gave none; nil if there
// are no raters or none gave one.
func (r *row) raters(t *Table, d *Data) ([]string, *RowError) {
	var out []string
	rated := false
	for _, name := range t.Columns.Raters {
		v, present := r.values.get(name)
		list, isList := v.([]value)
		if !isList {
			list = []value{v}
		}
		if !present {
			return nil, r.wrong(t, name, "", "is missing, want a rater's label%s", r.others(false))
		}
		for _, v := range list {
			if blank(v) {
				out = append(out, "")
				continue
			}
			s, ok := scalar(v)
			label, allowed := d.label(s)
			if !ok || !allowed {
				return nil, r.wrong(t, name, "", "%s, want %s, or nothing%s", found(v, true), d.allowed(), d.remedy(s))
			}
			out, rated = append(out, label), true
		}
	}
	if !rated {
		return nil, nil
	}
	return out, nil
}

// document reads the document of a row of a file of pairs or of documents.
func (r *row) document(t *Table, file string) (Document, *RowError) {
	c := &t.Columns
	if v, ok := r.values.get(cmp.Or(c.Document, "document")); ok && v != nil || c.Document != "" {
		return r.wholeDocument(t, v, ok)
	}
	var d Document
	var bad *RowError
	get := func(name, role string) string {
		v, ok := r.values.get(cmp.Or(name, role))
		s, isText := v.(string)
		if bad == nil && (v != nil && !isText || name != "" && !ok && r.flat) {
			bad = r.wrong(t, name, role, "%s, want a text%s", found(v, ok), r.others(ok))
		} else if bad == nil && !validText(s) {
			bad = r.wrong(t, name, role, "is not valid UTF-8")
		}
		return s
	}
	d.Title, d.Body = get(c.Title, "title"), get(c.Body, "body")
	if bad == nil {
		d.Fields, bad = r.fields(t, file)
	}
	if bad == nil && Line(d.Title+d.Body) == "" {
		for _, name := range []string{c.Title, c.Body} { // that a JSON object need not have
			if _, ok := r.values.get(name); name != "" && !ok {
				return d, r.wrong(t, name, "", "is missing, want a text%s", r.others(false))
			}
		}
		bad = r.wrong(t, "", "document", `has neither title nor body, want a text or an object such as {"title": "...", "body": "..."}, or columns for them%s`, r.others(false))
	}
	return d, bad
}

// wholeDocument reads a document that is one value.
func (r *row) wholeDocument(t *Table, v value, present bool) (Document, *RowError) {
	name := cmp.Or(t.Columns.Document, "document")
	wrong := func(member, format string, args ...any) (Document, *RowError) {
		return Document{}, r.wrong(t, name+member, "", format, args...)
	}
	if s, ok := v.(string); ok {
		switch {
		case Line(s) == "":
			return wrong("", "%s, want a text that is not empty", found(v, true))
		case !validText(s):
			return wrong("", "is not valid UTF-8")
		}
		return Document{Title: s}, nil
	}
	o, ok := v.(object)
	if !ok {
		return wrong("", `%s, want a text or an object such as {"title": "...", "body": "..."}%s`, found(v, present), r.others(present))
	}
	var d Document
	for _, m := range o {
		text, ok := scalar(m.value)
		_, isText := m.value.(string)
		switch {
		case m.value == nil:
		case !ok:
			return wrong("."+m.name, "%s, want a text, a number, true or false", found(m.value, true))
		case (m.name == "title" || m.name == "body") && !isText:
			return wrong("."+m.name, "%s, want a text", found(m.value, true))
		case !validText(text) || !validText(m.name):
			return wrong("."+m.name, "is not valid UTF-8")
		case m.name == "title":
			d.Title = text
		case m.name == "body":
			d.Body = text
		default:
			d.Fields = append(d.Fields, Field{m.name, text})
		}
	}
	if Line(d.Title+d.Body) == "" {
		return wrong("", "has neither title nor body, want one that is not empty")
	}
	return d, nil
}

// fields reads the structured fields: in the order in which they are mapped and,
// within a pattern, of the file. Blank ones are left out; a list becomes its
// values between commas.
func (r *row) fields(t *Table, file string) ([]Field, *RowError) {
	var out []Field
	var used map[string]bool // made for the first pattern
	add := func(name, column string, v value) *RowError {
		list, isList := v.([]value)
		if !isList {
			list = []value{v}
		}
		var parts []string
		for _, v := range list {
			if blank(v) {
				continue
			}
			s, ok := scalar(v)
			if !ok {
				return r.wrong(t, column, "", "%s, want a text, a number, true, false or a list of them", found(v, true))
			}
			if !validText(s) || !validText(name) {
				return r.wrong(t, column, "", "is not valid UTF-8")
			}
			parts = append(parts, s)
		}
		if len(parts) > 0 {
			out = append(out, Field{name, strings.Join(parts, ", ")})
		}
		return nil
	}
	for _, f := range t.Columns.Fields {
		before, after, pattern := strings.Cut(f.Column, "*")
		if !pattern {
			v, ok := r.values.get(f.Column)
			if !ok && r.flat {
				return nil, r.wrong(t, f.Column, "", "is missing%s", r.others(false))
			}
			if bad := add(f.Name, f.Column, v); bad != nil {
				return nil, bad
			}
			continue
		}
		if used == nil {
			used = t.Columns.taken(file)
		}
		for _, m := range r.values {
			if used[m.name] || len(m.name) < len(before)+len(after) || !strings.HasPrefix(m.name, before) || !strings.HasSuffix(m.name, after) {
				continue
			}
			used[m.name] = true
			name := strings.Replace(f.Name, "*", m.name[len(before):len(m.name)-len(after)], 1)
			if bad := add(name, m.name, m.value); bad != nil {
				return nil, bad
			}
		}
	}
	return out, nil
}
