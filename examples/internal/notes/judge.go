package notes

import (
	"cmp"
	"slices"
)

// A mention is a term in the words that a text uses for it.
type mention struct {
	term *term
	form form
	typo string // how the writer misspelt the form's word; "" if not at all
}

// written returns the word as it stands in the text.
func (m mention) written() string { return cmp.Or(m.typo, m.form.word()) }

// plain reports whether the text names the term itself, well spelt.
func (m mention) plain() bool { return m.written() == m.term.name() }

// An intent is what a query asks for.
type intent struct {
	category       category
	as             mention  // the category as the query writes it
	wanted, banned *mention // nil where the query asks for none
	setting        *wish    // nil where the query asks for none
}

// A statement is what a note says about one feature.
type statement struct {
	mention
	has bool // "has a pool" as against "no pool"
}

// A note is what the text and the fields of a note state.
type note struct {
	category category
	as       mention
	features []statement
	settings [kinds]string // "" where the note is silent
}

// about returns what the note says about a feature, and false if it says
// nothing.
func (f *note) about(t *term) (statement, bool) {
	for _, s := range f.features {
		if s.term == t {
			return s, true
		}
	}
	return statement{}, false
}

// The steps, in order. They index every list of verdicts and thoughts here.
const (
	stepCategory = iota
	stepAttribute
	stepSetting
	stepExclusion
	stepLabel
	numSteps
)

// The answers of the steps.
const (
	Same    = "same"
	Related = "related"
	Other   = "other"

	Met   = "met"
	Unmet = "unmet"
	None  = "none"

	Clear    = "clear"
	Violated = "violated"
)

var answers = [numSteps][]string{
	{Same, Related, Other},
	{Met, Unmet, None},
	{Met, Unmet, None},
	{Clear, Violated, None},
	{"-1", "0", "1", "2", "3"},
}

// judge returns the true answer of every step, the label last. It is total:
// every intent and every note have exactly one answer a step.
func judge(in *intent, f *note) [5]string {
	v := [numSteps]string{Other, None, None, None, ""}
	switch {
	case in.category.term == f.category.term:
		v[stepCategory] = Same
	case in.category.family == f.category.family:
		v[stepCategory] = Related
	}
	if in.wanted != nil {
		v[stepAttribute] = Unmet
		if s, ok := f.about(in.wanted.term); ok && s.has {
			v[stepAttribute] = Met
		}
	}
	if in.setting != nil {
		v[stepSetting] = Unmet
		if in.setting.satisfiedBy(f.settings[in.setting.kind]) {
			v[stepSetting] = Met
		}
	}
	if in.banned != nil {
		v[stepExclusion] = Clear
		if s, ok := f.about(in.banned.term); ok && s.has {
			v[stepExclusion] = Violated
		}
	}
	v[stepLabel] = Label(v[stepCategory], v[stepAttribute], v[stepSetting], v[stepExclusion])
	return v
}

func (w *wish) satisfiedBy(fact string) bool {
	return slices.Contains(w.accepts, fact)
}

// Label returns the relevance label that follows from the answers of the four
// inner steps.
func Label(category, attribute, setting, exclusion string) string {
	switch {
	case category == Other:
		return "0"
	case exclusion == Violated:
		return "-1"
	case category == Related:
		return "1"
	case attribute == Unmet || setting == Unmet:
		return "2"
	default:
		return "3"
	}
}
