package baseline

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// An Extractor names the features of an example.
type Extractor func(rows.Example) []string

// BagOfWords names each distinct word of the query and each of the document
// (title, body and fields), the two kept apart.
func BagOfWords(e rows.Example) []string {
	var names []string
	for w := range wordSet(e.Query) {
		names = append(names, "query "+w)
	}
	for w := range wordSet(documentText(e.Document)) {
		names = append(names, "document "+w)
	}
	return names
}

// Overlap names the number of words of the query, of the document, and of
// those that they share, each count a feature of its own.
func Overlap(e rows.Example) []string {
	query, document := wordSet(e.Query), wordSet(documentText(e.Document))
	shared := 0
	for w := range query {
		if document[w] {
			shared++
		}
	}
	return []string{
		"query " + strconv.Itoa(len(query)),
		"document " + strconv.Itoa(len(document)),
		"shared " + strconv.Itoa(shared),
		"missing " + strconv.Itoa(len(query)-shared),
	}
}

func documentText(d rows.Document) string {
	var b strings.Builder
	b.WriteString(d.Title + " " + d.Body)
	for _, f := range d.Fields {
		b.WriteString(" " + f.Name + " " + f.Value)
	}
	return b.String()
}

// wordSet returns the distinct words of a text in lower case; a word is a run
// of letters and digits.
func wordSet(text string) map[string]bool {
	set := make(map[string]bool)
	for w := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) {
		set[w] = true
	}
	return set
}

// Classifier is a fitted model with the features and labels that it knows.
type Classifier struct {
	extract  Extractor
	features map[string]int
	labels   []string
	model    *Model
}

// Train fits a classifier of the examples' labels, which must all be among
// labels, with the given weight of the L2 penalty (see [Fit]).
func Train(examples []rows.Example, labels []string, extract Extractor, l2 float64) (*Classifier, error) {
	c := &Classifier{extract: extract, features: make(map[string]int), labels: labels}
	class := make(map[string]int, len(labels))
	for i, l := range labels {
		class[l] = i
	}
	xs, ys := make([][]int, len(examples)), make([]int, len(examples))
	for i, e := range examples {
		y, ok := class[e.Label()]
		if !ok {
			panic("baseline: example " + e.ID + " has label " + strconv.Quote(e.Label()) + ", not one of the list")
		}
		ys[i] = y
		names := extract(e)
		slices.Sort(names)
		for _, name := range names {
			f, ok := c.features[name]
			if !ok {
				f = len(c.features)
				c.features[name] = f
			}
			xs[i] = append(xs[i], f)
		}
	}
	var err error
	c.model, err = Fit(xs, ys, len(c.features), len(labels), l2)
	return c, err
}

// Predict returns the most probable label. Features never seen in training
// are ignored.
func (c *Classifier) Predict(e rows.Example) string {
	var x []int
	names := c.extract(e)
	slices.Sort(names)
	for _, name := range names {
		if f, ok := c.features[name]; ok {
			x = append(x, f)
		}
	}
	return c.labels[c.model.Predict(x)]
}

// Accuracy returns the share of examples whose label is predicted, NaN of
// none.
func (c *Classifier) Accuracy(examples []rows.Example) float64 {
	right := 0
	for _, e := range examples {
		if c.Predict(e) == e.Label() {
			right++
		}
	}
	return float64(right) / float64(len(examples))
}
