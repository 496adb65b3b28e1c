package weak

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// shop has lamps, bags for lamps, and tents of two makers.
func shop() *criteria.Collection {
	var all []rows.Document
	add := func(title, brand, colour string) {
		all = append(all, rows.Document{Title: title, Fields: []rows.Field{{Name: "brand", Value: brand}, {Name: "colour", Value: colour}}})
	}
	for i := range 20 {
		for _, brand := range []string{"Acme", "Borel"} {
			colour := []string{"Red", "Blue"}[i%2]
			add(fmt.Sprintf("%s Lumen L%d desk lamp", brand, i), brand, colour)
			add(fmt.Sprintf("%s Carry C%d lamp bag", brand, i), brand, colour)
			add(fmt.Sprintf("%s Dome D%d tent", brand, i), brand, colour)
		}
	}
	return criteria.NewCollection(all, criteria.DefaultRoles())
}

// What a pair's grade says is true of its document by the way the shop is made.
func TestGradesAreTrue(t *testing.T) {
	c := shop()
	pairs, report, err := Make(c, Settings{Pairs: 3000, Seed: 1})
	require.NoError(t, err)
	require.Len(t, pairs, 3000)
	assert.Equal(t, 120, report.Documents)
	assert.Equal(t, 3, report.Kinds, "lamps, bags and tents")
	assert.Equal(t, 3000, report.Fits+report.Partly+report.Misses)
	assert.Zero(t, report.Dropped)
	heads := map[string]string{"lamp": "lamp", "bag": "bag", "tent": "tent", "lumen": "lamp", "carry": "bag", "dome": "tent"}
	seen := make(map[string]bool)
	bags := 0 // for the query lamp
	for _, p := range pairs {
		seen[p.Query] = true
		title := c.Documents()[p.Document].Text(criteria.FieldAny).Words
		words := strings.Fields(p.Query)
		has := func(word string) bool {
			for _, w := range title {
				if w == word || w+"s" == word && w != "" {
					return true
				}
			}
			return false
		}
		kind := heads[strings.TrimSuffix(words[len(words)-1], "s")]
		thing, ok := c.Thing(c.Documents()[p.Document])
		require.True(t, ok)
		all := true
		for _, w := range words {
			all = all && has(w)
		}
		switch {
		case p.Grade == Fits:
			require.True(t, all, "%v of %v", p.Query, title)
			assert.True(t, kind == "" || thing.Head == kind, "%v of %v", p.Query, title)
		case p.Grade == Partly:
			require.Equal(t, kind, thing.Head, "%v of %v", p.Query, title)
			assert.False(t, all, "%v of %v", p.Query, title)
		case kind == "": // a maker
			assert.False(t, all, "%v of %v", p.Query, title)
		default:
			require.NotEqual(t, kind, thing.Head, "%v of %v", p.Query, title)
			if p.Query == "lamp" && thing.Head == "bag" {
				bags++
			}
		}
	}
	for _, q := range []string{"lamp", "desk lamp", "acme lamp", "red lamp", "lumen lamp", "lumen", "acme", "tents"} {
		assert.True(t, seen[q], q)
	}
	assert.Greater(t, bags, 10, "bags for lamps mention what is asked for")
}

func TestSameSeedSamePairs(t *testing.T) {
	one, _, err := Make(shop(), Settings{Pairs: 200, Seed: 7})
	require.NoError(t, err)
	two, _, err := Make(shop(), Settings{Pairs: 200, Seed: 7})
	require.NoError(t, err)
	assert.Equal(t, one, two)
	other, _, err := Make(shop(), Settings{Pairs: 200, Seed: 8})
	require.NoError(t, err)
	assert.NotEqual(t, one, other)
}

// A held query is dropped in whatever form, and counted.
func TestHeldQueries(t *testing.T) {
	pairs, report, err := Make(shop(), Settings{Pairs: 2000, Seed: 1, Held: []string{"LAMPS!", "red tent"}})
	require.NoError(t, err)
	require.Len(t, pairs, 2000)
	for _, p := range pairs {
		assert.NotContains(t, []string{"lamp", "lamps", "red tent", "red tents"}, p.Query)
	}
	assert.Equal(t, []string{"lamp", "red tent"}, report.Held)
	assert.Greater(t, report.Dropped, 50)
	assert.Contains(t, report.String(), fmt.Sprintf("%d queries dropped that are equal to a held one, 2 different", report.Dropped))
}

func TestBelief(t *testing.T) {
	assert.InDeltaSlice(t, []float64{.925, .025, .025, .025}, Belief(Misses, 4), 1e-12)
	assert.InDeltaSlice(t, []float64{.025, .925, .025, .025}, Belief(Partly, 4), 1e-12)
	assert.InDeltaSlice(t, []float64{.025, .025, .025, .925}, Belief(Fits, 4), 1e-12)
	assert.InDeltaSlice(t, []float64{.65, .35}, Belief(Partly, 2), 1e-12)
	assert.InDeltaSlice(t, []float64{1./30 + .3, 1./30 + .6, 1. / 30}, Belief(Partly, 3), 1e-12)
}

// Where titles have no spaces between words, the type field names the thing.
func TestChinese(t *testing.T) {
	var all []rows.Document
	for i := range 10 {
		all = append(all,
			rows.Document{Title: fmt.Sprintf("红色%d号", i), Fields: []rows.Field{{Name: "类别", Value: "手机壳"}}},
			rows.Document{Title: fmt.Sprintf("蓝色%d号", i), Fields: []rows.Field{{Name: "类别", Value: "手机"}}})
	}
	pairs, report, err := Make(criteria.NewCollection(all, criteria.DefaultRoles()), Settings{Pairs: 50, Seed: 1})
	require.NoError(t, err)
	assert.Equal(t, 2, report.Kinds)
	for _, p := range pairs {
		assert.Contains(t, []string{"手机", "手机壳"}, p.Query)
		assert.Equal(t, p.Grade == Fits, (p.Query == "手机壳") == (p.Document%2 == 0))
	}
}

func TestErrors(t *testing.T) {
	_, _, err := Make(shop(), Settings{})
	assert.EqualError(t, err, "weak: Settings.Pairs is 0, want at least 1")
	_, _, err = Make(criteria.NewCollection([]rows.Document{{Title: "x"}, {Title: "y"}}, criteria.DefaultRoles()), Settings{Pairs: 1})
	require.ErrorIs(t, err, ErrNoKinds)
	var held []string
	for _, thing := range []string{"lamp", "desk lamp", "bag", "lamp bag", "tent"} {
		for _, before := range []string{"", "acme ", "borel ", "red ", "blue ", "lumen ", "carry ", "dome ", "desk "} {
			held = append(held, before+thing)
		}
	}
	held = append(held, "acme", "borel", "lumen", "carry", "dome", "x desk lamp", "acme desk lamp")
	_, _, err = Make(shop(), Settings{Pairs: 10, Seed: 1, Held: held})
	assert.ErrorContains(t, err, "that are not held out")
}
