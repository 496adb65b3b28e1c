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

// Model asks whether the document has the model number that the query names: a
// word of letters and digits, with the short words beside it ("tn-2110"), or a
// number of four digits and more. Quantities with units are none.
type Model struct{}

// Name implements [Criterion].
func (c *Model) Name() string { return "model" }

// Sentence implements [Criterion].
func (c *Model) Sentence() string {
	return "match: the document has the model number that the query names; mismatch: it does not; none: the query names none."
}

// Answers implements [Criterion].
func (c *Model) Answers() []string { return []string{"match", "mismatch", None} }

// Judge implements [Criterion].
func (c *Model) Judge(q *Query, d *Document) Finding {
	models := q.models()
	if len(models) == 0 {
		return Finding{None, 1, "none named", "the query names no model"}
	}
	for _, m := range models {
		name := strings.Join(m, "-")
		if at, _ := d.Text(FieldAny).Find(m); at < 0 {
			return Finding{"mismatch", 0, "not " + name, "the document does not name " + name}
		}
	}
	name := strings.Join(models[0], "-")
	return Finding{"match", 1, name, "the document names " + name}
}

// models returns the model numbers of the query, each in its words.
func (q *Query) models() [][]string {
	quantity := make(map[int]bool)
	for _, n := range q.quantities() {
		if n.dimension != "" {
			for i := n.at; i < n.end; i++ {
				quantity[i] = true
			}
		}
	}
	var out [][]string
	for i, w := range q.Words {
		if quantity[i] || !hasDigit(w) {
			continue
		}
		letters := strings.IndexFunc(w, func(r rune) bool { return r > '9' }) >= 0
		// "tn-2110" is written in two words; "iphone 8" is no model number.
		joined := i > 0 && len(q.Words[i-1]) <= 3 && strings.Contains(strings.ToLower(q.Raw), q.Words[i-1]+"-"+w)
		switch {
		case joined:
			out = append(out, q.Stems[i-1:i+1])
		case letters || len(w) >= 4:
			out = append(out, q.Stems[i:i+1])
		}
	}
	return out
}

// negations are words that negate the next one.
var negations = map[string]bool{"without": true, "no": true, "not": true, "non": true, "except": true}

// negates reports whether word i negates the next one: "w/o" is two words.
func (t *Text) negates(i int) bool {
	return i >= 0 && (negations[t.Words[i]] || i > 0 && t.Words[i] == "o" && t.Words[i-1] == "w")
}

// Negation asks whether the document lacks what the query excludes: "without x",
// "w/o x", "no x", "non-x", "-x", "x-free". A document that says so itself fits, too.
type Negation struct{}

// Name implements [Criterion].
func (c *Negation) Name() string { return "negation" }

// Sentence implements [Criterion].
func (c *Negation) Sentence() string {
	return "kept: the document does not have what the query excludes; broken: it does; none: the query excludes nothing."
}

// Answers implements [Criterion].
func (c *Negation) Answers() []string { return []string{"kept", "broken", None} }

// Judge implements [Criterion].
func (c *Negation) Judge(q *Query, d *Document) Finding {
	excluded := q.excluded()
	if len(excluded) == 0 {
		return Finding{None, 1, "nothing excluded", "the query excludes nothing"}
	}
	text := d.Text(FieldAny)
	for _, stem := range excluded {
		for i, s := range text.Stems {
			negated := text.negates(i-1) || i+1 < len(text.Words) && text.Words[i+1] == "free"
			if s == stem && !negated {
				return Finding{"broken", 0, "has " + stem, "the document has " + stem}
			}
		}
	}
	return Finding{"kept", 1, "no " + excluded[0], "the document does not have " + strings.Join(excluded, ", ")}
}

// excluded returns the stems that the query excludes.
func (q *Query) excluded() []string {
	var out []string
	for i, w := range q.Words {
		switch {
		case q.negates(i-1) && !negations[w] && w != "more" && w != "less":
			out = append(out, q.Stems[i])
		case i+1 < len(q.Words) && q.Words[i+1] == "free" && strings.Contains(strings.ToLower(q.Raw), w+"-free"):
			out = append(out, q.Stems[i])
		case w[0] > '9' && strings.Contains(" "+strings.ToLower(q.Raw), " -"+w): // "-18" is a number
			out = append(out, q.Stems[i])
		}
	}
	return out
}
