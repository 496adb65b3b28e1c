package posir_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/eval/posir"
)

func TestWords(t *testing.T) {
	assert.Equal(t, []string{"größe", "40cm", "青", "い", "靴", "o", "k"}, posir.Words("Größe: 40cm, 青い靴 (O'K)"))
}

// evidence returns the text at the evidence of a query.
func evidence(t require.TestingT, b *posir.Built, i int) string {
	at := slices.IndexFunc(b.Documents, func(d posir.Document) bool { return d.ID == b.Judgements[i].Document })
	require.GreaterOrEqual(t, at, 0)
	q := b.Queries[i]
	return string([]rune(b.Documents[at].Text)[q.Start:q.End])
}

func TestBuild(t *testing.T) {
	for _, plant := range []bool{false, true} {
		t.Run(fmt.Sprint("plant ", plant), func(t *testing.T) {
			documents := posir.Generate(200, 1)
			b, err := posir.Build(documents, posir.BuildOptions{
				PerCell: 2, Plant: plant, Seed: 5,
				Query: func(phrase string) string { return phrase },
			})
			require.NoError(t, err)
			assert.Zero(t, b.Missing)
			require.Len(t, b.Queries, 2*posir.Buckets*posir.Bins)
			ids := map[string]bool{}
			for _, d := range b.Documents {
				ids[d.ID] = true
			}
			assert.Empty(t, b.Check(ids))
			var all strings.Builder
			for _, d := range b.Documents {
				all.WriteString(d.Text + "\n")
			}
			lower := strings.ToLower(all.String())
			var results []posir.Result
			for i, q := range b.Queries {
				assert.Equal(t, 1, strings.Count(lower, strings.ToLower(q.Text)), q.Text)
				assert.Contains(t, evidence(t, b, i), q.Text)
				results = append(results, posir.Result{Query: q.ID, Evidence: q.Evidence, NDCG: 1})
			}
			a := posir.Analyze(results)
			for _, c := range a.ByLength {
				for _, n := range c.Count {
					assert.Equal(t, 2, n)
				}
			}
			again, err := posir.Build(documents, posir.BuildOptions{PerCell: 2, Plant: plant, Seed: 5, Query: func(phrase string) string { return phrase }})
			require.NoError(t, err)
			assert.Equal(t, b, again, "the seed determines it")
			other, err := posir.Build(posir.Generate(200, 2), posir.BuildOptions{PerCell: 2, Plant: plant, Seed: 5})
			require.NoError(t, err)
			for _, q := range other.Queries {
				assert.False(t, slices.ContainsFunc(b.Queries, func(p posir.Query) bool { return p.ID == q.ID }), q.ID)
			}

			if !plant {
				return // phrases of frequent words are hard to find
			}
			run, err := posir.SearchBM25(t.Context(), b.Queries, b.Corpus(), posir.Words, 100, eval.DefaultBM25Options())
			require.NoError(t, err)
			results, err = b.Evaluate(run)
			require.NoError(t, err)
			assert.Greater(t, posir.Analyze(results).NDCG, .95)
		})
	}
}

func TestBuildSaysWhatItCannotMake(t *testing.T) {
	same := []posir.Document{{ID: "a", Text: "one two three four five"}, {ID: "b", Text: "one two three four five"}}
	_, err := posir.Build(same, posir.BuildOptions{})
	assert.ErrorContains(t, err, "no query")
	_, err = posir.Build([]posir.Document{same[0], same[0]}, posir.BuildOptions{})
	assert.ErrorContains(t, err, `document "a" is there twice`)
	_, err = posir.Build(same, posir.BuildOptions{PerCell: -1})
	assert.ErrorContains(t, err, "PerCell is -1")
	b, err := posir.Build(posir.Generate(4, 1), posir.BuildOptions{Plant: true})
	require.NoError(t, err)
	assert.LessOrEqual(t, len(b.Queries), 4, "one in each document")
	missing := 0
	for _, bucket := range b.Missing {
		for _, n := range bucket {
			missing += n
		}
	}
	assert.Equal(t, posir.Buckets*posir.Bins-len(b.Queries), missing)
}
