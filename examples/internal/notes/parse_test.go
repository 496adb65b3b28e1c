package notes

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// parse reads an example as a person would, from its text alone.
func parse(t *testing.T, e rows.Example) (*intent, *note) {
	t.Helper()
	var in intent
	query := strings.Fields(e.Query)
	for i, w := range query {
		if c, ok := readCategory(w); ok {
			in.category = c
		} else if m, ok := readFeature(w); ok {
			if i > 0 && query[i-1] == "a" {
				i--
			}
			switch query[i-1] {
			case "with":
				in.wanted = &m
			case "without", "no":
				in.banned = &m
			default:
				require.Failf(t, "unclear", "%q in query %q", w, e.Query)
			}
		}
		if k := slices.IndexFunc(wishes, func(x wish) bool { return x.asked == w }); k >= 0 {
			in.setting = &wishes[k]
		}
	}
	require.NotNil(t, in.category.term, e.Query)

	var f note
	title := strings.Fields(e.Document.Title)
	for _, w := range title {
		if c, ok := readCategory(w); ok {
			f.category = c
		}
		for k := range kinds {
			if slices.Contains(facts[k], w) {
				f.settings[k] = w
			}
		}
	}
	require.NotNil(t, f.category.term, e.Document.Title)
	for _, field := range e.Document.Fields {
		k := slices.Index(kindNames[:], field.Name)
		require.GreaterOrEqual(t, k, 0)
		f.settings[k] = field.Value
	}
	has := true
	for _, w := range strings.FieldsFunc(e.Document.Body, func(r rune) bool { return strings.ContainsRune(" ,.", r) }) {
		switch w {
		case "no", "without":
			has = false
		case "has", "with":
			has = true
		}
		if m, ok := readFeature(w); ok {
			f.features = append(f.features, statement{m, has})
		}
	}
	return &in, &f
}

func readCategory(word string) (category, bool) {
	for _, c := range categories {
		if c.reads(word) {
			return c, true
		}
	}
	return category{}, false
}

func readFeature(word string) (mention, bool) {
	for _, f := range families {
		for _, t := range f.features {
			if t.reads(word) {
				return mention{term: t, form: t.forms[0]}, true
			}
		}
	}
	return mention{}, false
}

func (t *term) reads(word string) bool {
	return slices.ContainsFunc(t.forms, func(f form) bool { return f.word() == word }) ||
		len(t.name()) >= 5 && typo(t.name()) == word
}
