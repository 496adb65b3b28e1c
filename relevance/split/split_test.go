package split

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/task"
)

func TestKey(t *testing.T) {
	for _, twins := range [][]string{
		{"USB cables", "usb-cable", "ＵＳＢ　Cable", "USB  cable!"},
		{"café table", "cafe\u0301 tables"},
		{"上海 民宿", "上海　民宿"},
	} {
		for _, q := range twins {
			assert.Equal(t, Key(twins[0]), Key(q), q)
		}
	}
	assert.NotEqual(t, Key("上海民宿"), Key("杭州民宿"))
	assert.Equal(t, "🎧", Key("🎧"))
}

func pairs(queries ...string) []rows.Example {
	es := make([]rows.Example, len(queries))
	for i, q := range queries {
		es[i] = rows.Example{ID: fmt.Sprint(i), Query: q, Document: rows.Document{Title: fmt.Sprint("t", i)}, Truth: []string{"1"}}
	}
	return es
}

// Whatever the queries: folds are a partition by query, of equal sizes up to one, do
// not depend on the order of the rows, and twins are together.
func TestFoldsArePartitions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		queries := rapid.SliceOfN(rapid.StringMatching(`[a-cA-C ]{1,4}|[上海民宿]{1,3}`), 1, 60).Draw(t, "queries")
		n := rapid.IntRange(2, 6).Draw(t, "n")
		es := pairs(queries...)
		folds, err := Folds(es, n)
		different := map[string]bool{}
		for _, q := range queries {
			different[Key(q)] = true
		}
		if len(different) < n {
			if err == nil {
				t.Fatal("no error")
			}
			return
		}
		size := make([]int, n)
		for k, f := range folds {
			if !different[k] {
				t.Fatalf("fold of %q", k)
			}
			size[f]++
		}
		if len(folds) != len(different) || slices.Max(size)-slices.Min(size) > 1 || slices.Min(size) == 0 {
			t.Fatalf("%d of %d queries in folds of %v", len(folds), len(different), size)
		}
		shuffled := slices.Clone(es)
		rand.Shuffle(len(es), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		again, _ := Folds(shuffled, n)
		assert.Equal(t, folds, again)

		test := rapid.IntRange(0, n-1).Draw(t, "test")
		p, err := ByFold(es, func(e rows.Example) int { return folds[Key(e.Query)] }, test)
		require.NoError(t, err)
		keys := func(es []rows.Example) map[string]bool {
			m := map[string]bool{}
			for _, e := range es {
				m[Key(e.Query)] = true
			}
			return m
		}
		if len(keys(p.Train)) > 1 {
			require.NoError(t, p.Hold(rapid.Float64Range(.01, .99).Draw(t, "share")))
		}
		if len(p.Train)+len(p.Validation)+len(p.Test) != len(es) || len(p.Train) == 0 {
			t.Fatal("rows are lost")
		}
		all := map[string]int{}
		for _, part := range [][]rows.Example{p.Train, p.Validation, p.Test} {
			for k := range keys(part) {
				all[k]++
			}
		}
		for k, n := range all {
			if n > 1 {
				t.Fatalf("query %q in %d parts", k, n)
			}
		}
		if l := Find(p.Train, p.Test); len(l.Pairs)+len(l.Queries) > 0 {
			t.Fatal(l)
		}
	})
}

// New queries leave nearly all others where they are.
func TestFoldsStayWhenDataGrow(t *testing.T) {
	var queries []string
	for i := range 550 {
		queries = append(queries, fmt.Sprint("query ", i))
	}
	before, err := Folds(pairs(queries[:500]...), 5)
	require.NoError(t, err)
	after, err := Folds(pairs(queries...), 5)
	require.NoError(t, err)
	moved := 0
	for k, f := range before {
		if after[k] != f {
			moved++
		}
	}
	assert.Less(t, moved, 25, "of 500, when 50 are new")
}

func TestErrors(t *testing.T) {
	_, err := Folds(pairs("a", "A", "b"), 3)
	assert.EqualError(t, err, "split: 3 folds of 2 different queries, want at least 2 folds and a query for each")
	zero := func(rows.Example) int { return 0 }
	_, err = ByFold(pairs("a"), zero, 1)
	assert.EqualError(t, err, "split: no query is in fold 1, so nothing is left to test on")
	_, err = ByFold(pairs("a"), zero, 0)
	assert.EqualError(t, err, "split: all queries are in fold 0, so nothing is left to train on")
	p := Parts{Train: pairs("a", "A")}
	assert.EqualError(t, p.Hold(.1), "split: the training data have only one query, want two: one to train on, one to validate on")
	assert.EqualError(t, p.Hold(1), "split: a validation share of 1, want one between 0 and 1")
}

func TestUnseen(t *testing.T) {
	got := Unseen(pairs("mouse pads", "上海民宿"), pairs("pad", "keyboard", "mouse", "杭州民宿", "青岛"))
	assert.Equal(t, []string{"keyboard", "青岛"}, []string{got[0].Query, got[1].Query})
	assert.Len(t, got, 2)
}

func document(query, title, body string) rows.Example {
	return rows.Example{Query: query, Document: rows.Document{Title: title, Body: body}}
}

func TestLeaks(t *testing.T) {
	words := make([]string, 60)
	for i := range words {
		words[i] = fmt.Sprint("word", i)
	}
	body := strings.Join(words, " ")
	one := strings.Replace(body, "word30", "other", 1)                                    // 55 of 61 shingles
	far := strings.NewReplacer("word10", "x", "word30", "y", "word50", "z").Replace(body) // 49 of 67
	train := []rows.Example{document("tent", "Tent", body), document("mug", "Mug", "")}
	test := []rows.Example{
		document("Tents", "TENT", body+"!"), document("cup", "mug", ""),
		document("boots", "Tent", one), document("shoes", "Tent", far), document("boots", "Tent", one),
	}
	l := Find(train, test)
	assert.Equal(t, []Leak{{"tent | Tent", "Tents | TENT"}}, l.Pairs)
	assert.Equal(t, []Leak{{"tent", "Tents"}}, l.Queries)
	assert.Equal(t, []Leak{{"Tent", "TENT"}, {"Mug", "mug"}}, l.Documents)
	assert.Equal(t, []Leak{{"Tent", "Tent"}}, l.Near)
	assert.Equal(t, `1 of 5 pairs are in training, too:
  "Tents | TENT", in training "tent | Tent"
1 of 4 queries are in training, too, as they are or spelt otherwise:
  "Tents", in training "tent"
2 of 4 documents are in training, too, with other queries or the same:
  "TENT", in training "Tent"
  "mug", in training "Mug"
1 of 4 documents have a near-duplicate in training:
  "Tent"
`, l.String())
	assert.Empty(t, Find(train[:1], test[1:2]).String())
}

// The estimate of the similarity is unbiased, and pairs above the threshold are
// found.
func TestSketch(t *testing.T) {
	const n, trials = 100, 300
	sum, found := 0., 0
	for k := range trials {
		a, b := make([]string, n), make([]string, n)
		for i := range a {
			a[i] = fmt.Sprint(k, "w", i)
			b[i] = a[i]
		}
		b[50] = "x"
		x, _ := sketchOf(strings.Join(a, " "))
		y, _ := sketchOf(strings.Join(b, " "))
		sum += x.alike(&y)
		var index nearIndex
		index.add(strings.Join(a, " "), "a")
		if _, ok := index.near(strings.Join(b, " ")); ok {
			found++
		}
	}
	assert.InDelta(t, 95./101, sum/trials, .01) // 98 shingles each, 95 of them shared
	assert.Equal(t, trials, found)
	_, ok := sketchOf("")
	assert.False(t, ok)
}

func TestCheck(t *testing.T) {
	train := []rows.Example{
		{ID: "1", Query: "a", Document: rows.Document{Title: "A"}, Truth: []string{"yes", "", "yes", "1"}},
		{ID: "2", Query: "b", Document: rows.Document{Title: "B"}, Truth: []string{"yes", "", "no", "0"}},
		{ID: "3", Query: "c", Document: rows.Document{Title: "C"}, Truth: []string{"yes", "", "", "0"}},
	}
	test := []rows.Example{{ID: "4", Query: "d", Document: rows.Document{Title: "D"}, Truth: []string{"no", "", "", "1"}}}
	s := &rows.Source{
		Steps: []task.Step[rows.Example]{
			{Name: "one"}, {Name: "two"},
			{Name: "three", Answers: []string{"yes", "no", "none"}},
			{Name: "label"},
		},
		Labels: []string{"0", "1", "2"},
		Train:  func(i int) rows.Example { return train[i] }, Size: 3,
		Tests: []rows.TestSet{{Name: "ALL", Examples: test}, {Name: "TAIL", Examples: slices.Clone(test)}, {Name: "OLD", Examples: train[:1]}, {Name: "NONE"}},
	}
	assert.Equal(t, []string{
		`step "one": the truth is "yes" in all training pairs that have one, so the step teaches nothing`,
		`step "two": nobody knows the truth of any training pair and no rule judges it: it cannot be learned, only written`,
		`step "three": the truth is not known of 1 of 3 training pairs`,
		`step "three": the answer "none" is never the truth in training`,
		`the training data: no pair has the label 2`,
		`test set ALL: all 1 pairs have the same label, so nothing can be told from it`,
		`test set TAIL: all 1 pairs have the same label, so nothing can be told from it`,
		`test set TAIL is the same as ALL`,
		`test set OLD: all 1 pairs have the same label, so nothing can be told from it`,
		`test set NONE: no pairs`,
		"test set OLD: 1 of 1 pairs are in training, too:\n  \"a | A\"\n1 of 1 queries are in training, too, as they are or spelt otherwise:\n  \"a\"\n1 of 1 documents are in training, too, with other queries or the same:\n  \"A\"",
	}, Check(s, ""))

	s.Validation = []rows.Example{{ID: "5", Query: "D!", Document: rows.Document{Title: "D"}, Truth: []string{"no", "", "", "1"}}}
	assert.Contains(t, Check(s, ""), "test set ALL: 1 of 1 pairs are in validation, too:\n  \"d | D\", in validation \"D! | D\"\n1 of 1 queries are in validation, too, as they are or spelt otherwise:\n  \"d\", in validation \"D!\"")
	s.Steps[1].Rule = rows.TruthRule(1)
	assert.Contains(t, Check(s, ""), `step "two": the truth is not known of any of 3 training pairs: the warm-up teaches its answers at random, and only a rule that needs no truth can judge it`)
	said := Check(s, "a note")
	assert.True(t, strings.HasPrefix(said[len(said)-1], "test set OLD (a note): 1 of 1 pairs are in training, too:"), said[len(said)-1])
}
