package criteria

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// None is the answer of a criterion that does not apply to a query: no brand is
// named, no number is asked for. It is the last of the criterion's answers.
const None = "none"

// Criterion is one relevance criterion in all its forms: the sentence that a
// prompt has, the code that judges a pair, and, in the finding, the fact and the
// reason that are written about it. A criterion is a value and may be used
// concurrently.
type Criterion interface {
	// Name says what is judged in a few words; parameters that change it are
	// part of it.
	Name() string
	// Sentence is the criterion as a model reads it, with what each answer means.
	Sentence() string
	// Answers are the possible answers, None last if there is one.
	Answers() []string
	// Judge judges a pair. Query and document come from the same collection.
	Judge(q *Query, d *Document) Finding
}

// Finding is what a criterion says of one pair.
type Finding struct {
	// Answer is one of the criterion's answers.
	Answer string
	// Score is 1 where the document fits best, 0 where it fits worst, and 1
	// where the criterion does not apply.
	Score float64
	// Fact is the finding as a prompt states it, without the criterion's name:
	// "2/3", "case after match".
	Fact string
	// Reason is the thought that leads to the answer: "the title lacks pad".
	Reason string
}

// validator is a criterion that can have invalid parameters.
type validator interface{ Validate() error }

// builtin makes each criterion with its default parameters. It is filled by init
// because fit is made of others.
var builtin map[string]func() Criterion

func init() {
	builtin = map[string]func() Criterion{
		"accessory":      func() Criterion { return &Accessory{} },
		"after":          func() Criterion { return &After{} },
		"alike":          func() Criterion { return &Alike{} },
		"bm25":           func() Criterion { return &Rank{Field: FieldTitle} },
		"brand":          func() Criterion { return &Brand{} },
		"category":       func() Criterion { return &Category{} },
		"common":         func() Criterion { return &Common{Of: "strong"} },
		"companion":      func() Criterion { return &Companion{} },
		"compatibility":  func() Criterion { return &Compatible{} },
		"coverage":       func() Criterion { return &Coverage{Field: FieldTitle} },
		"head":           func() Criterion { return &Head{Field: FieldTitle} },
		"n-grams":        func() Criterion { return &NGram{} },
		"phrase":         func() Criterion { return &Phrase{Field: FieldTitle} },
		"position":       func() Criterion { return &Position{} },
		"specifications": func() Criterion { return &Specs{} },
		"attribute":      func() Criterion { return &Attribute{} },
		"range":          func() Criterion { return &Range{Of: "price"} },
		"model":          func() Criterion { return &Model{} },
		"negation":       func() Criterion { return &Negation{} },
		"fit":            func() Criterion { return &Fit{} },
		"type":           func() Criterion { return &Type{} },
		"typo":           func() Criterion { return &Typo{} },
	}
}

// Names lists the built-in criteria.
func Names() []string { return slices.Sorted(maps.Keys(builtin)) }

// New makes a built-in criterion. params are the fields of its type by their JSON
// names; those left out keep their defaults. The error names an unknown criterion
// or parameter, or an invalid value.
func New(name string, params map[string]any) (Criterion, error) {
	fresh, ok := builtin[name]
	if !ok {
		return nil, fmt.Errorf("criteria: no criterion %q, want one of %s", name, strings.Join(Names(), ", "))
	}
	c := fresh()
	known := parameters(c)
	for _, p := range slices.Sorted(maps.Keys(params)) {
		if !slices.Contains(known, p) {
			return nil, fmt.Errorf("criteria: %s: no parameter %q, want one of: %s", name, p, strings.Join(known, ", "))
		}
		text, err := json.Marshal(map[string]any{p: params[p]})
		if err != nil {
			return nil, fmt.Errorf("criteria: %s: parameter %q: %w", name, p, err)
		}
		if err := json.NewDecoder(bytes.NewReader(text)).Decode(c); err != nil {
			return nil, fmt.Errorf("criteria: %s: parameter %q: %w", name, p, err)
		}
	}
	if v, ok := c.(validator); ok {
		if err := v.Validate(); err != nil {
			return nil, fmt.Errorf("criteria: %s: %w", name, err)
		}
	}
	return c, nil
}

// parameters lists the JSON names of a criterion's fields.
func parameters(c Criterion) []string {
	var names []string
	t := reflect.TypeOf(c).Elem()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// Columns names the numbers of [Row]: for each criterion its score, and for each
// answer but the last whether it was given.
func Columns(cs []Criterion) []string {
	var names []string
	for _, c := range cs {
		names = append(names, c.Name())
		if answers := c.Answers(); len(answers) > 2 {
			for _, a := range answers[:len(answers)-1] {
				names = append(names, c.Name()+" = "+a)
			}
		}
	}
	return names
}

// Row appends what the criteria say of a pair as numbers, in the order of
// [Columns], to dst.
func Row(dst []float64, cs []Criterion, q *Query, d *Document) []float64 {
	for _, c := range cs {
		f := c.Judge(q, d)
		dst = append(dst, f.Score)
		if answers := c.Answers(); len(answers) > 2 {
			for _, a := range answers[:len(answers)-1] {
				dst = append(dst, oneIf(a == f.Answer))
			}
		}
	}
	return dst
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
