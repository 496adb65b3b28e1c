package criteria

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/gonum/floats"
)

// Rank asks how well the document ranks among all for the query, by BM25.
type Rank struct {
	// Field is the part of the document.
	Field Field `json:"field"`
}

// Name implements [Criterion].
func (c *Rank) Name() string { return "bm25 " + string(c.Field) }

// Sentence implements [Criterion].
func (c *Rank) Sentence() string {
	return fmt.Sprintf("high: %s has the query's rare words as often as that of the best document; middle: not quite; low: it has few or none.", c.Field.phrase())
}

// Answers implements [Criterion].
func (c *Rank) Answers() []string { return []string{"high", "middle", "low"} }

// Validate returns an error if the field is unknown.
func (c *Rank) Validate() error { return c.Field.validate() }

// Judge implements [Criterion].
func (c *Rank) Judge(q *Query, d *Document) Finding {
	var most float64 // a bound that no document reaches
	for _, s := range q.Stems {
		most += q.Collection.bm25[slices.Index(fields[:], c.Field)].IDF(s)
	}
	score := q.Collection.score(q, c.Field, d)
	if c.Field == FieldTitle && q.best > 0 {
		most = q.best
	}
	return graded(min(score/max(most, 1e-9), 1), "the match is %s")
}

// graded makes a finding of a number from 0 to 1.
func graded(v float64, reason string) Finding {
	f := Finding{Answer: "middle", Score: v, Fact: fmt.Sprintf("%.1f", v)}
	switch {
	case v > .7:
		f.Answer = "high"
	case v < .35:
		f.Answer = "low"
	}
	f.Reason = fmt.Sprintf(reason, f.Answer)
	return f
}

// Alike asks whether the document looks like those of the collection that match
// the query well: the cosine with their mean, in a latent space of words and names
// of fields. It is 0.5 where no document matches.
type Alike struct {
	// Names takes only the names of the fields: which attributes the document has.
	Names bool `json:"names"`
	// Relative divides by the length of the mean: how like one another the
	// matching documents are.
	Relative bool `json:"relative"`
}

// Name implements [Criterion].
func (c *Alike) Name() string {
	return "alike" + suffix(c.Names, " names") + suffix(c.Relative, " relative")
}

// Sentence implements [Criterion].
func (c *Alike) Sentence() string {
	return "high: the product looks like those that match the query best; middle: somewhat; low: it is of another kind."
}

// Answers implements [Criterion].
func (c *Alike) Answers() []string { return []string{"high", "middle", "low"} }

// Judge implements [Criterion].
func (c *Alike) Judge(q *Query, d *Document) Finding {
	s := spaceText
	if c.Names {
		s = spaceNames
	}
	const reason = "its likeness to the best matches is %s"
	v := d.vectors[s]
	if v == nil || q.center[s] == nil {
		return graded(.5, reason)
	}
	cosine := floats.Dot(v, q.center[s])
	if c.Relative {
		cosine /= max(floats.Norm(q.center[s], 2), 1e-6)
	}
	return graded(min(max(cosine, 0), 1), reason)
}

// Common asks how many documents of the collection answer the query, as the
// logarithm of their share.
type Common struct {
	// Of is what is counted: "all words" (in the title), "strong" (likely what is
	// wanted), "head" (the main word in the title).
	Of string `json:"of"`
}

// Name implements [Criterion].
func (c *Common) Name() string { return "common " + c.Of }

// Sentence implements [Criterion].
func (c *Common) Sentence() string {
	return "many: the shop has many products that match the query; few: it has few; no: it has none."
}

// Answers implements [Criterion].
func (c *Common) Answers() []string { return []string{"many", "few", "no"} }

// Validate returns an error if Of is unknown.
func (c *Common) Validate() error {
	if !slices.Contains([]string{"all words", "strong", "head"}, c.Of) {
		return fmt.Errorf(`of is %q, want "all words", "strong" or "head"`, c.Of)
	}
	return nil
}

// Judge implements [Criterion].
func (c *Common) Judge(q *Query, d *Document) Finding {
	var n int
	switch c.Of {
	case "all words":
		n = len(q.candidates)
	case "strong":
		n = len(q.strong)
	default:
		n = len(q.Collection.byTitle[q.Head()])
	}
	f := Finding{Answer: "many", Score: math.Log1p(float64(n)) / math.Log1p(float64(len(q.Collection.documents)+1)), Fact: strconv.Itoa(n), Reason: fmt.Sprintf("%d documents match", n)}
	switch {
	case n == 0:
		f.Answer = "no"
	case n < 10:
		f.Answer = "few"
	}
	return f
}

// number reads a field as a number.
func (d *Document) number(name string) (float64, bool) {
	for _, f := range d.Fields {
		if plain(f.Name) == plain(name) {
			v, err := strconv.ParseFloat(f.Value, 64)
			return v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) // as "nan", which tables write
		}
	}
	return 0, false
}

// Fit multiplies the scores of the criteria that a document must all meet: that
// the title has the words, names the thing itself, early and before its
// specifications, and looks like other matches.
type Fit struct {
	// Of names the criteria, each with its default parameters; none means
	// coverage, accessory and alike.
	Of []string `json:"of"`
}

// Name implements [Criterion].
func (c *Fit) Name() string { return "fit " + strings.Join(c.of(), " ") }

// Sentence implements [Criterion].
func (c *Fit) Sentence() string {
	return "high: the product meets all of these well: " + strings.Join(c.of(), ", ") + "; middle: somewhat; low: it fails in at least one."
}

// Answers implements [Criterion].
func (c *Fit) Answers() []string { return []string{"high", "middle", "low"} }

// Validate returns an error if a name is unknown.
func (c *Fit) Validate() error {
	for _, name := range c.Of {
		if _, ok := builtin[name]; !ok || name == "fit" {
			return fmt.Errorf("of has %q, want names of other criteria", name)
		}
	}
	return nil
}

// Judge implements [Criterion].
func (c *Fit) Judge(q *Query, d *Document) Finding {
	product := 1.
	for _, name := range c.of() {
		product *= builtin[name]().Judge(q, d).Score
	}
	return graded(product, "the product meets the criteria to a %s degree")
}

func (c *Fit) of() []string {
	if len(c.Of) == 0 {
		return []string{"coverage", "accessory", "alike"}
	}
	return c.Of
}
