package distributed_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/mirror/distributed"
)

func metropolis(t require.TestingT, g distributed.Graph) *distributed.Matrix {
	w, err := distributed.Metropolis(g)
	require.NoError(t, err)
	return w
}

func TestLambda(t *testing.T) {
	cos := func(k, n float64) float64 { return math.Cos(2 * math.Pi * k / n) }
	for _, c := range []struct {
		name string
		w    *distributed.Matrix
		want float64
	}{
		{"ring of 8", metropolis(t, distributed.Ring(8)), (1 + 2*cos(1, 8)) / 3}, // .805
		{"ring of 16", metropolis(t, distributed.Ring(16)), (1 + 2*cos(1, 16)) / 3},
		{"lazy ring of 8", metropolis(t, distributed.Ring(8)).Lazy(), (1 + (1+2*cos(1, 8))/3) / 2},
		{"torus 4 × 4", metropolis(t, distributed.Torus(4, 4)), (1 + 2 + 2*cos(1, 4)) / 5},
		{"complete", metropolis(t, distributed.Complete(7)), 0},
		{"star", metropolis(t, distributed.Star(9)), 1 - 1./9},
		{"ring of 1000", metropolis(t, distributed.Ring(1000)), (1 + 2*cos(1, 1000)) / 3},
		{"two", metropolis(t, distributed.Ring(2)), 0},
		{"one", metropolis(t, distributed.Ring(1)), 0},
		{"exponential of 8", distributed.Exponential(8), .5},
	} {
		assert.InDelta(t, c.want, c.w.Lambda(), 1e-8, c.name)
	}
	assert.InDelta(t, .805, metropolis(t, distributed.Ring(8)).Lambda(), 5e-4)
}

// Against the singular values that gonum finds.
func TestLambdaOfRandomGraphs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 20).Draw(t, "n")
		g, err := distributed.ErdosRenyi(n, .5, rapid.Uint64().Draw(t, "seed"))
		require.NoError(t, err)
		for _, w := range []*distributed.Matrix{metropolis(t, g), metropolis(t, g).Lazy(), distributed.Exponential(n)} {
			m := mat.NewDense(n, n, nil)
			for i, row := range w.Dense() {
				for j, v := range row {
					m.Set(i, j, v-1/float64(n))
				}
			}
			var svd mat.SVD
			require.True(t, svd.Factorize(m, mat.SVDNone))
			assert.InDelta(t, svd.Values(nil)[0], w.Lambda(), 1e-7)
		}
	})
}

func TestWeightsAreDoublyStochastic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWeights(t)
		require.NoError(t, w.Validate())
		for round := range 5 {
			m := w.At(round).Dense()
			for i := range m {
				row, column := 0.0, 0.0
				for j := range m {
					row, column = row+m[i][j], column+m[j][i]
					assert.GreaterOrEqual(t, m[i][j], 0.0)
				}
				assert.InDelta(t, 1, row, 1e-14)
				assert.InDelta(t, 1, column, 1e-14)
			}
		}
	})
}

// One hop at a time, log₂ n rounds average n = 2ᵏ nodes exactly.
func TestOnePeerAveragesExactly(t *testing.T) {
	assert.Len(t, distributed.OnePeer(16), 4)
	assert.Zero(t, distributed.OnePeer(16).Lambda())
	assert.Greater(t, distributed.OnePeer(12).Lambda(), .1)
	assert.InDelta(t, 1, distributed.OnePeer(16)[1].Lambda(), 1e-12, "a hop of two leaves odd and even apart")
}

func TestGraphs(t *testing.T) {
	assert.Equal(t, []int{1, 4}, distributed.Ring(5).Neighbors(0))
	assert.Equal(t, []int{1, 2, 3, 6}, distributed.Torus(3, 3).Neighbors(0))
	assert.Equal(t, []int{1, 2}, distributed.Torus(2, 2).Neighbors(0))
	assert.Equal(t, []int{0}, distributed.Star(4).Neighbors(3))
	assert.Equal(t, []int{0, 1, 3}, distributed.Complete(4).Neighbors(2))
	g, err := distributed.NewGraph(3, [][2]int{{2, 0}, {0, 2}})
	require.NoError(t, err)
	assert.Equal(t, []int{2}, g.Neighbors(0))
	a, err := distributed.ErdosRenyi(20, .2, 5)
	require.NoError(t, err)
	b, err := distributed.ErdosRenyi(20, .2, 5)
	require.NoError(t, err)
	assert.Equal(t, a, b)
	_, err = distributed.Metropolis(g)
	assert.EqualError(t, err, "distributed: the graph is not connected: node 1 cannot be reached from node 0")
	assert.PanicsWithValue(t, "distributed: a torus of 1 × 0 nodes", func() { distributed.Ring(0) })
	assert.PanicsWithValue(t, "distributed: an exponential graph of 1 nodes, want at least 2", func() { distributed.Exponential(1) })
}

func TestBadGraphsAndWeightsAreNamed(t *testing.T) {
	second := func(_ any, err error) error { return err }
	for want, err := range map[string]error{
		"a graph of 0 nodes":                        second(distributed.NewGraph(0, nil)),
		"an edge from 1 to 3, want two of the":      second(distributed.NewGraph(3, [][2]int{{1, 3}})),
		"an edge from 1 to 1":                       second(distributed.NewGraph(3, [][2]int{{1, 1}})),
		"with probability 0":                        second(distributed.ErdosRenyi(3, 0, 1)),
		"1000 graphs of 50 nodes":                   second(distributed.ErdosRenyi(50, .01, 1)),
		"row 0 of the weights sums to 0.9, want 1":  second(distributed.NewMatrix([][]float64{{.5, .4}, {.5, .5}})),
		"column 0 of the weights sums to 1.5":       second(distributed.NewMatrix([][]float64{{1, 0}, {.5, .5}})),
		"the weight of node 0 for node 1 is -1":     second(distributed.NewMatrix([][]float64{{2, -1}, {-1, 2}})),
		"row 1 has 1 weights, want 2":               second(distributed.NewMatrix([][]float64{{1, 0}, {1}})),
		"weights of no nodes":                       second(distributed.NewMatrix(nil)),
		"the weight of node 1 for node 0 is NaN, w": second(distributed.NewMatrix([][]float64{{1, 0}, {math.NaN(), 1}})),
	} {
		assert.ErrorContains(t, err, want)
	}
}
