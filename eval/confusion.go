package eval

import (
	"maps"
	"slices"
)

// Confusion counts examples by gold label and predicted label.
type Confusion struct {
	// Labels holds every label that occurs, ascending.
	Labels []int
	// Counts[i][j] is the number of examples with gold label Labels[i] and
	// predicted label Labels[j].
	Counts [][]int
}

// NewConfusion counts the pairs.
func NewConfusion(pairs []Pair) Confusion {
	index := make(map[int]int)
	for _, p := range pairs {
		index[p.Gold], index[p.Pred] = 0, 0
	}
	c := Confusion{Labels: slices.Sorted(maps.Keys(index))}
	c.Counts = make([][]int, len(c.Labels))
	for i, label := range c.Labels {
		index[label] = i
		c.Counts[i] = make([]int, len(c.Labels))
	}
	for _, p := range pairs {
		c.Counts[index[p.Gold]][index[p.Pred]]++
	}
	return c
}
