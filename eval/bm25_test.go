package eval

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBM25AgainstBM25s(t *testing.T) {
	data, err := os.ReadFile("testdata/bm25.json")
	require.NoError(t, err)
	var g struct {
		Documents, Queries [][]string
		Cases              []struct {
			K1, B  float64
			Scores [][]float64
		}
	}
	require.NoError(t, json.Unmarshal(data, &g))
	require.NotEmpty(t, g.Cases)
	for _, c := range g.Cases {
		m, err := NewBM25(g.Documents, BM25Options{K1: c.K1, B: c.B})
		require.NoError(t, err)
		for i, q := range g.Queries {
			for k, d := range g.Documents {
				assert.InDelta(t, c.Scores[i][k], m.Score(q, d), 1e-6, "k1 %v, b %v, query %v, document %d", c.K1, c.B, q, k)
			}
		}
	}
}

// One document of two terms among two: idf is ln(1 + 1.5/1.5) = ln 2, and at the
// mean length f/(f + k1) remains.
func TestBM25InClosedForm(t *testing.T) {
	m, err := NewBM25([][]string{{"a", "b"}, {"c", "c"}}, DefaultBM25Options())
	require.NoError(t, err)
	assert.InDelta(t, .6931471805599453/2.2, m.Score([]string{"a"}, []string{"a", "b"}), 1e-15)
	assert.InDelta(t, .6931471805599453*2/3.2, m.Score([]string{"c"}, []string{"c", "c"}), 1e-15)
	assert.Zero(t, m.Score([]string{"x"}, []string{"a"}))
	empty, err := NewBM25(nil, DefaultBM25Options())
	require.NoError(t, err)
	assert.Zero(t, empty.Score([]string{"x"}, nil))
}

func TestBM25Options(t *testing.T) {
	assert.ErrorContains(t, BM25Options{K1: -1}.Validate(), "BM25Options.K1 is -1")
	assert.ErrorContains(t, BM25Options{B: 2}.Validate(), "BM25Options.B is 2")
	_, err := NewBM25(nil, BM25Options{B: -1})
	assert.Error(t, err)
}
