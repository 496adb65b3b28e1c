package rows

import (
	"math/rand/v2"
	"strings"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/task"
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
	// DocumentID is the document's id in a file of documents, "" if there is none.
	DocumentID string `json:"document_id,omitempty"`
	// Truth holds the true answer of every step of the source, in the order
	// of [Source].Steps; the last is the label. "" where no rule can tell.
	Truth []string `json:"truth"`
	// Raters holds the labels that single raters gave, "" where one gave none; nil
	// where nobody knows them.
	Raters []string `json:"raters,omitempty"`
	// Found is what the task's criteria found on this pair, in the task's order, and
	// Facts what of it the prompt states: the criterion's name and its finding.
	Found []Found `json:"-"`
	Facts []Field `json:"facts,omitempty"`
	// Columns holds the columns of the data that the task keeps beside the pair's
	// own: for expressions, rules and reports.
	Columns map[string]string `json:"columns,omitempty"`
	// Weak says that the pair is made up, and its label nobody's judgement (package
	// relevance/weak).
	Weak bool `json:"-"`
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

// Found is what one criterion says of a pair: its answer, how well the document fits,
// from 0 to 1, and the thought that leads to the answer.
type Found struct {
	Name, Answer string
	Score        float64
	Reason       string
}

// Thought is one step of a trace before it is written in the task's syntax.
type Thought = prompt.Written

// TestSet is a fixed, named list of examples that are never trained on.
type TestSet struct {
	Name     string
	Examples []Example
}

// Source is everything that a run needs to know about its data.
type Source struct {
	// Name says in a few words what the data is, for reports.
	Name string
	// System opens the prompt.
	System string
	// Steps are the reasoning steps with their criteria and the rules that judge
	// them, such as [TruthRule]; the last one's answers are Labels.
	Steps []task.Step[Example]
	// Compact leaves the instructions and criteria of the steps out of the prompt,
	// for a small model that learns them by heart.
	Compact bool
	// Labels lists the labels in ascending order of relevance, and Meanings, if not
	// nil, says what each stands for.
	Labels, Meanings []string
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
	// Validation is held out from Train, too, to choose settings and checkpoints by;
	// nil where there is none.
	Validation []Example
	// Tests are the held-out sets.
	Tests []TestSet
	// Documents are all that the task's criteria know, as they are in the data; nil means
	// those of the pairs.
	Documents []Document
	// Prepare makes of a pair from elsewhere, of which only query and document are known,
	// one like those of the source: a task file's has one line for each text, and what the
	// criteria find. A pair whose document was cut is given to it once more, with what was
	// found in the whole: facts stay. It is nil where there is nothing to do.
	Prepare func(Example) Example
	// Clip cuts the texts of every example to what the model can read: it replaces
	// each by the clipper's, and tells the true answers anew. The first error of
	// the clipper is returned. It is nil where every example is short.
	Clip func(Clipper) error
}

// Definition is the task of the source: its steps with their rules, and the outcome
// reward "label", which is 1 for the right label. It lacks what needs a tokenizer and
// settings: Encode, GroupSize and Params.
func (s *Source) Definition() task.Definition[Example] {
	return task.Definition[Example]{
		System:   s.System,
		Steps:    s.Steps,
		Input:    s.Input,
		Compact:  s.Compact,
		Outcomes: []task.Outcome[Example]{{Name: "label", Rule: reward.ExactLabel(func(e Example) string { return e.Label() })}},
		ID:       func(e Example) string { return e.ID },
	}
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

// TruthRule is right where the answer of step k is the example's true one. It cannot
// judge a step whose truth is not known.
func TruthRule(k int) reward.Rule[Example] {
	return reward.ExactLabel(func(e Example) string { return e.Truth[k] })
}

// CriteriaText is what a compact prompt says of the criteria: those of the last step,
// which say how the label follows from the steps or what it means. Those of the steps
// themselves a small model learns by heart, because a prompt that spells them all out
// is most of its cost.
func CriteriaText(steps []task.Step[Example]) string {
	var texts []string
	for _, c := range steps[len(steps)-1].Criteria {
		text := c.Text
		if !strings.HasPrefix(text, c.Name+":") {
			text = c.Name + ": " + text
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}

// Different returns the documents without those whose texts are equal to an earlier one's.
func Different(documents []Document) (all []Document) {
	seen := make(map[string]bool)
	for _, d := range documents {
		if key := Render(Example{Document: d}); !seen[key] {
			seen[key] = true
			all = append(all, d)
		}
	}
	return all
}

// Render writes query, title, body, fields and facts of an example, one a line,
// fields and facts as "name value" separated by commas. Empty parts are left out.
func Render(e Example) string {
	var b strings.Builder
	b.WriteString("query: ")
	b.WriteString(e.Query)
	if e.Document.Title != "" {
		b.WriteString("\ntitle: ")
		b.WriteString(e.Document.Title)
	}
	if e.Document.Body != "" {
		b.WriteString("\nbody: ")
		b.WriteString(e.Document.Body)
	}
	writeFields(&b, "\nfacts: ", e.Document.Fields)
	writeFields(&b, "\ncriteria: ", e.Facts)
	return b.String()
}

func writeFields(b *strings.Builder, before string, fields []Field) {
	for _, f := range fields {
		b.WriteString(before + f.Name + " " + f.Value)
		before = ", "
	}
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
