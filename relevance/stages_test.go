package relevance

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// By hand: seed 1 tests row a twice, as two folds of a training do, and is right once
// (1/2), then off by 1 of 2 (closeness 3/4, with the right one 7/8). Row c is only in one
// seed.
func TestSeeds(t *testing.T) {
	said := func(id string, gold, said int) Prediction {
		return Prediction{ID: id, Query: "of " + id, Gold: gold, Said: said}
	}
	s := seeds{}
	s.add(1, 3, []Prediction{said("a", 2, 2), said("b", 0, 2), said("c", 1, 1)})
	s.add(1, 3, []Prediction{said("a", 2, 1)})
	s.add(2, 3, []Prediction{said("b", 0, -1), said("a", 2, 2)})
	ids, queries := s.common(s)
	require.Equal(t, []string{"a", "b"}, ids)
	require.Equal(t, []string{"of a", "of b"}, queries)
	require.Equal(t, [][]float64{{.5, 0}, {1, 0}}, s.values(ids, 0))
	require.Equal(t, [][]float64{{.875, 0}, {1, 0}}, s.values(ids, 1))

	o := seeds{}
	o.add(1, 3, []Prediction{said("a", 2, 2)})
	none, _ := s.common(o)
	require.Empty(t, none, "the other has no seed 2")
}
