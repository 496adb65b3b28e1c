package criteria

import (
	"slices"
	"strings"
)

// Accessory asks whether the document is an accessory of what is wanted, a spare
// part, or a thing that has it, instead of the thing. It reads the title around the
// match. Which words name things of their own is learned from the collection: they
// end the part of titles that names the thing (the words in small letters where names
// have capitals, the words with capitals where adjectives are small), stand before
// "for" or in type fields.
type Accessory struct {
	// Words are further words that name accessories, in singular.
	Words []string `json:"words"`
}

// Name implements [Criterion].
func (c *Accessory) Name() string { return "accessory" }

// Sentence implements [Criterion].
func (c *Accessory) Sentence() string {
	return "product: the title names the wanted thing itself; after: a word such as case or cable after it makes it an accessory; before: another thing is named before it; for: it is only what the product is for; with: it only comes with the product; absent: the title does not name it."
}

// Answers implements [Criterion].
func (c *Accessory) Answers() []string {
	return []string{"product", "after", "before", "for", "with", "absent"}
}

// Judge implements [Criterion].
func (c *Accessory) Judge(q *Query, d *Document) Finding {
	title := d.Text(FieldTitle)
	m, ok := q.matchTitle(title)
	if !ok {
		return Finding{"absent", 0, "absent", "the title does not name it"}
	}
	end := m.at + m.words
	if at := slices.IndexFunc(title.Stems[end:], func(s string) bool {
		return slices.Contains(c.Words, s) && !slices.Contains(q.Stems, s)
	}); at >= 0 {
		m.kind, m.after = 1, title.Words[end+at]
	}
	matched := strings.Join(title.Words[m.at:end], " ")
	switch {
	case m.forIt:
		return Finding{"for", .1, "for " + matched, "it is for " + matched}
	case m.withIt:
		return Finding{"with", .2, "with " + matched, "it comes with " + matched}
	case m.kind >= suspicious:
		return Finding{"after", .5 * (1 - m.kind), m.after + " after match", m.after + " follows " + matched}
	case m.before:
		return Finding{"before", .5, "other thing before match", "another thing is named before " + matched}
	}
	return Finding{"product", 1 - .4*m.kind/suspicious, "product", "the title names " + matched}
}

// After asks what follows the match in the title.
type After struct{}

// Name implements [Criterion].
func (c *After) Name() string { return "after" }

// Sentence implements [Criterion].
func (c *After) Sentence() string {
	return "What stands after the match in the title: end: nothing; number: a number; kind: the name of a kind of thing; little: a word such as for or with; word: another word; absent: there is no match."
}

// Answers implements [Criterion].
func (c *After) Answers() []string {
	return []string{"end", "number", "kind", "little", "word", "absent"}
}

// Judge implements [Criterion].
func (c *After) Judge(q *Query, d *Document) Finding {
	title := d.Text(FieldTitle)
	m, ok := q.matchTitle(title)
	if !ok {
		return Finding{"absent", 0, "absent", "there is no match in the title"}
	}
	end := m.at + m.words
	if end == len(title.Stems) {
		return Finding{"end", 1, "end of title", "nothing follows the match"}
	}
	next := title.Words[end]
	f := Finding{Score: 1 - q.Collection.kind(title.Stems[end]), Fact: "then " + next, Reason: next + " follows the match"}
	switch {
	case hasDigit(next):
		f.Answer = "number"
	case little[next]:
		f.Answer = "little"
	case q.Collection.kind(title.Stems[end]) >= suspicious && !slices.Contains(q.Stems, title.Stems[end]):
		f.Answer = "kind"
	default:
		f.Answer = "word"
	}
	return f
}

// Companion asks whether the document's kind of thing usually goes with another,
// as cartridges go with printers, while the query's does not. It is learned from
// the collection's compatible fields and its titles with "for".
type Companion struct{}

// Name implements [Criterion].
func (c *Companion) Name() string { return "companion" }

// Sentence implements [Criterion].
func (c *Companion) Sentence() string {
	return "yes: the title names a kind of thing that usually goes with another, such as a cartridge, and the query does not; no: it does not."
}

// Answers implements [Criterion].
func (c *Companion) Answers() []string { return []string{"yes", "no"} }

// Judge implements [Criterion].
func (c *Companion) Judge(q *Query, d *Document) Finding {
	var most float64
	name := ""
	title := d.Text(FieldTitle)
	for i, stem := range title.Stems {
		if slices.Contains(q.Stems, stem) {
			continue
		}
		if v := q.Collection.words; v.noun[stem] >= suspicious/2 && v.noun[stem]*v.goes[stem] > most {
			most, name = v.noun[stem]*v.goes[stem], title.Words[i]
		}
	}
	if most >= suspicious {
		return Finding{"yes", 1 - most, name, name + " usually goes with another thing"}
	}
	return Finding{"no", 1 - most, "no", "the title names nothing that goes with another thing"}
}

// Compatible asks whether the document goes with what the query names: of a query
// "X for Y", whether it is for Y; of any other, whether what is wanted stands only
// in the list of what the document goes with.
type Compatible struct{}

// Name implements [Criterion].
func (c *Compatible) Name() string { return "compatibility" }

// Sentence implements [Criterion].
func (c *Compatible) Sentence() string {
	return "match: the product fits what the query names after for; mismatch: it does not; only: the query has no for, and its words stand only in what the product goes with; none: the query has no for."
}

// Answers implements [Criterion].
func (c *Compatible) Answers() []string { return []string{"match", "mismatch", "only", None} }

// Judge implements [Criterion].
func (c *Compatible) Judge(q *Query, d *Document) Finding {
	title, goes := d.Text(FieldTitle), d.Text(FieldCompatible)
	if at := slices.Index(q.Words, "for"); at > 0 && at+1 < len(q.Words) {
		target := strings.Join(q.Words[at+1:], " ")
		for i := at + 1; i < len(q.Stems); i++ {
			if s := q.Stems[i]; !little[s] && !title.Has(s) && !goes.Has(s) && !d.Text(FieldBody).Has(s) {
				return Finding{"mismatch", 0, "not for " + target, "the document does not name " + q.Words[i]}
			}
		}
		return Finding{"match", 1, "for " + target, "it goes with " + target}
	}
	if head := q.Head(); head != "" && goes.Has(head) && !title.Has(head) {
		return Finding{"only", 0, "goes with " + head, head + " stands only in what it goes with"}
	}
	return Finding{None, 1, "not asked", "the query does not ask for it"}
}
