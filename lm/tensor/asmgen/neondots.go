package main

// Products of bfloat16s, with FEAT_BF16. BFMMLA multiplies two rows of a by two columns of
// b, four elements of k of each, and adds the four results to a register: twice the work
// of BFDOT, which would take the words that AVX-512 takes. So operands are packed in quads
// of 16 bytes: four elements of one row or column, then those of the next.

// bfmmla adds to d [2×2] the product of a [2×4] and the transpose of b [2×4].
func (n *neon) bfmmla(d, a, b vr) {
	n.word(0x6e40ec00|uint32(b)<<16|uint32(a)<<5|uint32(d), "bfmmla v%d.4s, v%d.8h, v%d.8h", d, a, b)
}

// round sets the lower half of d to a, rounded to bfloat16, roundUpper the upper half.
func (n *neon) round(d, a vr) {
	n.word(0x0ea16800|uint32(a)<<5|uint32(d), "bfcvtn v%d.4h, v%d.4s", d, a)
}

func (n *neon) roundUpper(d, a vr) {
	n.word(0x4ea16800|uint32(a)<<5|uint32(d), "bfcvtn2 v%d.8h, v%d.4s", d, a)
}

// neonDots writes the products, and what rounds their operands.
func neonDots(n *neon) {
	n.function("peakDotsNEON", "n int", "", "is bf16Kernels.peak: 24 BFMMLAs, n times.")
	count := n.integer("n")
	for i := range vr(32) {
		n.zero(i)
	}
	loop := n.label("loop")
	n.mark(loop)
	for i := vr(8); i < 32; i++ {
		n.bfmmla(i, 0, 1)
	}
	n.op("SUBS $1, %v", count)
	n.op("BNE %s", loop)
	n.end()
	n.gemm("gemmDots", "is bf16Kernels.gemm.", operandDots)
	n.quadRows()
	n.quadColumns()
}

// multiplyDots is multiply for quads: the tile's rows and columns go in pairs. A register
// holds two columns of two rows, and in the end four columns of one row.
func (n *neon) multiplyDots(p *neonProduct, rows, vectors int) {
	pairs := (rows + 1) / 2
	// tile is the register of a pair of rows and a pair of columns.
	tile := func(pair, column int) vr { return neonTile + vr((2*pair+column%2)*vectors+column/2) }
	for i := range vr(2 * pairs * vectors) {
		n.zero(neonTile + i)
	}
	n.op("MOVD ZR, %v", p.offset)
	n.op("MOVD %v, %v", p.b, p.at)
	n.op("LSR $1, %v, %v", p.k, p.left)
	loop := n.label("loop")
	n.mark(loop)
	for i := range pairs {
		n.ldrqx(neonElement+vr(i), p.rows[i], p.offset)
	}
	for c := 0; c < 2*vectors; c += 2 {
		// Two registers are loaded while the two before them are in use.
		right := neonRight + vr(c%4)
		n.ldpq(right, right+1, p.at, 16*c)
		for i := range pairs {
			n.bfmmla(tile(i, c), neonElement+vr(i), right)
			n.bfmmla(tile(i, c+1), neonElement+vr(i), right+1)
		}
	}
	n.op("ADD $%d, %v", 2*16*neonVectors, p.at)
	n.op("ADD $16, %v", p.offset)
	n.op("SUBS $1, %v", p.left)
	n.op("BNE %s", loop)
	for i := range pairs {
		for v := range vectors {
			first, second := tile(i, 2*v), tile(i, 2*v+1)
			n.zip1d(neonRight, first, second)
			n.zip2d(second, first, second)
			n.move(first, neonRight)
		}
	}
}

// quadRows rounds pairs of lines.
func (n *neon) quadRows() {
	n.function("quadRowsNEON", "pairs, quads int, dst *float32, to, step int, src *float32, from int", "",
		"rounds quads·4 elements of each of 2·pairs lines, from apart. Quad p of pair i is",
		"dst[i·to + p·step].")
	pairs, quads, dst, to, step, src, from := n.integer("pairs"), n.integer("quads"), n.integer("dst"), n.bytes("to"), n.bytes("step"), n.integer("src"), n.bytes("from")
	left, second, at, out := n.gp(), n.gp(), n.gp(), n.gp()
	line, quad := n.label("line"), n.label("quad")
	n.mark(line)
	n.op("ADD %v, %v, %v", from, src, second)
	n.op("MOVD ZR, %v", at)
	n.op("MOVD %v, %v", dst, out)
	n.op("MOVD %v, %v", quads, left)
	n.mark(quad)
	n.ldrqx(0, src, at)
	n.ldrqx(1, second, at)
	n.round(2, 0)
	n.roundUpper(2, 1)
	n.strq(2, out, 0)
	n.op("ADD $16, %v", at)
	n.op("ADD %v, %v", step, out)
	n.op("SUBS $1, %v", left)
	n.op("BNE %s", quad)
	n.op("ADD %v, %v", to, dst)
	n.op("ADD %v, %v, %v", from, second, src)
	n.op("SUBS $1, %v", pairs)
	n.op("BNE %s", line)
	n.end()
}

// quadColumns rounds columns, which it transposes in blocks of 4 × 4.
func (n *neon) quadColumns() {
	n.function("quadColumnsNEON", "quads, fours int, dst *float32, to, step int, src *float32, from int", "",
		"rounds quads·4 rows, from apart, of 4·fours columns. Quad p of pair i of columns is",
		"dst[i·to + p·step].")
	quads, fours, dst, to, step, src, from := n.integer("quads"), n.integer("fours"), n.integer("dst"), n.bytes("to"), n.bytes("step"), n.integer("src"), n.bytes("from")
	left, in, at, out, next := n.gp(), n.gp(), n.gp(), n.gp(), n.gp()
	rows, block := n.label("rows"), n.label("block")
	n.mark(rows)
	n.op("MOVD %v, %v", src, in)
	n.op("MOVD %v, %v", dst, out)
	n.op("MOVD %v, %v", fours, left)
	n.mark(block)
	n.op("MOVD %v, %v", in, at)
	for i := range vr(4) {
		n.ldrq(i, at, 0)
		n.op("ADD %v, %v", from, at)
	}
	n.transpose4()
	for pair := range vr(2) {
		n.round(20+pair, 16+2*pair)
		n.roundUpper(20+pair, 17+2*pair)
	}
	n.op("ADD %v, %v, %v", to, out, next)
	n.strq(20, out, 0)
	n.strq(21, next, 0)
	n.op("ADD %v, %v, %v", to, next, out)
	n.op("ADD $16, %v", in)
	n.op("SUBS $1, %v", left)
	n.op("BNE %s", block)
	n.op("ADD %v<<2, %v", from, src)
	n.op("ADD %v, %v", step, dst)
	n.op("SUBS $1, %v", quads)
	n.op("BNE %s", rows)
	n.end()
}
