package criteria

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Head asks whether a part of the document has the query's head, the word that
// says what is wanted, or its last two words in a row.
type Head struct {
	// Field is the part of the document.
	Field Field `json:"field"`
	// Bigram asks for the head with the word before it. It does not apply to
	// queries of one word.
	Bigram bool `json:"bigram"`
}

// Name implements [Criterion].
func (c *Head) Name() string {
	if c.Bigram {
		return "head pair " + string(c.Field)
	}
	return "head " + string(c.Field)
}

// Sentence implements [Criterion].
func (c *Head) Sentence() string {
	if c.Bigram {
		return fmt.Sprintf("yes: %s has the query's last two words side by side; no: it does not; none: the query has only one word.", c.Field.phrase())
	}
	return fmt.Sprintf("yes: %s has the query's main word, in singular or plural; no: it does not.", c.Field.phrase())
}

// Answers implements [Criterion].
func (c *Head) Answers() []string {
	if c.Bigram {
		return []string{"yes", "no", None}
	}
	return []string{"yes", "no"}
}

// Validate returns an error if the field is unknown.
func (c *Head) Validate() error { return c.Field.validate() }

// Judge implements [Criterion].
func (c *Head) Judge(q *Query, d *Document) Finding {
	end := q.headEnd
	start := end - 1
	if c.Bigram {
		start = end - 2
		if start < 0 {
			return Finding{None, 1, "one word", "the query has one word"}
		}
	}
	if start < 0 {
		return Finding{"no", 0, "no", "the query has no words"}
	}
	text := d.Text(c.Field)
	wanted := strings.Join(q.Words[start:end], " ")
	found, _ := text.Find(q.Stems[start:end])
	if found < 0 && !c.Bigram {
		found = slices.Index(q.foundIn(text)[start:end], true)
	}
	if found >= 0 {
		return Finding{"yes", 1, "yes", c.Field.phrase() + " has " + wanted}
	}
	return Finding{"no", 0, "no", c.Field.phrase() + " lacks " + wanted}
}

// Type asks whether the kind of thing that the document names is the one wanted.
// The document names it in its type field and, in catalogues that write names with
// capitals, in the title's first words in small letters.
type Type struct{}

// Name implements [Criterion].
func (c *Type) Name() string { return "type" }

// Sentence implements [Criterion].
func (c *Type) Sentence() string {
	return "same: the product's type ends with the query's main word; part: the word is in it, but the type is another; other: the type is another; unknown: the document does not name its type."
}

// Answers implements [Criterion].
func (c *Type) Answers() []string { return []string{"same", "part", "other", "unknown"} }

// Judge implements [Criterion].
func (c *Type) Judge(q *Query, d *Document) Finding {
	head := q.Head()
	kind, words := d.Text(FieldType).Stems, d.Text(FieldType).Words
	title := d.Text(FieldTitle)
	if q.Collection.words.small && (len(kind) == 0 || !slices.Contains(kind, head)) {
		start, end := title.typeRun()
		if start < end {
			kind, words = title.Stems[start:end], title.Words[start:end]
		}
	}
	if len(kind) == 0 || head == "" {
		return Finding{"unknown", .5, "unknown", "the document does not name its type"}
	}
	name := strings.Join(words[:min(len(words), 5)], " ")
	reason := "the type is " + name
	switch at := slices.Index(kind, head); {
	case at >= 0 && kind[len(kind)-1] == head:
		return Finding{"same", 1, name, reason}
	case at >= 0:
		return Finding{"part", .5, name, reason}
	}
	return Finding{"other", 0, name, reason}
}

// Category asks of a query that is only the name of a kind of thing whether the
// document is one: the title has the name, and no name of another thing follows,
// nor "for" comes before. Which words name kinds is learned from the collection.
type Category struct{}

// Name implements [Criterion].
func (c *Category) Name() string { return "category" }

// Sentence implements [Criterion].
func (c *Category) Sentence() string {
	return "in: the query only names a kind of product, and this is one; out: this is none; none: the query asks for more than a kind."
}

// Answers implements [Criterion].
func (c *Category) Answers() []string { return []string{"in", "out", None} }

// Judge implements [Criterion].
func (c *Category) Judge(q *Query, d *Document) Finding {
	if !q.isCategory() {
		return Finding{None, 1, "not only a category", "the query asks for more than a kind of product"}
	}
	m, ok := q.matchTitle(d.Text(FieldTitle))
	if ok && m.phrase && !m.forIt && m.kind < suspicious {
		return Finding{"in", 1, "in", "the title names a " + q.Raw}
	}
	return Finding{"out", 0, "out", "the title does not name a " + q.Raw}
}

// isCategory reports whether the query names a kind of thing and neither brand nor
// number nor a second thing.
func (q *Query) isCategory() bool {
	return len(q.Stems) > 0 && len(q.Stems) <= 3 && len(q.brand) == 0 && !slices.ContainsFunc(q.Stems, hasDigit) &&
		!slices.ContainsFunc(q.Stems, func(s string) bool { return little[s] }) && q.Collection.kind(q.Head()) >= suspicious/2
}

func hasDigit(word string) bool { return strings.IndexFunc(word, unicode.IsDigit) >= 0 }
