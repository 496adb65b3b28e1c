package posir_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/eval/posir"
)

// vectors is an embedder that knows the vector of each text.
type vectors map[string][]float32

func (v vectors) EmbedQueries(ctx context.Context, texts []string) ([][]float32, error) {
	return v.EmbedDocuments(ctx, texts)
}

func (v vectors) EmbedDocuments(_ context.Context, texts []string) ([][]float32, error) {
	var out [][]float32
	for _, t := range texts {
		out = append(out, slices.Clone(v[t]))
	}
	return out, nil
}

func corpus(documents ...posir.Document) posir.Corpus {
	return func(yield func(posir.Document, error) bool) {
		for _, d := range documents {
			if !yield(d, nil) {
				return
			}
		}
	}
}

// drawTexts gives every text a vector of small integers, so that ties are many and
// sums exact.
func drawTexts(t *rapid.T, v vectors, name string, n, dim int) []string {
	var texts []string
	for i := range n {
		text := fmt.Sprint(name, i)
		x := rapid.SliceOfN(rapid.IntRange(-1, 1), dim, dim).Draw(t, text)
		x[0] = 1
		for _, e := range x {
			v[text] = append(v[text], float32(e))
		}
		texts = append(texts, text)
	}
	return texts
}

func TestSearchFindsWhatAllCosinesGive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, dim := vectors{}, rapid.IntRange(1, 9).Draw(t, "dim")
		var queries []posir.Query
		for _, text := range drawTexts(t, v, "q", rapid.IntRange(1, 9).Draw(t, "queries"), dim) {
			queries = append(queries, posir.Query{ID: text, Text: text})
		}
		var documents []posir.Document
		chunks := map[string][]string{}
		for i := range rapid.IntRange(0, 30).Draw(t, "documents") {
			d := posir.Document{ID: fmt.Sprint("d", i), Text: fmt.Sprint("text", i)}
			documents = append(documents, d)
			chunks[d.Text] = drawTexts(t, v, d.ID+"/", rapid.IntRange(1, 3).Draw(t, "chunks"), dim)
		}
		depth := rapid.IntRange(1, 12).Draw(t, "depth")
		run, err := posir.Search(t.Context(), v, queries, corpus(documents...), posir.SearchOptions{
			Depth: depth, Block: rapid.IntRange(1, 9).Draw(t, "block"), Chunk: func(text string) []string { return chunks[text] },
		})
		require.NoError(t, err)
		for _, q := range queries {
			var want []posir.Hit
			for _, d := range documents {
				best := math.Inf(-1)
				for _, c := range chunks[d.Text] {
					best = max(best, cosine(v[q.Text], v[c]))
				}
				want = append(want, posir.Hit{Document: d.ID, Score: best})
			}
			slices.SortFunc(want, func(a, b posir.Hit) int {
				return cmp.Or(cmp.Compare(float32(b.Score), float32(a.Score)), cmp.Compare(b.Document, a.Document))
			})
			want = want[:min(depth, len(want))]
			require.Len(t, run[q.ID], len(want))
			for i, h := range run[q.ID] {
				require.Equal(t, want[i], h)
			}
		}
	})
}

// cosine adds in float32 and in the order that Search documents.
func cosine(a, b []float32) float64 {
	unit := func(x []float32) []float32 {
		sum, u := 0., make([]float32, len(x))
		for _, v := range x {
			sum += float64(v) * float64(v)
		}
		for i, v := range x {
			u[i] = float32(float64(v) * (1 / math.Sqrt(sum)))
		}
		return u
	}
	a, b = unit(a), unit(b)
	var sum float32
	for i := range a {
		sum += float32(a[i] * b[i])
	}
	return float64(sum)
}

func TestSearchNamesWhatIsWrong(t *testing.T) {
	queries := []posir.Query{{ID: "q1", Text: "one"}}
	document := posir.Document{ID: "d1", Text: "two"}
	good := vectors{"one": {1, 0}, "two": {0, 1}}
	broken := posir.Corpus(func(yield func(posir.Document, error) bool) { yield(posir.Document{}, errors.New("line 7: torn")) })
	for _, c := range []struct {
		want    string
		v       vectors
		queries []posir.Query
		corpus  posir.Corpus
		o       posir.SearchOptions
	}{
		{"no queries", good, nil, corpus(document), posir.SearchOptions{}},
		{`document "d1" is there twice`, good, queries, corpus(document, document), posir.SearchOptions{}},
		{"line 7: torn", good, queries, broken, posir.SearchOptions{}},
		{`query "q1": the vector is 0`, vectors{"one": {0, 0}}, queries, corpus(document), posir.SearchOptions{}},
		{`document "d1": a vector of 3 numbers, want 2`, vectors{"one": {1, 0}, "two": {1, 2, 3}}, queries, corpus(document), posir.SearchOptions{}},
		{`document "d1": the vector is 0 or not finite`, vectors{"one": {1, 0}, "two": {1, float32(math.NaN())}}, queries, corpus(document), posir.SearchOptions{}},
		{"gave no chunk", good, queries, corpus(document), posir.SearchOptions{Chunk: func(string) []string { return nil }}},
		{"Depth is -1", good, queries, corpus(document), posir.SearchOptions{Depth: -1}},
		{"Block is -1", good, queries, corpus(document), posir.SearchOptions{Block: -1}},
	} {
		_, err := posir.Search(t.Context(), c.v, c.queries, c.corpus, c.o)
		assert.ErrorContains(t, err, c.want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := posir.Search(ctx, good, queries, corpus(document), posir.SearchOptions{})
	assert.ErrorIs(t, err, context.Canceled)
}

func TestSearchBM25GivesTheScoresOfBM25(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := func(n int) string {
		var words []string
		for range n {
			words = append(words, string(rune('a'+random.IntN(9))))
		}
		return strings.Join(words, " ")
	}
	var documents []posir.Document
	var terms [][]string
	for i := range 60 {
		d := posir.Document{ID: fmt.Sprint("d", i), Text: text(1 + random.IntN(12))}
		documents, terms = append(documents, d), append(terms, strings.Fields(d.Text))
	}
	var queries []posir.Query
	for i := range 20 {
		queries = append(queries, posir.Query{ID: fmt.Sprint("q", i), Text: text(3) + " never"})
	}
	m, err := eval.NewBM25(terms, eval.DefaultBM25Options())
	require.NoError(t, err)
	run, err := posir.SearchBM25(t.Context(), queries, corpus(documents...), strings.Fields, 60, eval.DefaultBM25Options())
	require.NoError(t, err)
	for _, q := range queries {
		found := map[string]float64{}
		for _, h := range run[q.ID] {
			found[h.Document] = h.Score
		}
		for i, d := range documents {
			assert.InDelta(t, m.Score(strings.Fields(q.Text), terms[i]), found[d.ID], 1e-6)
		}
	}
}

// lengths prefers long documents.
type lengths struct{}

func (lengths) Score(_ context.Context, _ string, documents []string) (scores []float64, err error) {
	for _, d := range documents {
		scores = append(scores, float64(len(d)))
	}
	return scores, nil
}

func TestRerank(t *testing.T) {
	queries := []posir.Query{{ID: "q", Text: "?"}}
	c := corpus(posir.Document{ID: "a", Text: "1"}, posir.Document{ID: "b", Text: "333"}, posir.Document{ID: "c", Text: "22"})
	run := posir.Run{"q": {{"c", 1}, {"a", 3}, {"b", 2}}}
	got, err := posir.Rerank(t.Context(), lengths{}, run, queries, c, 2)
	require.NoError(t, err)
	assert.Equal(t, posir.Run{"q": {{"b", 3}, {"a", 1}}}, got)
	_, err = posir.Rerank(t.Context(), lengths{}, posir.Run{"q": {{"x", 1}}}, queries, c, 2)
	assert.ErrorContains(t, err, `query "q": document "x" is not in the corpus`)
	_, err = posir.Rerank(t.Context(), lengths{}, posir.Run{"other": {{"a", 1}}}, queries, c, 2)
	assert.ErrorContains(t, err, `query "other"`)
	_, err = posir.Rerank(t.Context(), lengths{}, run, queries, c, 0)
	assert.ErrorContains(t, err, "depth of 0")
}

// A corpus may be large: whoever reads it stops when the context ends.
func TestCancelledWhileTheCorpusIsRead(t *testing.T) {
	queries := []posir.Query{{ID: "q", Text: "1"}}
	for name, read := range map[string]func(context.Context, posir.Corpus) (posir.Run, error){
		"BM25": func(ctx context.Context, c posir.Corpus) (posir.Run, error) {
			return posir.SearchBM25(ctx, queries, c, nil, 1, eval.DefaultBM25Options())
		},
		"rerank": func(ctx context.Context, c posir.Corpus) (posir.Run, error) {
			return posir.Rerank(ctx, lengths{}, posir.Run{"q": {{"0", 1}}}, queries, c, 1)
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		documents := 0
		_, err := read(ctx, func(yield func(posir.Document, error) bool) {
			for ; documents < 10; documents++ {
				if documents == 3 {
					cancel()
				}
				if !yield(posir.Document{ID: fmt.Sprint(documents), Text: "1"}, nil) {
					return
				}
			}
		})
		assert.ErrorIs(t, err, context.Canceled, name)
		assert.Equal(t, 3, documents, name)
	}
}

func TestEvaluate(t *testing.T) {
	e := posir.Evidence{Start: 1, End: 3, Chars: 9, Tokens: 2}
	b := &posir.Benchmark{
		Queries:    []posir.Query{{ID: "q1", Evidence: e}, {ID: "q2", Evidence: e}, {ID: "lonely", Evidence: e}},
		Judgements: []posir.Judgement{{"q1", "d1", 1}, {"q2", "d2", 1}, {"not ours", "d9", 1}},
	}
	results, err := b.Evaluate(posir.Run{"q1": {{"d0", 1}, {"d1", 1}, {"d2", 1}}})
	require.NoError(t, err)
	assert.Equal(t, []posir.Result{
		{Query: "q1", Document: "d1", Evidence: e, NDCG: 1 / math.Log2(3)}, // ties by descending ID: second
		{Query: "q2", Document: "d2", Evidence: e, NDCG: 0},
	}, results)
	_, err = b.Evaluate(posir.Run{"q3": nil})
	assert.ErrorContains(t, err, `query "q3", which the benchmark has not`)
	b.Judgements[0].Gain = -1
	_, err = b.Evaluate(posir.Run{})
	assert.ErrorContains(t, err, `query "q1": the gain of document "d1" is -1`)
}

func TestCheckNamesEveryFault(t *testing.T) {
	good := posir.Evidence{Start: 1, End: 3, Chars: 9, Tokens: 2}
	b := &posir.Benchmark{
		Queries: []posir.Query{
			{ID: "fine", Evidence: good}, {ID: "fine", Evidence: good}, {ID: "lonely", Evidence: good}, {ID: "lost", Evidence: good},
			{ID: "outside", Evidence: posir.Evidence{Start: 7, End: 10, Chars: 9, Tokens: 2}},
			{ID: "empty", Evidence: posir.Evidence{}},
		},
		Judgements: []posir.Judgement{{"fine", "d", 1}, {"fine", "d", 1}, {"lost", "nowhere", 1}, {"outside", "d", 1}, {"empty", "d", 1}},
	}
	var text []string
	for _, err := range b.Check(map[string]bool{"d": true}) {
		text = append(text, err.Error())
	}
	assert.Equal(t, []string{
		`posir: query "fine": document "d" is judged twice`,
		`posir: query "fine" is there twice`,
		`posir: query "lonely" has no relevant document`,
		`posir: query "lost": document "nowhere" is not in the corpus`,
		`posir: query "outside": the span [7, 10] is not in its document of 9 characters`,
		`posir: query "empty": the document has 0 characters, want at least 1`,
	}, text)
}

func TestRunFiles(t *testing.T) {
	run := posir.Run{"q2": {{"b", .1}, {"a", 1e-9}}, "q1": {{"Ω", -3}}}
	var text bytes.Buffer
	require.NoError(t, posir.WriteTREC(&text, run, "ours"))
	assert.Equal(t, "q1 Q0 Ω 1 -3 ours\nq2 Q0 b 1 0.1 ours\nq2 Q0 a 2 1e-09 ours\n", text.String())
	got, err := posir.ReadTREC(&text)
	require.NoError(t, err)
	assert.Equal(t, run, got)
	got, err = posir.ReadRunJSON(strings.NewReader(`{"q2":{"a":1e-9,"b":0.1},"q1":{"Ω":-3}}`))
	require.NoError(t, err)
	assert.Equal(t, run, got)

	for text, want := range map[string]string{
		"a Q0 b 1 2":                 "line 1: 5 fields",
		"\na Q0 b 1 x t":             `line 2: the score is "x"`,
		"a Q0 b 1 NaN t":             `the score is "NaN"`,
		"a Q0 b 1 2 t\na Q0 b 2 1 t": `line 2: document "b" is there twice for query "a"`,
	} {
		_, err := posir.ReadTREC(strings.NewReader(text))
		assert.ErrorContains(t, err, want)
	}
	for text, want := range map[string]string{
		`{"a":{"b":null}}`:    `"a": "b": the score is null`,
		`{"a":{"b":1,"b":2}}`: `"a": "b": is there twice`,
		`{"a":1}`:             `"a": 1, want an object`,
		`{`:                   "unexpected EOF",
	} {
		_, err := posir.ReadRunJSON(strings.NewReader(text))
		assert.ErrorContains(t, err, want)
	}
	assert.ErrorContains(t, posir.WriteTREC(&text, posir.Run{"a b": nil}, "t"), `"a b" cannot stand`)
	assert.ErrorContains(t, posir.WriteTREC(&text, run, ""), `"" cannot stand`)
	err = posir.WriteTREC(&text, posir.Run{"a": {{"b", math.Inf(1)}}}, "t")
	assert.ErrorContains(t, err, `query "a": the score of document "b" is +Inf`)
}

func FuzzRunFiles(f *testing.F) {
	f.Add("q1 Q0 d 1 0.5 tag\nq1 Q0 e 2 0.25 tag\n")
	f.Add(`{"q":{"d":1,"e":-0.5}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if run, err := posir.ReadTREC(strings.NewReader(text)); err == nil {
			var again bytes.Buffer
			require.NoError(t, posir.WriteTREC(&again, run, "tag"))
			_, err := posir.ReadTREC(&again)
			require.NoError(t, err)
		}
		_, _ = posir.ReadRunJSON(strings.NewReader(text))
	})
}

func TestNil(t *testing.T) {
	b := &posir.Built{Documents: []posir.Document{{ID: "a", Text: "red shoes"}, {ID: "b", Text: "blue"}}}
	queries := []posir.Query{{ID: "q", Text: "Shoes!"}}
	run, err := posir.SearchBM25(t.Context(), queries, b.Corpus(), nil, 10, eval.DefaultBM25Options())
	require.NoError(t, err)
	require.Len(t, run["q"], 1)
	assert.Equal(t, "a", run["q"][0].Document)
	assert.PanicsWithValue(t, "posir: Search: the embedder is nil", func() {
		_, _ = posir.Search(t.Context(), nil, queries, b.Corpus(), posir.SearchOptions{})
	})
	assert.PanicsWithValue(t, "posir: Prefixed.Embed is nil", func() {
		_, _ = posir.Search(t.Context(), posir.Prefixed{}, queries, b.Corpus(), posir.SearchOptions{})
	})
}
