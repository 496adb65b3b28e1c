package curriculum

// tree holds a weight for each of n leaves and finds leaves by cumulative weight.
// A node is the sum of its two children, so its bits depend on the leaves alone,
// not on the order in which they were set: a rebuilt tree draws the same.
type tree struct {
	leaves int       // a power of two
	node   []float64 // 1-based; node[leaves+i] is leaf i
}

func newTree(n int) tree {
	leaves := 1
	for leaves < n {
		leaves *= 2
	}
	return tree{leaves, make([]float64, 2*leaves)}
}

func (t *tree) total() float64 { return t.node[1] }

func (t *tree) set(i int, w float64) {
	i += t.leaves
	t.node[i] = w
	for i /= 2; i > 0; i /= 2 {
		t.node[i] = t.node[2*i] + t.node[2*i+1]
	}
}

// find returns the leaf at which the cumulative weight passes u·total, for u in
// [0, 1). It never returns a leaf without weight; the total must be positive.
func (t *tree) find(u float64) int {
	at := u * t.total()
	i := 1
	for i < t.leaves {
		left, right := t.node[2*i], t.node[2*i+1]
		if right <= 0 || at < left {
			i = 2 * i
		} else {
			at -= left
			i = 2*i + 1
		}
	}
	return i - t.leaves
}
