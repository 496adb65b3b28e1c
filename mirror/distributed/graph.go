package distributed

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Graph is an undirected graph without loops.
type Graph struct {
	neighbors [][]int // of each node, ascending
}

// NewGraph returns the graph with nodes 0 to n−1 and the given edges, in any order;
// an edge may be given more than once.
func NewGraph(n int, edges [][2]int) (Graph, error) {
	if n < 1 {
		return Graph{}, fmt.Errorf("distributed: a graph of %d nodes, want at least 1", n)
	}
	g := Graph{make([][]int, n)}
	for _, e := range edges {
		a, b := e[0], e[1]
		if min(a, b) < 0 || max(a, b) >= n || a == b {
			return Graph{}, fmt.Errorf("distributed: an edge from %d to %d, want two of the nodes 0 to %d", a, b, n-1)
		}
		g.neighbors[a] = append(g.neighbors[a], b)
		g.neighbors[b] = append(g.neighbors[b], a)
	}
	for i, list := range g.neighbors {
		slices.Sort(list)
		g.neighbors[i] = slices.Compact(list)
	}
	return g, nil
}

// mustGraph is NewGraph for edges that are right if n is.
func mustGraph(n int, edges [][2]int) Graph {
	g, err := NewGraph(n, edges)
	if err != nil {
		panic(err.Error())
	}
	return g
}

// Ring is a cycle of n nodes. Like the other graphs, it panics if n is not
// positive.
func Ring(n int) Graph { return Torus(1, n) }

// Torus is a grid of rows × columns whose borders are joined.
func Torus(rows, columns int) Graph {
	if rows < 1 || columns < 1 {
		panic(fmt.Sprintf("distributed: a torus of %d × %d nodes", rows, columns))
	}
	var edges [][2]int
	for r := range rows {
		for c := range columns {
			for _, to := range [2]int{r*columns + (c+1)%columns, (r+1)%rows*columns + c} {
				if from := r*columns + c; from != to {
					edges = append(edges, [2]int{from, to})
				}
			}
		}
	}
	return mustGraph(rows*columns, edges)
}

// Star joins node 0 to all others.
func Star(n int) Graph {
	var edges [][2]int
	for i := 1; i < n; i++ {
		edges = append(edges, [2]int{0, i})
	}
	return mustGraph(n, edges)
}

// Complete joins every two nodes.
func Complete(n int) Graph {
	var edges [][2]int
	for i := range n {
		for j := range i {
			edges = append(edges, [2]int{j, i})
		}
	}
	return mustGraph(n, edges)
}

// ErdosRenyi draws a graph that has each possible edge with probability p, until
// the graph is connected. It is an error if 1,000 draws are not; p should be above
// log(n)/n.
func ErdosRenyi(n int, p float64, seed uint64) (Graph, error) {
	if !(p > 0 && p <= 1) {
		return Graph{}, fmt.Errorf("distributed: ErdosRenyi with probability %v, want above 0 and at most 1", p)
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 1000 {
		var edges [][2]int
		for i := range n {
			for j := range i {
				if rng.Float64() < p {
					edges = append(edges, [2]int{j, i})
				}
			}
		}
		g, err := NewGraph(n, edges)
		if err != nil || g.unreached() < 0 {
			return g, err
		}
	}
	return Graph{}, fmt.Errorf("distributed: 1000 graphs of %d nodes with edge probability %v were not connected", n, p)
}

// Nodes is the number of nodes.
func (g Graph) Nodes() int { return len(g.neighbors) }

// Neighbors returns the neighbours of a node in ascending order. The slice must not
// be changed.
func (g Graph) Neighbors(node int) []int { return g.neighbors[node] }

// unreached returns a node that cannot be reached from node 0, -1 if all can.
func (g Graph) unreached() int {
	return unreached(len(g.neighbors), func(i int) []int { return g.neighbors[i] })
}

func unreached(n int, next func(int) []int) int {
	seen := make([]bool, n)
	seen[0] = true
	for todo := []int{0}; len(todo) > 0; {
		i := todo[0]
		todo = todo[1:]
		for _, j := range next(i) {
			if !seen[j] {
				seen[j] = true
				todo = append(todo, j)
			}
		}
	}
	return slices.Index(seen, false)
}
