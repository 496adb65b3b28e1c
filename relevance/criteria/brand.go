package criteria

import (
	"slices"
	"strings"
)

// Brand asks whether the document is of the brand that the query names. Brands are
// those of the collection.
type Brand struct{}

// Name implements [Criterion].
func (c *Brand) Name() string { return "brand" }

// Sentence implements [Criterion].
func (c *Brand) Sentence() string {
	return "match: the product's brand is the one that the query names; mismatch: it is another; none: the query names no brand."
}

// Answers implements [Criterion].
func (c *Brand) Answers() []string { return []string{"match", "mismatch", None} }

// Judge implements [Criterion].
func (c *Brand) Judge(q *Query, d *Document) Finding {
	if len(q.brand) == 0 {
		return Finding{None, 1, "none named", "the query names no brand"}
	}
	name := strings.Join(q.Words[q.brandAt:q.brandAt+len(q.brand)], " ")
	if slices.Equal(d.Text(FieldBrand).Stems, q.brand) {
		return Finding{"match", 1, "match", "the brand is " + name}
	}
	return Finding{"mismatch", 0, "other than " + name, "the brand is not " + name}
}
