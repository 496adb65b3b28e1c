package notes

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Every word means one thing: no two terms share a form, no typo is a word,
// and no fact of one kind of setting is one of another.
func TestWordsAreUnambiguous(t *testing.T) {
	owner := make(map[string]string)
	claim := func(word, by string) {
		if o, taken := owner[word]; taken && o != by {
			assert.Failf(t, "ambiguous word", "%q means %s and %s", word, o, by)
		}
		owner[word] = by
	}
	all := make(map[*term]bool)
	for _, f := range families {
		for _, tm := range append(append([]*term(nil), f.categories...), f.features...) {
			all[tm] = true
		}
	}
	for tm := range all {
		for _, f := range tm.forms {
			claim(f.word(), tm.name())
		}
		if len(tm.name()) >= 5 {
			claim(typo(tm.name()), tm.name())
		}
	}
	for k := range kinds {
		for _, f := range facts[k] {
			claim(f, kindNames[k]+" "+f)
		}
	}
	for _, w := range wishes {
		for _, f := range w.accepts {
			assert.Contains(t, facts[w.kind], f, "what %q accepts", w.asked)
		}
	}
}

func TestTypo(t *testing.T) {
	assert.Equal(t, "cabn", typo("cabin"))
	assert.Equal(t, "slippes", typo("slippers"))
}

// Held-out pairs leave each category most of its features and settings, and
// take some from each.
func TestHeldOutShare(t *testing.T) {
	count := make(map[string]int)
	for _, p := range HeldOut() {
		count[p[0]]++
	}
	possible := len(families[0].features) + len(wishes)
	for _, c := range categories {
		assert.GreaterOrEqual(t, count[c.name()], 1, c.name())
		assert.Less(t, count[c.name()], possible/2, c.name())
		free := 0
		for _, f := range c.family.features {
			if !heldOut(c.name(), f.name()) {
				free++
			}
		}
		assert.GreaterOrEqual(t, free, 3, c.name())
	}
}
