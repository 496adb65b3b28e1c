package criteria

import (
	"fmt"
	"slices"
	"strings"
)

// Coverage asks how much of the query a part of the document has.
type Coverage struct {
	// Field is the part of the document.
	Field Field `json:"field"`
	// IDF weighs the query's words by how rare they are in the collection.
	IDF bool `json:"idf"`
	// Rest leaves out the brand that the query names.
	Rest bool `json:"rest"`
}

// Name implements [Criterion].
func (c *Coverage) Name() string {
	return "coverage " + string(c.Field) + suffix(c.IDF, " idf") + suffix(c.Rest, " rest")
}

// Sentence implements [Criterion].
func (c *Coverage) Sentence() string {
	s := fmt.Sprintf("all: %s has every word of the query, in singular or plural; some: it has only a part of them; no: it has none.", c.Field.phrase())
	if c.IDF {
		s += " Rare words count more."
	}
	return s
}

// Answers implements [Criterion].
func (c *Coverage) Answers() []string { return []string{"all", "some", "no"} }

// Validate returns an error if the field is unknown.
func (c *Coverage) Validate() error { return c.Field.validate() }

// Judge implements [Criterion].
func (c *Coverage) Judge(q *Query, d *Document) Finding {
	text := d.Text(c.Field)
	found := q.foundIn(text)
	var have, all float64
	var lacking []string
	n := 0
	for i, stem := range q.Stems {
		if c.Rest && i >= q.brandAt && i < q.brandAt+len(q.brand) {
			continue
		}
		weight := 1.
		if c.IDF {
			weight = q.Collection.IDF(stem)
		}
		all += weight
		if found[i] {
			have += weight
			n++
		} else {
			lacking = append(lacking, q.Words[i])
		}
	}
	f := Finding{Answer: "some", Score: have / max(all, 1e-9), Fact: fmt.Sprintf("%d/%d", n, len(q.Stems))}
	switch {
	case len(lacking) == 0:
		f.Score, f.Answer, f.Reason = 1, "all", c.Field.phrase()+" has all words"
	case n == 0:
		f.Answer, f.Reason = "no", c.Field.phrase()+" has none of the words"
	default:
		f.Reason = c.Field.phrase() + " lacks " + strings.Join(lacking, ", ")
	}
	return f
}

// foundIn tells of each word of the query whether a text has it. Two words of the
// query may be one of the text.
func (q *Query) foundIn(t *Text) []bool {
	found := make([]bool, len(q.Stems))
	for i, stem := range q.Stems {
		if t.Has(stem) {
			found[i] = true
		}
		if i > 0 && slices.ContainsFunc(t.Stems, func(s string) bool { return joins(q.Words[i-1], stem, s) }) {
			found[i-1], found[i] = true, true
		}
	}
	return found
}

// Phrase asks whether the words of the query stand in a row.
type Phrase struct {
	// Field is the part of the document.
	Field Field `json:"field"`
}

// Name implements [Criterion].
func (c *Phrase) Name() string { return "phrase " + string(c.Field) }

// Sentence implements [Criterion].
func (c *Phrase) Sentence() string {
	return fmt.Sprintf("yes: the words of the query stand in a row in %s; no: they do not.", c.Field.phrase())
}

// Answers implements [Criterion].
func (c *Phrase) Answers() []string { return []string{"yes", "no"} }

// Validate returns an error if the field is unknown.
func (c *Phrase) Validate() error { return c.Field.validate() }

// Judge implements [Criterion].
func (c *Phrase) Judge(q *Query, d *Document) Finding {
	if at, _ := d.Text(c.Field).Find(q.Stems); at >= 0 {
		return Finding{"yes", 1, "yes", c.Field.phrase() + " has the query as one phrase"}
	}
	return Finding{"no", 0, "no", c.Field.phrase() + " does not have the query as one phrase"}
}

// Position asks where in the title the query's words begin.
type Position struct{}

// Name implements [Criterion].
func (c *Position) Name() string { return "position" }

// Sentence implements [Criterion].
func (c *Position) Sentence() string {
	return "start: the first word of the query in the title is among its first four words; later: it comes later; absent: the title has none."
}

// Answers implements [Criterion].
func (c *Position) Answers() []string { return []string{"start", "later", "absent"} }

// Judge implements [Criterion].
func (c *Position) Judge(q *Query, d *Document) Finding {
	title := d.Text(FieldTitle)
	at := q.place(title)
	if at < 0 {
		return Finding{"absent", 0, "absent", "the title has no word of the query"}
	}
	f := Finding{"later", 1 - float64(at)/float64(len(title.Stems)), fmt.Sprintf("word %d", at+1), fmt.Sprintf("the match begins at word %d", at+1)}
	if at < 4 {
		f.Answer = "start"
	}
	return f
}

// place returns where the query matches a text: its phrase, else its head, else
// its first word there; -1 if none.
func (q *Query) place(t *Text) int {
	if at, _ := t.Find(q.Stems); at >= 0 {
		return at
	}
	if at, _ := t.Find([]string{q.Head()}); at >= 0 {
		return at
	}
	return slices.IndexFunc(t.Stems, func(s string) bool { return slices.Contains(q.Stems, s) })
}

// phrase is a field in a sentence.
func (f Field) phrase() string {
	switch f {
	case FieldFields:
		return "the list of attributes"
	case FieldCompatible:
		return "the list of what it goes with"
	case FieldAny:
		return "the document"
	}
	return "the " + string(f)
}

func (f Field) validate() error {
	if !slices.Contains(fields[:], f) {
		return fmt.Errorf("no field %q, want one of %v", f, fields)
	}
	return nil
}

func suffix(b bool, s string) string {
	if b {
		return s
	}
	return ""
}

// Specs asks whether the match stands among the title's specifications, after a
// quantity with a unit, as "SSD" does in "PC 16 GB RAM 512 GB SSD".
type Specs struct{}

// Name implements [Criterion].
func (c *Specs) Name() string { return "specifications" }

// Sentence implements [Criterion].
func (c *Specs) Sentence() string {
	return "before: the match stands before the title's specifications; among: a quantity such as 16 GB comes before it; absent: the title does not name it."
}

// Answers implements [Criterion].
func (c *Specs) Answers() []string { return []string{"before", "among", "absent"} }

// Judge implements [Criterion].
func (c *Specs) Judge(q *Query, d *Document) Finding {
	m, ok := q.matchTitle(d.Text(FieldTitle))
	switch {
	case !ok:
		return Finding{"absent", 0, "absent", "the title does not name it"}
	case m.specs > 0:
		return Finding{"among", 1 / float64(1+m.specs), "among", "the match stands among specifications"}
	}
	return Finding{"before", 1, "before", "the match stands before all specifications"}
}
