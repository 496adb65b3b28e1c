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
	order := make([]int32, len(idx))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(i, j int32) int { return int(idx[i]) - int(idx[j]) })
	// The table is the order, then the groups: a row and where its sources begin.
	table := slices.Clone(order)
	for i, source := range order {
		if i == 0 || idx[source] != idx[order[i-1]] {
			table = append(table, idx[source], int32(i))
		}
	}
	groups := (len(table) - len(order)) / 2
	table = append(table, -1, int32(len(order)))
	m := upload(b, tableScatter, table)
	c := b.call()
	c.act(dst)
	c.act(src)
	c.memory(m, len(order))
	c.tab(m)
	c.i32(cols)
	b.launch("scatter_add", groups, 1, rowThreads)
}
