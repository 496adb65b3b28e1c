package notes

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lookUp returns the category and the features that the tests speak of.
func lookUp(t *testing.T, name string) category {
	t.Helper()
	for _, c := range categories {
		if c.name() == name {
			return c
		}
	}
	require.FailNow(t, "no category "+name)
	return category{}
}

func named(t *term) mention { return mention{term: t, form: t.forms[0]} }

func TestJudge(t *testing.T) {
	cabin, hotel, boots := lookUp(t, "cabin"), lookUp(t, "hotel"), lookUp(t, "boots")
	norway := &wishes[0]
	require.Equal(t, "norway", norway.asked)
	wantWifi, noTerrace := named(wifi), named(terrace)
	full := &intent{category: cabin, wanted: &wantWifi, banned: &noTerrace, setting: norway}
	says := func(c category, place string, fs ...statement) *note {
		f := &note{category: c, features: fs}
		f.settings[0] = place
		return f
	}
	has := func(tm *term) statement { return statement{named(tm), true} }
	no := func(tm *term) statement { return statement{named(tm), false} }

	for name, c := range map[string]struct {
		in   *intent
		f    *note
		want [5]string
	}{
		"all met":                   {full, says(cabin, "bergen", has(wifi), no(terrace)), [5]string{Same, Met, Met, Clear, "3"}},
		"silence clears a ban":      {full, says(cabin, "oslo", has(wifi)), [5]string{Same, Met, Met, Clear, "3"}},
		"silence fails a wish":      {full, says(cabin, "oslo"), [5]string{Same, Unmet, Met, Clear, "2"}},
		"denial fails a wish":       {full, says(cabin, "oslo", no(wifi)), [5]string{Same, Unmet, Met, Clear, "2"}},
		"elsewhere":                 {full, says(cabin, "lisbon", has(wifi)), [5]string{Same, Met, Unmet, Clear, "2"}},
		"nowhere":                   {full, says(cabin, "", has(wifi)), [5]string{Same, Met, Unmet, Clear, "2"}},
		"a ban outranks the wishes": {full, says(cabin, "", has(terrace)), [5]string{Same, Unmet, Unmet, Violated, "-1"}},
		"a ban outranks related":    {full, says(hotel, "oslo", has(wifi), has(terrace)), [5]string{Related, Met, Met, Violated, "-1"}},
		"related":                   {full, says(hotel, "", no(wifi)), [5]string{Related, Unmet, Unmet, Clear, "1"}},
		"other outranks a ban":      {full, says(boots, "oslo", has(terrace)), [5]string{Other, Unmet, Met, Violated, "0"}},
		"nothing asked":             {&intent{category: cabin}, says(cabin, "oslo"), [5]string{Same, None, None, None, "3"}},
	} {
		assert.Equal(t, c.want, judge(c.in, c.f), name)
	}
}

// Label, written a second time as the criteria put it, over all answers.
func TestLabelIsTotal(t *testing.T) {
	for _, c := range answers[stepCategory] {
		for _, a := range answers[stepAttribute] {
			for _, s := range answers[stepSetting] {
				for _, x := range answers[stepExclusion] {
					var want string
					if c == Other {
						want = "0"
					} else if x == Violated {
						want = "-1"
					} else if c == Related {
						want = "1"
					} else if a == Unmet || s == Unmet {
						want = "2"
					} else {
						want = "3"
					}
					assert.Equal(t, want, Label(c, a, s, x), "%s %s %s %s", c, a, s, x)
				}
			}
		}
	}
}
