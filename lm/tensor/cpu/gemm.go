package cpu

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// The matrix product follows Goto & van de Geijn, "Anatomy of high-performance
// matrix multiplication" (2008): op(b) is packed in panels as wide as the
// micro-kernel's tile, each panel is multiplied by a block of rows of op(a) that
// stays in the second-level cache, and k is cut so that a panel stays in the
// first. The micro-kernels broadcast elements of a from any stride, so a need not
// be interleaved: it is used in place or, if it is read often, copied to rows
// that do not collide in the cache.

const (
	// blockK is the most of k that is multiplied at a time.
	blockK = 256
	// blockM is the number of rows that a task multiplies at a time, a multiple
	// of every micro-kernel's rows.
	blockM = 96
	// stripN is the most columns that a task multiplies at a time, so that its
	// block of c stays in the second-level cache.
	stripN = 512
	// packedMax is the number of elements of b that are packed at a time,
	// packPanels the number of panels that a task packs.
	packedMax  = 4 << 20
	packPanels = 2
	// fetchAhead is the number of elements by which prefetching is ahead when a
	// block is copied.
	fetchAhead = 512
	// copyA is the number of columns of c from which on a block of a is copied.
	// Fewer suffice if its lines are a multiple of pageFloats apart, because they
	// then collide in the caches.
	copyA      = 160
	pageFloats = 1024
	// skinny is the most rows of a for which b is used in place, if its rows are
	// contiguous; for b of at most narrow columns it is few.
	skinny = 12
	few    = 256
	narrow = 256
	// streamPanels is the number of panels that a stream kernel reads side by
	// side.
	streamPanels = 4
)

// view is a matrix whose element (i, j) is data[i·rs + j·cs].
type view struct {
	data   []float32
	rs, cs int
}

func (v view) at(i, j int) view {
	return view{v.data[i*v.rs+j*v.cs:], v.rs, v.cs}
}

// panels is a right operand as the micro-kernels read it: panel j is tile columns
// wide and starts at data[j·step], and its rows are rs apart.
type panels struct {
	data     []float32
	rs, step int
	// If wide is not 0, the blocks of k lie one after the other, each in panels
	// that are wide columns together. Then step is not used.
	wide int
	kind panelKind
}

// panelKind is what a word of panels holds.
type panelKind int

const (
	// panelFloats holds a float32.
	panelFloats panelKind = iota
	// panelPairs holds bfloat16s of two columns, see kernels.gemmPairs; rs and step
	// count words.
	panelPairs
	// panelDots holds bfloat16s of two rows, see bf16Kernels; rows are counted in words.
	panelDots
)

// at returns the panels from row i and column j on; j is a multiple of tile.
func (p panels) at(i, j, tile int) panels {
	return panels{data: p.data[j/tile*p.step+i*p.rs:], rs: p.rs, step: p.step}
}

// block returns rows [from, to) of the panels, which are a block of k, from column
// j on.
func (p panels) block(from, to, j, tile int) panels {
	if p.wide == 0 {
		return p.at(from, j, tile)
	}
	at := from*p.wide + j*(to-from)
	if p.kind == panelPairs {
		tile, at = tile/2, at/2
	}
	return panels{data: p.data[at:], rs: tile, step: tile * (to - from), kind: p.kind}
}

// MatMul computes c = alpha·op(a)·op(b) + beta·c.
func (b *Backend) MatMul(opA, opB tensor.Op, m, n, k int, alpha float32, x, y tensor.Buffer, beta float32, c tensor.Buffer) {
	shape.MatMul(m, n, k, x, y, c)
	xv := view{b.data(x), k, 1}
	if opA == tensor.OpT {
		xv.rs, xv.cs = 1, m
	}
	yv := view{b.data(y), n, 1}
	if opB == tensor.OpT {
		yv.rs, yv.cs = 1, k
	}
	b.gemm(m, n, k, alpha, xv, yv, beta, view{b.data(c), n, 1})
}

// gemm computes c = alpha·x·y + beta·c for x [m×k], y [k×n], c [m×n].
func (b *Backend) gemm(m, n, k int, alpha float32, x, y view, beta float32, c view) {
	if m == 0 || n == 0 {
		return
	}
	if k == 0 {
		scaleOrClear(c.data[:m*n], beta)
		return
	}
	if b.round == nil && b.kern.direct(y, n) && (m <= skinny || m <= few && n <= narrow) {
		b.multiply(m, n, k, alpha, x, b.kern.inPlace(y), beta, c)
		return
	}
	// Packed, the columns of a strip take packedMax elements at most.
	lines := b.lines(k)
	strip := max(packedMax/lines/b.kern.tile, 1) * b.kern.tile
	for j := 0; j < n; j += strip {
		cols := min(strip, n-j)
		mem := b.crew.shared.reset().take(b.kern.packedLen(lines, cols))
		right := panels{data: mem, rs: b.kern.tile, wide: roundUp(cols, b.kern.tile), kind: b.packedKind(tensor.FormatFloat32)}
		b.packBlocks(right, y.at(0, j), k, cols)
		b.multiply(m, cols, k, alpha, x, right, beta, c.at(0, j))
	}
}

// lines is how many rows of words k makes: k, or half of it if products are rounded.
func (b *Backend) lines(k int) int {
	if b.round != nil {
		return b.round.lines(k)
	}
	return k
}

// blocks is how many blocks the lines of k are cut into.
func blocks(lines int) int { return (lines + blockK - 1) / blockK }

// block returns the lines [from, to) of block i of count.
func (b *Backend) block(i, count, lines int) (from, to int) {
	unit := 1
	if b.round != nil {
		unit = b.round.unit
	}
	lines /= unit
	return i * lines / count * unit, (i + 1) * lines / count * unit
}

// product is the right side and the result, of n columns, of a matrix product.
type product struct {
	n int
	y panels
	c view
}

// multiply computes c = alpha·x·y + beta·c.
func (b *Backend) multiply(m, n, k int, alpha float32, x view, y panels, beta float32, c view) {
	b.products = append(b.products[:0], product{n, y, c})
	b.multiplyAll(m, k, alpha, x, beta)
}

// multiplyAll computes c = alpha·x·y + beta·c for all of b.products. A task
// takes a block of one c.
func (b *Backend) multiplyAll(m, k int, alpha float32, x view, beta float32) {
	kern, lines := b.kern, b.lines(k)
	b.parts = b.parts[:0]
	columns := 0
	for i, p := range b.products {
		b.cut(i, m, p.n)
		columns += p.n
	}
	b.run((m+streamCost)*columns*k, len(b.parts), func(s *scratch, i int) {
		t := b.parts[i]
		p := &b.products[t.product]
		rows, w, keep := t.i1-t.i0, t.j1-t.j0, beta
		for i := range blocks(lines) {
			from, to := b.block(i, blocks(lines), lines)
			var left view
			switch {
			case b.round != nil:
				left = b.round.left(s.reset(), x.at(t.i0, 2*from), rows, min(2*to, k)-2*from)
			case w >= copyA || max(x.rs, x.cs)%pageFloats == 0 && w > 2*kern.tile:
				left = kern.copyBlock(s.reset(), x.at(t.i0, from), rows, to-from)
			default:
				left = x.at(t.i0, from)
			}
			kern.mul(rows, w, to-from, alpha, left, p.y.block(from, to, t.j0, kern.tile), keep, p.c.at(t.i0, t.j0))
			keep = 1
		}
	})
	clear(b.products)
}

// part is a task: rows [i0, i1) and columns [j0, j1) of the result of a product.
type part struct{ product, i0, i1, j0, j1 int }

// cut appends the tasks of a product to b.parts. If the rows are few, a task takes
// all of them and some columns, otherwise some rows and up to stripN columns.
// Tasks get smaller towards the end, so that all workers finish together. The
// bits of the result do not depend on how it is cut.
func (b *Backend) cut(product, m, n int) {
	kern := b.kern
	if tiles := (m + kern.rows - 1) / kern.rows; m <= blockM && n >= tiles*kern.tile {
		unit := kern.tile
		if m <= kern.streamRows {
			unit *= streamPanels
		}
		b.guided(n, unit, n, n, func(from, to int) { b.parts = append(b.parts, part{product, 0, m, from, to}) })
		return
	}
	strips := (n + stripN - 1) / stripN
	cols := roundUp((n+strips-1)/strips, kern.tile)
	for j := 0; j < n; j += cols {
		end := min(j+cols, n)
		b.guided(m, kern.rows, blockM, (n-j+cols-1)/cols*m, func(from, to int) { b.parts = append(b.parts, part{product, from, to, j, end}) })
	}
}

// guided calls f for consecutive parts of [0, n). Each is a multiple of unit, at
// most largest, and a fraction of the work that remains, which is left at first.
func (b *Backend) guided(n, unit, largest, left int, f func(from, to int)) {
	share := 2 * b.maxWorkers() * unit
	for from := 0; from < n; {
		to := min(from+min((left-from+share-1)/share*unit, largest), n)
		f(from, to)
		from = to
	}
}

// mul computes c = alpha·x·y + beta·c on one goroutine.
func (kern *kernels) mul(m, n, k int, alpha float32, x view, y panels, beta float32, c view) {
	gemm, stream, rs := kern.gemm, kern.stream, kern.tile
	switch y.kind {
	case panelPairs:
		gemm, stream, rs = kern.gemmPairs, kern.streamPairs, kern.tile/2
	case panelDots:
		gemm, stream = kern.bf16.gemm, kern.bf16.stream
	}
	j := 0
	if stream != nil && m <= kern.streamRows && y.rs == rs {
		for wide := streamPanels * kern.tile; j+wide <= n; j += wide {
			stream(m, k, alpha, &x.data[0], x.rs, x.cs,
				&y.data[j/kern.tile*y.step], y.step, beta, &c.data[j], c.rs)
		}
	}
	for ; j < n; j += kern.tile {
		gemm(m, min(kern.tile, n-j), k, alpha, &x.data[0], x.rs, x.cs,
			&y.data[j/kern.tile*y.step], y.rs, beta, &c.data[j], c.rs)
	}
}

// copyBlock copies a block [rows×k] to scratch memory, in the same order but with
// lines at a distance that spreads them over the cache's sets.
func (kern *kernels) copyBlock(s *scratch, x view, rows, k int) view {
	lines, length := rows, k
	if x.cs != 1 {
		lines, length = k, rows
	}
	to := roundUp(length, lineFloats) + lineFloats
	mem := s.take(lines * to)
	kern.copy(lines, length, mem, to, x.data, max(x.rs, x.cs))
	if x.cs != 1 {
		return view{mem, 1, to}
	}
	return view{mem, to, 1}
}

// copy copies lines of n elements.
func (kern *kernels) copy(lines, n int, dst []float32, to int, src []float32, from int) {
	_, _ = dst[(lines-1)*to+n-1], src[(lines-1)*from+n-1]
	kern.copyLines(lines, n, &dst[0], to, &src[0], from, 1+fetchAhead/n)
}

// direct reports whether the micro-kernels, which read whole vectors, can read n
// columns of y in place.
func (kern *kernels) direct(y view, n int) bool { return y.cs == 1 && n%kern.vector == 0 }

func (kern *kernels) inPlace(y view) panels {
	return panels{data: y.data, rs: y.rs, step: kern.tile}
}

// packedLen is the size of k rows and n columns in panels.
func (kern *kernels) packedLen(k, n int) int { return roundUp(n, kern.tile) * k }

// right returns y [k×n] as panels, in place if possible.
func (kern *kernels) right(s *scratch, y view, k, n int) panels {
	if kern.direct(y, n) {
		return kern.inPlace(y)
	}
	mem := s.take(kern.packedLen(k, n))
	for j := 0; j < n; j += kern.tile {
		kern.pack(mem[j*k:], y.at(0, j), k, min(kern.tile, n-j))
	}
	return panels{data: mem, rs: kern.tile, step: kern.tile * k}
}

// right is kernels.right on all workers.
func (b *Backend) right(s *scratch, y view, k, n int) panels {
	kern := b.kern
	if kern.direct(y, n) {
		return kern.inPlace(y)
	}
	mem := s.take(kern.packedLen(k, n))
	b.run(moveCost*k*n, (n+kern.tile-1)/kern.tile, func(_ *scratch, i int) {
		j := i * kern.tile
		kern.pack(mem[j*k:], y.at(0, j), k, min(kern.tile, n-j))
	})
	return panels{data: mem, rs: kern.tile, step: kern.tile * k}
}

// packBlocks packs y [k×n] into p, whose wide is not 0.
func (b *Backend) packBlocks(p panels, y view, k, n int) {
	kern := b.kern
	group := packPanels * kern.tile
	across, lines := (n+group-1)/group, b.lines(k)
	b.run(moveCost*k*n, across*blocks(lines), func(s *scratch, i int) {
		from, to := b.block(i/across, blocks(lines), lines)
		for j := i % across * group; j < min(i%across*group+group, n); j += kern.tile {
			dst, w := p.block(from, to, j, kern.tile).data, min(kern.tile, n-j)
			switch p.kind {
			case panelFloats:
				kern.pack(dst, y.at(from, j), to-from, w)
			case panelPairs:
				mem := s.reset().take((to - from) * kern.tile)
				kern.pack(mem, y.at(from, j), to-from, w)
				kern.roundPairs(to-from, kern.tile/2, &dst[0], &mem[0])
			case panelDots:
				b.round.panel(kern, s.reset(), dst, y.at(2*from, j), min(2*to, k)-2*from, w)
			}
		}
	})
}

// pack writes a panel: w columns of y, and zeros up to the tile. Either the rows
// of y are contiguous or its columns are.
func (kern *kernels) pack(dst []float32, y view, k, w int) {
	t := kern.tile
	if w < t {
		clear(dst[:k*t])
	}
	if y.cs == 1 {
		kern.copy(k, w, dst, t, y.data, y.rs)
		return
	}
	j := 0
	if whole := k &^ 7; kern.transpose8 != nil && whole > 0 {
		for ; j+8 <= w; j += 8 {
			kern.transpose8(whole, &dst[j], t, &y.data[j*y.cs], y.cs)
			for i := j; i < j+8; i++ {
				packColumn(dst[i:], t, y.data[i*y.cs:], whole, k)
			}
		}
	}
	for ; j < w; j++ {
		packColumn(dst[j:], t, y.data[j*y.cs:], 0, k)
	}
}

// packColumn copies elements [from, to) of a contiguous column to rows t
// apart.
func packColumn(dst []float32, t int, col []float32, from, to int) {
	for p := from; p < to; p++ {
		dst[p*t] = col[p]
	}
}

func scaleOrClear(x []float32, alpha float32) {
	if alpha == 0 {
		clear(x)
		return
	}
	for i := range x {
		x[i] *= alpha
	}
}

var _ tensor.Packer = (*Backend)(nil)

// A packed matrix is what MatMul packs anew for every product: the panels of
// op(b), one block of k after the other. With it, a product with few rows reads
// memory once and in order, and nothing else bounds it.

// PackedLen is the number of buffer elements that op(b) [k×n] takes when it is
// packed: n is rounded up to whole panels.
func (b *Backend) PackedLen(f tensor.Format, n, k int) int {
	shape.Format(f)
	size := b.kern.packedLen(b.lines(k), n)
	if b.packedKind(f) == panelPairs {
		size /= 2
	}
	return size
}

// Pack writes op(b) [k×n] packed into p.
func (b *Backend) Pack(f tensor.Format, p tensor.Buffer, opB tensor.Op, n, k int, y tensor.Buffer) {
	shape.Pack(b.PackedLen(f, n, k), n, k, p, y)
	if n == 0 || k == 0 {
		return
	}
	yv := view{b.data(y), n, 1}
	if opB == tensor.OpT {
		yv.rs, yv.cs = 1, k
	}
	b.packBlocks(b.packed(f, n, p), yv, k, n)
}

// MatMulPacked computes C = alpha·a·P + beta·C for every product.
func (b *Backend) MatMulPacked(f tensor.Format, m, k int, alpha float32, x tensor.Buffer, beta float32, products ...tensor.Product) {
	shape.MatMulPacked(b.PackedLen, f, m, k, x, products)
	b.products = b.products[:0]
	for _, p := range products {
		c := b.data(p.C)
		if k == 0 {
			scaleOrClear(c, beta)
		} else if m > 0 && p.N > 0 {
			b.products = append(b.products, product{p.N, b.packed(f, p.N, p.P), view{c, p.N, 1}})
		}
	}
	b.multiplyAll(m, k, alpha, view{b.data(x), k, 1}, beta)
}

// packed returns the packed matrix of n columns in p.
func (b *Backend) packed(f tensor.Format, n int, p tensor.Buffer) panels {
	return panels{data: b.data(p), rs: b.kern.tile, wide: roundUp(n, b.kern.tile), kind: b.packedKind(f)}
}

// packedKind is what a packed matrix holds. Products that round have one kind only: what
// they read is rounded in any case.
func (b *Backend) packedKind(f tensor.Format) panelKind {
	switch {
	case b.round != nil:
		return panelDots
	case f == tensor.FormatBFloat16:
		return panelPairs
	}
	return panelFloats
}
