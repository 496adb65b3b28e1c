package distributed

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Matrix is a doubly stochastic matrix W: node i gives what node j sends the
// weight w(i,j) ≥ 0, and rows and columns sum to 1.
type Matrix struct {
	rows, columns [][]entry // ascending, the diagonal always among them
}

type entry struct {
	node  int
	value float64
}

// Schedule gives the weights of every round: always the same *[Matrix], or a
// [Cycle] of them.
type Schedule interface {
	// Validate returns an error if the weights are invalid or leave nodes
	// without a connection.
	Validate() error
	// Nodes is the number of nodes.
	Nodes() int
	// At returns the weights of a round, counted from 0.
	At(round int) *Matrix
}

// NewMatrix returns the Matrix with the given rows. It is an error, which names the
// row or column, if a weight is negative or a sum differs from 1 by more than
// 1e-12.
func NewMatrix(matrix [][]float64) (*Matrix, error) {
	n := len(matrix)
	if n == 0 {
		return nil, fmt.Errorf("distributed: weights of no nodes")
	}
	sums := make([]float64, n)
	for i, row := range matrix {
		if len(row) != n {
			return nil, fmt.Errorf("distributed: row %d has %d weights, want %d", i, len(row), n)
		}
		sum := 0.0
		for j, v := range row {
			if !(v >= 0) {
				return nil, fmt.Errorf("distributed: the weight of node %d for node %d is %v, want at least 0", i, j, v)
			}
			sum += v
			sums[j] += v
		}
		if !(math.Abs(sum-1) <= 1e-12) {
			return nil, fmt.Errorf("distributed: row %d of the weights sums to %v, want 1", i, sum)
		}
	}
	for j, sum := range sums {
		if !(math.Abs(sum-1) <= 1e-12) {
			return nil, fmt.Errorf("distributed: column %d of the weights sums to %v, want 1", j, sum)
		}
	}
	w := &Matrix{make([][]entry, n), make([][]entry, n)}
	for i, row := range matrix {
		for j, v := range row {
			if v > 0 || i == j {
				w.rows[i] = append(w.rows[i], entry{j, v})
				w.columns[j] = append(w.columns[j], entry{i, v})
			}
		}
	}
	return w, nil
}

// Metropolis gives the link of i and j the weight 1/(1 + max(degree i, degree j))
// and each node the rest. It is an error if the graph is not connected.
func Metropolis(g Graph) (*Matrix, error) {
	if g.Nodes() == 0 {
		return nil, fmt.Errorf("distributed: a graph of no nodes")
	}
	if i := g.unreached(); i >= 0 {
		return nil, fmt.Errorf("distributed: the graph is not connected: node %d cannot be reached from node 0", i)
	}
	m := square(g.Nodes())
	for i := range m {
		m[i][i] = 1
		for _, j := range g.Neighbors(i) {
			m[i][j] = 1 / float64(1+max(len(g.Neighbors(i)), len(g.Neighbors(j))))
			m[i][i] -= m[i][j]
		}
		m[i][i] = max(m[i][i], 0)
	}
	return NewMatrix(m)
}

// Lazy returns (W + I)/2, whose eigenvalues stay away from −1.
func (w *Matrix) Lazy() *Matrix {
	m := w.Dense()
	for i, row := range m {
		for j := range row {
			row[j] /= 2
		}
		row[i] += 0.5
	}
	return mustMatrix(m)
}

// Exponential is the directed graph in which node i hears from the nodes
// i + 1, i + 2, i + 4, … (modulo n), all and itself with the same weight
// (Assran et al., ICML 2019). Circulant weights are doubly stochastic.
func Exponential(n int) *Matrix {
	hops := powers(n)
	m := square(n)
	for i := range m {
		m[i][i] = 1 / float64(1+len(hops))
		for _, h := range hops {
			m[i][(i+h)%n] = m[i][i]
		}
	}
	return mustMatrix(m)
}

// OnePeer is the exponential graph one hop at a time: in round k node i hears
// from node i + 2ᵏ alone, k modulo the number of hops, and weighs both 1/2. If n
// is a power of 2, a cycle averages exactly (Ying et al., NeurIPS 2021).
func OnePeer(n int) Cycle {
	var c Cycle
	for _, h := range powers(n) {
		m := square(n)
		for i := range m {
			m[i][i], m[i][(i+h)%n] = 0.5, 0.5
		}
		c = append(c, mustMatrix(m))
	}
	return c
}

// powers returns 1, 2, 4, … below n.
func powers(n int) (list []int) {
	if n < 2 {
		panic(fmt.Sprintf("distributed: an exponential graph of %d nodes, want at least 2", n))
	}
	for h := 1; h < n; h *= 2 {
		list = append(list, h)
	}
	return list
}

func square(n int) [][]float64 {
	m := make([][]float64, n)
	for i := range m {
		m[i] = make([]float64, n)
	}
	return m
}

func mustMatrix(m [][]float64) *Matrix {
	w, err := NewMatrix(m)
	if err != nil {
		panic(err.Error())
	}
	return w
}

// Nodes is the number of nodes.
func (w *Matrix) Nodes() int { return len(w.rows) }

// At returns w, in every round.
func (w *Matrix) At(int) *Matrix { return w }

// Validate returns an error if some node never hears from another, even through
// others.
func (w *Matrix) Validate() error { return Cycle{w}.Validate() }

// Dense returns W in rows.
func (w *Matrix) Dense() [][]float64 {
	m := square(len(w.rows))
	for i, row := range w.rows {
		for _, e := range row {
			m[i][e.node] = e.value
		}
	}
	return m
}

// Lambda returns ‖W − 11ᵀ/n‖₂. A round of mixing shrinks the distance from
// agreement at least by this factor; 1 − Lambda is the spectral gap.
func (w *Matrix) Lambda() float64 { return Cycle{w}.Lambda() }

// Cycle uses its matrices in turn, one per round.
type Cycle []*Matrix

// Nodes is the number of nodes.
func (c Cycle) Nodes() int {
	if len(c) == 0 {
		return 0
	}
	return c[0].Nodes()
}

// At returns the weights of a round.
func (c Cycle) At(round int) *Matrix { return c[round%len(c)] }

// Validate returns an error if there are no matrices, if they have different
// numbers of nodes, or if all together do not connect all nodes.
func (c Cycle) Validate() error {
	if len(c) == 0 {
		return fmt.Errorf("distributed: a Cycle of no weights")
	}
	for i, w := range c {
		if w == nil || len(w.rows) == 0 {
			return fmt.Errorf("distributed: weights %d of a Cycle are missing", i)
		}
		if w.Nodes() != c.Nodes() {
			return fmt.Errorf("distributed: weights %d of a Cycle are of %d nodes, want %d", i, w.Nodes(), c.Nodes())
		}
	}
	// Doubly stochastic weights that connect all one way do so both ways.
	i := unreached(c.Nodes(), func(i int) (next []int) {
		for _, w := range c {
			for _, e := range w.rows[i] {
				if e.value > 0 {
					next = append(next, e.node)
				}
			}
		}
		return next
	})
	if i >= 0 {
		return fmt.Errorf("distributed: the graph is not connected: node 0 never hears of node %d", i)
	}
	return nil
}

// Lambda returns the norm of Matrix.Lambda for the product of one cycle, to a relative
// error of about 1e-8, or an absolute one where it is 0. It is computed by the method of
// Lanczos, whose steps are as many as it takes, at most 1<<15: enough for a ring of 10,000.
func (c Cycle) Lambda() float64 {
	n := c.Nodes()
	rng := rand.New(rand.NewPCG(1, 0))
	v, last := make([]float64, n), make([]float64, n)
	for i := range v {
		v[i] = rng.NormFloat64()
	}
	// In the basis of the vectors v, Wᵀ·W without the mean is tridiagonal.
	var diagonal, beside []float64
	u, spare := make([]float64, n), make([]float64, n)
	length, top := centered(v), 0.0
	for length > 1e-17 {
		for i := range v {
			v[i] /= length
		}
		copy(u, v)
		for _, w := range c {
			multiply(w.rows, spare, u)
			u, spare = spare, u
		}
		for i := range c {
			multiply(c[len(c)-1-i].columns, spare, u)
			u, spare = spare, u
		}
		along := 0.0
		for i := range u {
			along += u[i] * v[i]
		}
		before := 0.0
		if len(beside) > 0 {
			before = beside[len(beside)-1]
		}
		for i := range u {
			u[i] -= along*v[i] + before*last[i]
		}
		diagonal = append(diagonal, along)
		length = centered(u)
		if k := len(diagonal); k&(k-1) == 0 { // a power of 2
			next := largestEigenvalue(diagonal, beside)
			if k >= 16 && next-top <= 1e-13*next || k == 1<<15 {
				break
			}
			top = next
		}
		beside = append(beside, length)
		last, v, u = v, u, last
	}
	if len(diagonal) == 0 {
		return 0
	}
	square := largestEigenvalue(diagonal, beside)
	if square < 1e-30 {
		return 0
	}
	return math.Sqrt(square)
}

// largestEigenvalue is that of a symmetric tridiagonal matrix, whose elements beside the
// diagonal are not 0, by bisection: as many are above x as pivots of the matrix less x are
// positive.
func largestEigenvalue(diagonal, beside []float64) float64 {
	low, high := slices.Max(diagonal), 0.0
	for i, d := range diagonal {
		for _, k := range []int{i - 1, i} {
			if k >= 0 && k < len(diagonal)-1 {
				d += beside[k]
			}
		}
		high = max(high, d) // Gershgorin
	}
	for {
		x := low + (high-low)/2
		if x <= low || x >= high {
			return x
		}
		pivot, above := diagonal[0]-x, false
		for i, d := range diagonal[1:] {
			above = above || pivot > 0
			pivot = d - x - beside[i]*beside[i]/pivot
		}
		if above || pivot > 0 {
			low = x
		} else {
			high = x
		}
	}
}

func multiply(rows [][]entry, dst, x []float64) {
	for i, row := range rows {
		dst[i] = 0
		for _, e := range row {
			dst[i] += e.value * x[e.node]
		}
	}
}

// centered takes the mean from x and returns the norm of the rest.
func centered(x []float64) float64 {
	mean := 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	square := 0.0
	for i := range x {
		x[i] -= mean
		square += x[i] * x[i]
	}
	return math.Sqrt(square)
}
