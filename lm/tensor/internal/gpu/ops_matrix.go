package gpu

import (
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// AddBias adds bias [cols] to every row of x [rows×cols].
func (b *Backend) AddBias(x, bias tensor.Buffer, rows, cols int) {
	shape.AddBias(x, bias, rows, cols)
	c := b.call()
	c.act(x)
	c.buf(bias)
	c.size(x.Len())
	c.i32(cols)
	b.elementwise("add_bias", x.Len())
}

// SumRows computes dst [cols] += Σ_rows x [rows×cols].
func (b *Backend) SumRows(dst, x tensor.Buffer, rows, cols int) {
	shape.SumRows(dst, x, rows, cols)
	c := b.call()
	c.buf(dst)
	c.act(x)
	c.i32(rows)
	c.i32(cols)
	b.launch("sum_rows", blocks(cols, columnsPerBlock), 1, columnThreads)
}

// Gather copies rows: row i of dst = row idx[i] of src.
func (b *Backend) Gather(dst, src tensor.Buffer, idx []int32, cols int) {
	shape.Gather(dst, src, idx, cols)
	c := b.call()
	c.act(dst)
	c.src(src)
	c.tab(upload(b, tableIndices, idx))
	c.i32(cols)
	b.launch("gather", len(idx), 1, rowThreads)
}

// ScatterAdd adds rows: row idx[i] of dst += row i of src. The rows are grouped
// here by where they go, so that one block adds all that go to one row.
func (b *Backend) ScatterAdd(dst, src tensor.Buffer, idx []int32, cols int) {
	shape.ScatterAdd(dst, src, idx, cols)
	// The table is the order, then the groups: a row and where its sources begin.
	n := len(idx)
	order := zeros(&b.ints, n)
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(i, j int32) int { return int(idx[i]) - int(idx[j]) })
	for i, source := range order {
		if i == 0 || idx[source] != idx[order[i-1]] {
			b.ints = append(b.ints, idx[source], int32(i))
		}
	}
	groups := (len(b.ints) - n) / 2
	b.ints = append(b.ints, -1, int32(n))
	m := upload(b, tableScatter, b.ints)
	c := b.call()
	c.act(dst)
	c.act(src)
	c.memory(m, n)
	c.tab(m)
	c.i32(cols)
	b.launch("scatter_add", groups, 1, rowThreads)
}
