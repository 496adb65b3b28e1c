package criteria

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// Kind describes a built-in criterion for those who choose one.
type Kind struct {
	// Name is the first argument of [New].
	Name string
	// Params are its parameters.
	Params []Param
	// Answers are the answers that it can give, whatever its parameters.
	Answers []string
	// Needs says, in a few words each, what it needs of documents, with its default
	// parameters.
	Needs []string
	// Sentence says what each answer means, with its default parameters.
	Sentence string
}

// Param is a parameter of a built-in criterion, and its default as JSON.
type Param struct{ Name, Default string }

// Kinds describes the built-in criteria in the order of their names.
func Kinds() []Kind {
	var all []Kind
	for _, name := range Names() {
		c := builtin[name]()
		k := Kind{Name: name, Answers: c.Answers(), Sentence: c.Sentence()}
		fields := reflect.ValueOf(c).Elem()
		for i, param := range parameters(c) {
			text, _ := json.Marshal(fields.Field(i).Interface())
			k.Params = append(k.Params, Param{param, strings.Replace(string(text), "null", "[]", 1)})
			if fields.Field(i).Kind() != reflect.Bool {
				continue
			}
			if with, err := New(name, map[string]any{param: true}); err == nil && len(with.Answers()) > len(k.Answers) {
				k.Answers = with.Answers()
			}
		}
		for _, n := range needsOf(c) {
			k.Needs = append(k.Needs, n.what)
		}
		all = append(all, k)
	}
	return all
}

// Lacks says what a criterion needs of documents and none of the collection has, a
// sentence each: without it, the criterion tells little or nothing.
func (c *Collection) Lacks(cr Criterion) []string {
	var out []string
	for _, n := range needsOf(cr) {
		if text := n.lack(c); text != "" {
			out = append(out, text)
		}
	}
	return out
}

// need is something that a criterion needs of documents: what it is, and what a
// collection without it lacks, "" if it has it.
type need struct {
	what string
	lack func(*Collection) string
}

// needsOf lists what a built-in criterion needs.
func needsOf(c Criterion) []need {
	title := needPart(FieldTitle)
	switch c := c.(type) {
	case *Coverage:
		if c.Rest {
			return append(needPart(c.Field), needPart(FieldBrand)...)
		}
		return needPart(c.Field)
	case *Phrase:
		return needPart(c.Field)
	case *Rank:
		return needPart(c.Field)
	case *Head:
		return append(needPart(c.Field), needSpaces)
	case *Position, *Typo, *NGram, *Common:
		return title
	case *Specs:
		return append(title, needSpaces)
	case *Accessory, *After, *Category, *Companion:
		return append(title, needSpaces, needThings)
	case *Type:
		return []need{needType, needSpaces}
	case *Brand:
		return needPart(FieldBrand)
	case *Compatible:
		return append(needPart(FieldCompatible), needSpaces)
	case *Alike:
		if c.Names {
			return needPart(FieldFields)
		}
	case *Range:
		return []need{needField(c.Of)}
	case *Fit:
		var all []need
		for _, name := range c.of() {
			for _, n := range needsOf(builtin[name]()) {
				if !slices.ContainsFunc(all, func(has need) bool { return has.what == n.what }) {
					all = append(all, n)
				}
			}
		}
		return all
	}
	return nil
}

// needPart is the need of a part that documents may be without.
func needPart(f Field) []need {
	var what string
	var names func(*Roles) []string // of the part's fields
	switch f {
	case FieldTitle, FieldBody:
		what = "a " + string(f)
	case FieldFields:
		what = "structured fields"
	case FieldBrand:
		what, names = "a brand field", func(r *Roles) []string { return r.Brand }
	case FieldType:
		what, names = "a type field", func(r *Roles) []string { return r.Type }
	case FieldCompatible:
		what, names = "a field for what it goes with", func(r *Roles) []string { return r.Compatible }
	default:
		return nil
	}
	return []need{{what, func(c *Collection) string {
		switch {
		case slices.ContainsFunc(c.documents, func(d *Document) bool { return len(d.Text(f).Words) > 0 }):
			return ""
		case names != nil:
			return fmt.Sprintf("no document has %s (one of: %s)", what, strings.Join(names(&c.roles), ", "))
		}
		return "no document has " + what
	}}}
}

func needField(name string) need {
	return need{"a field " + name + " with a number", func(c *Collection) string {
		if slices.ContainsFunc(c.documents, func(d *Document) bool { _, ok := d.number(name); return ok }) {
			return ""
		}
		return fmt.Sprintf("no document has a field %q with a number", name)
	}}
}

var needSpaces = need{"words apart", func(c *Collection) string {
	n := 0
	for _, d := range c.documents {
		letters, without := 0, 0
		for _, r := range d.Title + d.Body {
			letters += int(oneIf(unicode.IsLetter(r)))
			without += int(oneIf(unspaced(r)))
		}
		n += int(oneIf(2*without > letters))
	}
	if 2*n <= len(c.documents) {
		return ""
	}
	return "the documents are written without spaces, where it cannot tell the main word: what it sees are pairs of characters"
}}

var needThings = need{"names of things", func(c *Collection) string {
	if len(c.words.noun) > 0 {
		return ""
	}
	return "the documents do not teach which words name things (by a type field, capitals, or \"for\")"
}}

var needType = need{"a type field, or names of types in titles", func(c *Collection) string {
	if c.words.small {
		return ""
	}
	return needPart(FieldType)[0].lack(c)
}}
