package baseline

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

func TestExtractors(t *testing.T) {
	e := rows.Example{
		Query:    "red Cabin, no pool",
		Document: rows.Document{Title: "cabin", Body: "No gym.", Fields: []rows.Field{{Name: "place", Value: "oslo"}}},
	}
	assert.ElementsMatch(t, []string{
		"query red", "query cabin", "query no", "query pool",
		"document cabin", "document no", "document gym", "document place", "document oslo",
	}, BagOfWords(e))
	assert.Equal(t, []string{"query 4", "document 5", "shared 2", "missing 2"}, Overlap(e))
}

// A label that a word of the document gives away is learnt; one that depends
// on whether query and document agree is not: no weight of a word helps.
func TestBagOfWordsSeesWordsButNoAgreement(t *testing.T) {
	words := []string{"ant", "bee", "cat", "dog"}
	rng := rand.New(rand.NewPCG(1, 1))
	draw := func(n int, label func(q, d string) bool) []rows.Example {
		var es []rows.Example
		for range n {
			q := words[rng.IntN(4)]
			d := q
			if rng.IntN(2) == 0 {
				d = words[(slices.Index(words, q)+1+rng.IntN(3))%4]
			}
			truth := "0"
			if label(q, d) {
				truth = "1"
			}
			es = append(es, rows.Example{Query: q, Document: rows.Document{Title: d}, Truth: []string{truth}})
		}
		return es
	}
	accuracy := func(extract Extractor, label func(q, d string) bool) float64 {
		c, err := Train(draw(2000, label), []string{"0", "1"}, extract, 1e-3)
		require.NoError(t, err)
		return c.Accuracy(draw(2000, label))
	}
	isCat := func(q, d string) bool { return d == "cat" }
	agree := func(q, d string) bool { return q == d }
	assert.Equal(t, 1., accuracy(BagOfWords, isCat))
	assert.Less(t, accuracy(BagOfWords, agree), .6)
	assert.Equal(t, 1., accuracy(Overlap, agree))
}

func TestUnknownFeaturesAreIgnored(t *testing.T) {
	es := []rows.Example{{Query: "a", Truth: []string{"x"}}, {Query: "b", Truth: []string{"y"}}}
	c, err := Train(es, []string{"x", "y"}, BagOfWords, .01)
	require.NoError(t, err)
	assert.Equal(t, "x", c.Predict(rows.Example{Query: "a zebra"}))
	odd := []rows.Example{{ID: "7", Truth: []string{"z"}}}
	for _, b := range All() {
		_, err = b.Fit(odd, []string{"x", "y"})
		assert.EqualError(t, err, `baseline: example 7 has the label "z", which is not one of the list`)
	}
	_, err = Train(nil, []string{"x", "y"}, BagOfWords, 1)
	assert.EqualError(t, err, "baseline: 0 examples of 2 labels, want at least one example and two labels")
}

// On texts without spaces, words say little and pairs of characters all.
func TestCharacters(t *testing.T) {
	assert.ElementsMatch(t, []string{"query ab", "document bc", "document ab", "title has 0", "document has 10"},
		Characters(rows.Example{Query: "A,ab", Document: rows.Document{Title: "bc", Body: "ab!"}}))
	cities, things := []string{"上海", "杭州", "西安", "青岛", "厦门", "重庆"}, []string{"民宿", "咖啡馆", "博物馆", "乐园"}
	rng := rand.New(rand.NewPCG(1, 1))
	draw := func(n int) (es []rows.Example) {
		for range n {
			c, d := cities[rng.IntN(6)], cities[rng.IntN(6)]
			q, o := things[rng.IntN(4)], things[rng.IntN(4)]
			label := 0
			if q == o {
				label = 1
				if c == d {
					label = 2
				}
			}
			es = append(es, rows.Example{Query: c + q + "推荐", Document: rows.Document{Title: d + o + "攻略"}, Truth: []string{strconv.Itoa(label)}})
		}
		return es
	}
	train, test := draw(1000), draw(500)
	labels := []string{"0", "1", "2"}
	accuracy := map[string]float64{}
	for _, b := range All() {
		predict, err := b.Fit(train, labels)
		require.NoError(t, err)
		for _, e := range test {
			p := predict(e)
			if labels[slices.Index(p, slices.Max(p))] == e.Label() {
				accuracy[b.Name] += 1. / float64(len(test))
			}
		}
	}
	assert.Greater(t, accuracy["characters"], .9)
	assert.Less(t, accuracy["majority"], .85)
	assert.Greater(t, accuracy["overlap"], accuracy["majority"])
}
