package rows

import (
	"math/rand/v2"
	"strings"

	"github.com/stepwise-rl/stepwise/prompt"
)

// Field is one structured attribute of a document.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Document is what a query is judged against.
type Document struct {
	Title  string  `json:"title"`
	Body   string  `json:"body,omitempty"`
	Fields []Field `json:"fields,omitempty"`
}

// Field returns the value of the first field with the given name, and whether
// there is one.
func (d *Document) Field(name string) (string, bool) {
	for _, f := range d.Fields {
		if f.Name == name {
			return f.Value, true
		}
	}
	return "", false
}

// Example is one judged pair.
type Example struct {
	// ID is unique in its source.
	ID       string   `json:"id"`
	Query    string   `json:"query"`
	Document Document `json:"document"`
	// Truth holds the true answer of every step of the source, in the order
	// of [Source].Steps; the last is the label. "" where no rule can tell.
	Truth []string `json:"truth"`
	// Teach writes one trace as the source's fallible warm-up teacher would,
	// one thought per step. It is nil where the source has no teacher.
	Teach func(*rand.Rand) []Thought `json:"-"`
	// File and Line say where the pair was read, for errors; a generated one has
	// neither.
	File string `json:"-"`
	Line int    `json:"-"`
}

// Label returns the true final answer.
func (e *Example) Label() string {
	if len(e.Truth) == 0 {
		return ""
	}
	return e.Truth[len(e.Truth)-1]
}

// Thought is one step of a trace before it is written in the task's syntax.
type Thought struct{ Reasoning, Answer string }

// TestSet is a fixed, named list of examples that are never trained on.
type TestSet struct {
	Name     string
	Examples []Example
}

// Source is everything that a run needs to know about its data.
type Source struct {
	// Name says in a few words what the data is, for reports.
	Name string
	// Steps are the reasoning steps with their criteria; the last one's
	// answers are Labels.
	Steps []prompt.Step[Example]
	// Labels lists the labels in ascending order of relevance.
	Labels []string
	// Relevant is the smallest label that counts as relevant where a metric
	// needs a cut (binary accuracy).
	Relevant string
	// Input writes an example as the model reads it.
	Input func(Example) string
	// Train returns training example i ≥ 0, the same one every time. The
	// stream does not end: a finite source starts over in a new order.
	Train func(i int) Example
	// Size is the number of training examples before the stream starts over; 0 if
	// it never does.
	Size int
	// Tests are the held-out sets.
	Tests []TestSet
	// Clip cuts the texts of every example to what the model can read: it replaces
	// each by the clipper's, and tells the true answers anew. The first error of
	// the clipper is returned. It is nil where every example is short.
	Clip func(Clipper) error
}

// Clipper knows how much a model can read.
type Clipper interface {
	// Clip returns an example that fits.
	Clip(Example) (Example, error)
	// Quote returns as much of a word as a thought should cite.
	Quote(word string) string
}

// LabelIndex returns the position of a label in s.Labels, or -1.
func (s *Source) LabelIndex(label string) int {
	for i, l := range s.Labels {
		if l == label {
			return i
		}
	}
	return -1
}

// Render writes query, title, body and fields of an example, one a line,
// fields as "name value" separated by commas. Empty parts are left out.
func Render(e Example) string {
	var b strings.Builder
	b.WriteString("query: ")
	b.WriteString(e.Query)
	b.WriteString("\ntitle: ")
	b.WriteString(e.Document.Title)
	if e.Document.Body != "" {
		b.WriteString("\nbody: ")
		b.WriteString(e.Document.Body)
	}
	for i, f := range e.Document.Fields {
		if i == 0 {
			b.WriteString("\nfacts: ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(f.Name)
		b.WriteByte(' ')
		b.WriteString(f.Value)
	}
	return b.String()
}

// Shuffled returns an endless indexed stream over n items: every run of n
// indices is a permutation, a new one each time, fixed by the seed. It keeps
// the permutation in use, so a caller with indices far apart pays O(n) each.
// It panics if n < 1. The returned function is not safe for concurrent use.
func Shuffled(n int, seed uint64) func(i int) int {
	if n < 1 {
		panic("rows: Shuffled of no items")
	}
	epoch, order := -1, []int(nil)
	return func(i int) int {
		if i/n != epoch {
			epoch = i / n
			order = rand.New(rand.NewPCG(seed, uint64(epoch))).Perm(n)
		}
		return order[i%n]
	}
}
