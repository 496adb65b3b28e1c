package lexical

import (
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// The inner steps, in order; the grade follows.
const (
	stepHead = iota
	stepCoverage
	stepAccessory
	stepSupplier
	numInner
)

// The answers of the inner steps.
const (
	Yes = "yes"
	No  = "no"

	InTitle  = "title" // all words of the query stand in the title
	InText   = "text"  // all stand in the title or the text
	InPieces = "part"  // at least one is missing

	Match    = "match"
	Mismatch = "mismatch"
	None     = "none"
)

var answers = [numInner][]string{
	{Yes, No},
	{InTitle, InText, InPieces},
	{Yes, No},
	{Match, Mismatch, None},
}

// accessories lists, stemmed, what is sold to go with other products.
var accessories = newStemSet(`adapter bag battery belt bracket cable cap
	cartridge case charger cleaner clip cover cradle dock docking film filter
	glass guard holder holster ink kit lens mount pad paper pen pouch
	protection protector ribbon screen shell skin sleeve stand strap stylus
	toner tray tripod warranty`)

// A judge knows the suppliers that a query can name.
type judge struct {
	// suppliers holds the stemmed names, word by word, longest first.
	suppliers [][]string
	// quote is a word as thoughts cite it.
	quote func(word string) string
}

// newJudge collects the suppliers of the examples' documents.
func newJudge(examples ...[]rows.Example) *judge {
	seen := make(map[string]bool)
	j := &judge{quote: func(word string) string { return word }}
	for _, es := range examples {
		for i := range es {
			name := stems(supplierOf(&es[i].Document))
			if key := strings.Join(name, " "); key != "" && !seen[key] {
				seen[key] = true
				j.suppliers = append(j.suppliers, name)
			}
		}
	}
	slices.SortFunc(j.suppliers, func(a, b []string) int {
		if d := len(b) - len(a); d != 0 {
			return d
		}
		return slices.Compare(a, b)
	})
	return j
}

// supplierFields are the names under which a document may say whose it is.
var supplierFields = []string{"supplier", "brand"}

// supplierOf returns who makes or sells a product, "" if the document does
// not say.
func supplierOf(d *rows.Document) string {
	for _, name := range supplierFields {
		if v, ok := d.Field(name); ok {
			return v
		}
	}
	return ""
}

// otherFields returns the values of the fields that do not name the supplier.
func otherFields(d *rows.Document) []string {
	var values []string
	for _, f := range d.Fields {
		if !slices.Contains(supplierFields, f.Name) {
			values = append(values, f.Value)
		}
	}
	return values
}

// named returns the supplier that a query names, nil if none.
func (j *judge) named(query []string) []string {
	for _, name := range j.suppliers {
		for i := range len(query) - len(name) + 1 {
			if slices.Equal(query[i:i+len(name)], name) {
				return name
			}
		}
	}
	return nil
}

// inner returns the thought of a careful reader for every inner step: the
// true answer, and the words on which it rests.
func (j *judge) inner(e *rows.Example) [numInner]rows.Thought {
	var out [numInner]rows.Thought
	query := stems(e.Query)
	title := newStemSet(e.Document.Title)
	text := newStemSet(append([]string{e.Document.Title, e.Document.Body}, otherFields(&e.Document)...)...)

	head := ""
	if len(query) > 0 {
		head = query[len(query)-1]
	}
	out[stepHead] = rows.Thought{Reasoning: j.quote(head) + ", title silent", Answer: No}
	if title[head] {
		out[stepHead] = rows.Thought{Reasoning: j.quote(head) + ", title " + j.quote(head), Answer: Yes}
	}

	out[stepCoverage] = rows.Thought{Reasoning: "all in title", Answer: InTitle}
	if missing := firstMissing(query, title); missing != "" {
		out[stepCoverage] = rows.Thought{Reasoning: "all with text", Answer: InText}
		if missing = firstMissing(query, text); missing != "" {
			out[stepCoverage] = rows.Thought{Reasoning: "missing " + j.quote(missing), Answer: InPieces}
		}
	}

	out[stepAccessory] = rows.Thought{Reasoning: "nothing extra", Answer: No}
	if extra := accessoryIn(e.Document.Title, query); extra != "" {
		out[stepAccessory] = rows.Thought{Reasoning: "extra " + j.quote(extra), Answer: Yes}
	}

	out[stepSupplier] = rows.Thought{Reasoning: "nothing named", Answer: None}
	if name := j.named(query); name != nil {
		supplier := stems(supplierOf(&e.Document))
		answer := Mismatch
		if slices.Equal(name, supplier) {
			answer = Match
		}
		by := j.quote(strings.Join(supplier, " "))
		if by == "" {
			by = "silent"
		}
		out[stepSupplier] = rows.Thought{Reasoning: j.quote(strings.Join(name, " ")) + ", by " + by, Answer: answer}
	}
	return out
}

// firstMissing returns the first query word that a set lacks, "" if none.
func firstMissing(query []string, set stemSet) string {
	for _, w := range query {
		if !set[w] {
			return w
		}
	}
	return ""
}

// accessoryIn returns the first accessory of a title that the query does not
// ask for, "" if none.
func accessoryIn(title string, query []string) string {
	for _, w := range stems(title) {
		if accessories[w] && !slices.Contains(query, w) {
			return w
		}
	}
	return ""
}
