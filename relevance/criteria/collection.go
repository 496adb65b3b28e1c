package criteria

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// Roles says which of a document's fields hold what. Names compare without regard
// to case, spaces and underscores.
type Roles struct {
	// Brand: who makes or sells it.
	Brand []string
	// Type: what kind of thing it is.
	Type []string
	// Compatible: what it goes with.
	Compatible []string
}

// DefaultRoles returns the names that shops and catalogues commonly use.
func DefaultRoles() Roles {
	return Roles{
		Brand:      []string{"brand", "supplier", "manufacturer", "maker", "vendor", "品牌"},
		Type:       []string{"type", "product type", "category", "product category", "类别", "类目"},
		Compatible: []string{"compatibility", "device compatibility", "compatible with", "compatible products", "brand compatibility", "component for", "suitable for", "designed for", "fits", "适用"},
	}
}

// Collection is what the criteria know of all documents: how rare each word is,
// which brands there are, what the documents look like that match a query. It is
// made of documents alone; nothing in it depends on a label. It may be used
// concurrently.
type Collection struct {
	roles     Roles
	documents []*Document
	byTitle   map[string][]int32 // stem -> documents with it in the title, ascending
	frequency map[string]int     // stem -> number of documents that have it anywhere
	brands    map[string]bool    // stemmed names, words joined by a space
	longest   int                // words in the longest brand

	words  vocabulary
	spaces [numSpaces]*space
	bm25   [numFields]*eval.BM25

	mu      sync.Mutex
	queries map[string]*Query
}

// Roles returns what the collection was made with.
func (c *Collection) Roles() Roles { return c.roles }

// Document is a document prepared for the criteria.
type Document struct {
	rows.Document
	// Texts are the document's parts in words.
	texts [numFields]Text
	index int // in the collection, -1 if it is not of it
	// vectors are its places in the spaces, nil where it has none.
	vectors [numSpaces][]float64
}

// Field is a part of a document.
type Field string

// The parts of a document.
const (
	FieldTitle      Field = "title"
	FieldBody       Field = "body"
	FieldFields     Field = "fields" // names and values of the structured fields
	FieldBrand      Field = "brand"
	FieldType       Field = "type"
	FieldCompatible Field = "compatible"
	FieldAny        Field = "any" // title, body and fields
)

const numFields = 7

var fields = [numFields]Field{FieldTitle, FieldBody, FieldFields, FieldBrand, FieldType, FieldCompatible, FieldAny}

// Text returns a part of the document in words.
func (d *Document) Text(f Field) *Text { return &d.texts[slices.Index(fields[:], f)] }

var separators = regexp.MustCompile(`[\s_]+`)

// plain is a field's name without case and underscores.
func plain(name string) string {
	return strings.TrimSpace(separators.ReplaceAllString(strings.ToLower(name), " "))
}

// NewCollection prepares documents, the training data's or the whole catalogue's.
func NewCollection(documents []rows.Document, roles Roles) *Collection {
	c := &Collection{
		roles:     roles,
		byTitle:   make(map[string][]int32),
		frequency: make(map[string]int),
		brands:    make(map[string]bool),
		queries:   make(map[string]*Query),
	}
	for i, d := range documents {
		doc := c.Document(d)
		doc.index = i
		c.documents = append(c.documents, doc)
		for stem := range distinct(doc.Text(FieldTitle).Stems) {
			c.byTitle[stem] = append(c.byTitle[stem], int32(i))
		}
		for stem := range distinct(doc.Text(FieldAny).Stems) {
			c.frequency[stem]++
		}
		if brand := doc.Text(FieldBrand).Stems; len(brand) > 0 {
			c.brands[strings.Join(brand, " ")] = true
			c.longest = max(c.longest, len(brand))
		}
	}
	c.words = learnWords(c.documents)
	for f := range c.bm25 {
		texts := make([][]string, len(c.documents))
		for i, d := range c.documents {
			texts[i] = d.texts[f].Stems
		}
		c.bm25[f], _ = eval.NewBM25(texts, eval.DefaultBM25Options()) // the default is valid
	}
	c.learnSpaces()
	return c
}

// Documents returns the documents that the collection is made of, which stay its own.
func (c *Collection) Documents() []*Document { return c.documents }

// Document prepares a document of the collection or any other.
func (c *Collection) Document(d rows.Document) *Document {
	doc := &Document{Document: d, index: -1}
	var all, brand, kind, compatible []string
	has := func(names []string, name string) bool { return slices.Contains(names, name) }
	for _, f := range d.Fields {
		name := plain(f.Name)
		value := f.Value
		if value == "true" {
			value = ""
		}
		if value != "false" {
			all = append(all, name+" "+value)
		}
		switch {
		case has(c.roles.Brand, name):
			brand = append(brand, value)
		case has(c.roles.Type, name):
			kind = append(kind, value)
		case has(c.roles.Compatible, name):
			compatible = append(compatible, value)
		}
	}
	join := func(parts []string) string { return strings.Join(parts, " | ") }
	for i, text := range [numFields]string{d.Title, d.Body, join(all), join(brand), join(kind), join(compatible)} {
		doc.texts[i] = NewText(text)
	}
	any := doc.Text(FieldAny)
	for _, f := range []Field{FieldTitle, FieldBody, FieldFields} {
		t := doc.Text(f)
		// An empty word keeps phrases from running on.
		any.Words = append(append(any.Words, t.Words...), "")
		any.Stems = append(append(any.Stems, t.Stems...), "")
		any.small = append(append(any.small, t.small...), false)
	}
	for s, sp := range c.spaces {
		if sp != nil {
			doc.vectors[s] = sp.place(doc, s)
		}
	}
	return doc
}

// IDF returns the inverse document frequency of a stem over all parts of the
// documents, ln(1 + (N - n + ½)/(n + ½)) as in BM25.
func (c *Collection) IDF(stem string) float64 {
	n := float64(c.frequency[stem])
	return math.Log(1 + (float64(len(c.documents))-n+.5)/(n+.5))
}

// Query is a query prepared for the criteria.
type Query struct {
	Text
	// Raw is the query as it was asked.
	Raw        string
	Collection *Collection
	// brand is the brand that the query names, in stems, and brandAt where it
	// stands; empty if it names none.
	brand   []string
	brandAt int
	headEnd int // the place after the head
	// candidates are the documents of the collection with all words in the title,
	// strong those among them that are likely what is wanted.
	candidates, strong []int32
	// center is the mean of the strong documents in each space, nil if none.
	center [numSpaces][]float64
	// best is the highest BM25 score of the collection's documents in the title.
	best  float64
	grams map[string]float64
}

// maxQueries is how many queries a collection keeps, so that a server does not grow.
const maxQueries = 10000

// Query prepares a query. Queries are kept, so a second call costs little.
func (c *Collection) Query(raw string) *Query {
	c.mu.Lock()
	defer c.mu.Unlock()
	if q := c.queries[raw]; q != nil {
		return q
	}
	q := &Query{Text: NewText(raw), Raw: raw, Collection: c}
	q.headEnd = q.findHead()
	q.findBrand()
	q.findMatches()
	q.grams = c.grams(&q.Text)
	if len(c.queries) >= maxQueries {
		clear(c.queries)
	}
	c.queries[raw] = q
	return q
}

// findBrand finds the longest brand of the collection that the query names.
func (q *Query) findBrand() {
	for n := min(q.Collection.longest, len(q.Stems)); n > 0; n-- {
		for i := range len(q.Stems) - n + 1 {
			if q.Collection.brands[strings.Join(q.Stems[i:i+n], " ")] {
				q.brand, q.brandAt = q.Stems[i:i+n], i
				return
			}
		}
	}
}

// Head is the stem of the word that says what is wanted: the last of the query, or
// the last before "for" or "with", quantities at the end apart; "" if the query has
// no words.
func (q *Query) Head() string {
	if q.headEnd > 0 {
		return q.Stems[q.headEnd-1]
	}
	return ""
}

// findHead finds the place after the head.
func (q *Query) findHead() int {
	end := len(q.Stems)
	for i, s := range q.Stems {
		if i > 0 && (s == "for" || s == "with" || s == "without") {
			end = i
			break
		}
	}
	numbers := q.quantities()
	for k := len(numbers) - 1; k >= 0; k-- {
		if n := numbers[k]; n.dimension != "" && n.end == end && n.at > 0 {
			end = n.at // "laptop 40 cm"
		}
	}
	return end
}

// distinct returns the words of a list once each.
func distinct(words []string) map[string]bool {
	set := make(map[string]bool, len(words))
	for _, w := range words {
		if w != "" {
			set[w] = true
		}
	}
	return set
}
