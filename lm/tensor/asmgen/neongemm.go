package main

// The micro-kernels of NEON hold a tile of 6 rows × 4 vectors in registers. An element of
// a is loaded into the first lane of a register, by which the multiply-add takes it: that
// costs no broadcast.
const (
	neonRows    = 6
	neonVectors = 4
)

// Registers: four vectors of b, three elements of a in turn, the mask of the upper half
// of words, and the tile.
const (
	neonRight   vr = 0
	neonElement vr = 4
	neonUpper   vr = 7
	neonTile    vr = 8
)

// neonOperand is what a product reads.
type neonOperand int

const (
	operandFloats neonOperand = iota
	operandPairs              // b is of bfloat16s, two columns a word
	operandDots               // a and b are of bfloat16s, in quads
)

// neonGemm writes the products.
func neonGemm(n *neon) {
	n.peak()
	n.stream("stream", "is kernels.stream.", operandFloats)
	n.gemm("gemm", "is kernels.gemm.", operandFloats)
	n.stream("streamPairs", "is kernels.streamPairs.", operandPairs)
	n.gemm("gemmPairs", "is kernels.gemmPairs.", operandPairs)
	n.panels("scores", "m, n, k int, a *float32, rsa int, b *float32, step int, c *float32, ldc int", "is kernels.scores.")
	n.panels("decode", "m, n, k int, a *float32, rsa int, b *float32, rsb, step int, c *float32, ldc, far int", "is cacheKernel.mul.")
}

func (n *neon) peak() {
	n.function("peakNEON", "n int", "", "is kernels.peak: 30 multiply-adds of vectors, n times.")
	count := n.integer("n")
	for i := range vr(32) {
		n.zero(i)
	}
	loop := n.label("loop")
	n.mark(loop)
	for i := vr(2); i < 32; i++ {
		n.fmla(i, 0, 1)
	}
	n.op("SUBS $1, %v", count)
	n.op("BNE %s", loop)
	n.end()
}

// right loads vectors of b at p.
func (n *neon) right(vectors int, p gp, of neonOperand) {
	if of == operandPairs {
		n.ldpq(neonRight+2, neonRight+3, p, 0)
		n.shl(neonRight, neonRight+2, 16)
		n.shl(neonRight+1, neonRight+3, 16)
		if vectors > 2 {
			n.and(neonRight+2, neonRight+2, neonUpper)
			n.and(neonRight+3, neonRight+3, neonUpper)
		}
		return
	}
	v := 0
	for ; v+2 <= vectors; v += 2 {
		n.ldpq(neonRight+vr(v), neonRight+vr(v)+1, p, 16*v)
	}
	if v < vectors {
		n.ldrq(neonRight+vr(v), p, 16*v)
	}
}

// upper loads the mask that pairs need.
func (n *neon) upper(of neonOperand) {
	if of == operandPairs {
		n.constants()
		n.bits(neonUpper, [4]uint32{upperHalf, upperHalf, upperHalf, upperHalf})
	}
}

// product is what a tile needs.
type neonProduct struct {
	rows []gp // of a
	// rsa and csa are the strides of a, rsb that of b, all in bytes; 0 stands for csa 4
	// and rsb a whole panel.
	csa, rsb gp
	b, k     gp
	far      gp // -1: nothing is fetched
	of       neonOperand
	// temporaries
	offset, at, left gp
}

// multiply sets the tile [rows × vectors] to the product.
func (n *neon) multiply(p *neonProduct, rows, vectors int) {
	if p.of == operandDots {
		n.multiplyDots(p, rows, vectors)
		return
	}
	for i := range vr(rows * vectors) {
		n.zero(neonTile + i)
	}
	n.op("MOVD ZR, %v", p.offset)
	n.op("MOVD %v, %v", p.b, p.at)
	n.op("MOVD %v, %v", p.k, p.left)
	loop := n.label("loop")
	n.mark(loop)
	n.right(vectors, p.at, p.of)
	if p.far >= 0 {
		n.op("ADD %v, %v, %v", p.at, p.far, scratch)
		n.op("PRFM (%v), PLDL1KEEP", scratch)
	}
	for i := range rows {
		e := neonElement + vr(i%3)
		n.ldrsx(e, p.rows[i], p.offset)
		for v := range vectors {
			n.fmlaFirst(neonTile+vr(i*vectors+v), neonRight+vr(v), e)
		}
	}
	if p.rsb >= 0 {
		n.op("ADD %v, %v", p.rsb, p.at)
	} else {
		n.op("ADD $%d, %v", 16*neonVectors, p.at)
	}
	if p.csa >= 0 {
		n.op("ADD %v, %v", p.csa, p.offset)
	} else {
		n.op("ADD $4, %v", p.offset)
	}
	n.op("SUBS $1, %v", p.left)
	n.op("BNE %s", loop)
}

// rowsOf sets pointers to the rows of a, rsa bytes apart.
func (n *neon) rowsOf(a, rsa gp, count int) []gp {
	rows := []gp{a}
	for i := 1; i < count; i++ {
		r := n.gp()
		n.op("ADD %v, %v, %v", rsa, rows[i-1], r)
		rows = append(rows, r)
	}
	return rows
}

// gemm writes kernels.gemm, gemmPairs or bf16Kernels.gemm.
func (n *neon) gemm(name, doc string, kind neonOperand) {
	n.function(name+"NEON", "m, n, k int, alpha float32, a *float32, rsa, csa int, b *float32, rsb int, beta float32, c *float32, ldc int", "", doc)
	n.upper(kind)
	if kind == operandPairs {
		n.release(n.base)
	}
	m, columns, a, rsa := n.integer("m"), n.integer("n"), n.integer("a"), n.bytes("rsa")
	p := &neonProduct{b: n.integer("b"), k: n.integer("k"), csa: n.bytes("csa"), rsb: n.bytes("rsb"), far: -1, of: kind}
	c, ldc := n.integer("c"), n.bytes("ldc")
	p.offset, p.at, p.left = n.gp(), n.gp(), n.gp()
	lines := neonRows
	if kind == operandDots {
		lines = neonRows / 2
	}
	p.rows = n.rowsOf(a, rsa, lines)
	done := n.label("done")
	var of [neonVectors + 1]string
	for v := neonVectors; v > 1; v-- {
		of[v] = n.label("vectors")
		n.op("CMP $%d, %v", 4*(v-1), columns)
		n.op("BGT %s", of[v])
	}
	for v := 1; v <= neonVectors; v++ {
		if v > 1 {
			n.mark(of[v])
		}
		full, rest := n.label("full"), n.label("rest")
		n.mark(full)
		n.op("CMP $%d, %v", neonRows, m)
		n.op("BLT %s", rest)
		n.multiply(p, neonRows, v)
		n.update(neonRows, v, columns, c, ldc, p)
		// rows += lines·rsa
		n.op("ADD %v<<1, %v, %v", rsa, rsa, p.offset)
		for _, r := range p.rows {
			n.op("ADD %v<<%d, %v", p.offset, lines/3-1, r)
		}
		n.op("SUB $%d, %v", neonRows, m)
		n.op("B %s", full)
		n.mark(rest)
		n.op("CBZ %v, %s", m, done)
		var rows [neonRows]string
		for r := 1; r < neonRows-1; r++ {
			rows[r] = n.label("rows")
			n.op("CMP $%d, %v", r, m)
			n.op("BEQ %s", rows[r])
		}
		for r := neonRows - 1; r > 0; r-- {
			if r < neonRows-1 {
				n.mark(rows[r])
			}
			n.multiply(p, r, v)
			n.update(r, v, columns, c, ldc, p)
			n.op("B %s", done)
		}
	}
	n.mark(done)
	n.end()
}

// update computes c = alpha·tile + beta·c and moves c past the rows.
func (n *neon) update(rows, vectors int, columns, c, ldc gp, p *neonProduct) {
	alpha, beta := neonRight, neonRight+1
	n.scalar("alpha", alpha)
	for i := range vr(rows * vectors) {
		n.fmulFirst(neonTile+i, neonTile+i, alpha)
	}
	store, edge, edgeStore, next := n.label("store"), n.label("edge"), n.label("edgeStore"), n.label("next")
	partial, bits := p.at, p.left
	n.op("SUB $%d, %v, %v", 4*vectors, columns, partial) // −3 to 0
	n.op("MOVWU beta+%d(FP), %v", n.offset("beta"), bits)
	n.op("LSLW $1, %v, %v", bits, bits) // drops the sign of a zero
	n.op("CBNZ %v, %s", partial, edge)
	n.op("CBZW %v, %s", bits, store)
	n.scalar("beta", beta)
	n.write(rows, vectors, c, ldc, partial, true, false)
	n.op("B %s", next)
	n.mark(store)
	n.write(rows, vectors, c, ldc, partial, false, false)
	n.op("B %s", next)
	n.mark(edge)
	n.op("ADD $4, %v", partial) // columns of the last vector
	n.op("CBZW %v, %s", bits, edgeStore)
	n.scalar("beta", beta)
	n.write(rows, vectors, c, ldc, partial, true, true)
	n.op("B %s", next)
	n.mark(edgeStore)
	n.write(rows, vectors, c, ldc, partial, false, true)
	n.mark(next)
}

// write stores the tile in c; if add, it first adds beta·c to it. edge says that the last
// vector has partial columns, 1 to 3.
func (n *neon) write(rows, vectors int, c, ldc, partial gp, add, edge bool) {
	beta, old := neonRight+1, neonRight+2
	for i := range rows {
		for v := range vectors {
			t := neonTile + vr(i*vectors+v)
			if !edge || v < vectors-1 {
				if add {
					n.ldrq(old, c, 16*v)
					n.fmlaFirst(t, old, beta)
				}
				n.strq(t, c, 16*v)
				continue
			}
			// The bits of partial say whether two columns are left, and then one.
			n.op("ADD $%d, %v, %v", 16*v, c, scratch)
			one, done := n.label("one"), n.label("stored")
			n.op("TBZ $1, %v, %s", partial, one)
			n.upperHalf(old+1, t)
			if add {
				n.ldrd(old, scratch)
				n.fmlaFirst(t, old, beta)
			}
			n.strd(t, scratch)
			n.move(t, old+1)
			n.op("ADD $8, %v", scratch)
			n.mark(one)
			n.op("TBZ $0, %v, %s", partial, done)
			if add {
				n.ldrs(old, scratch)
				n.fmlaFirst(t, old, beta)
			}
			n.strs(t, scratch)
			n.mark(done)
		}
		n.op("ADD %v, %v", ldc, c)
	}
}

// stream writes kernels.stream or streamPairs, for one row: it reads as many panels side
// by side as the other instruction sets.
func (n *neon) stream(name, doc string, of neonOperand) {
	n.function(name+"NEON", "m, k int, alpha float32, a *float32, rsa, csa int, b *float32, step int, beta float32, c *float32, ldc int", "", doc)
	n.upper(of)
	const vectors = neonVectors * streamPanels
	const tile vr = 16
	width := 16 * neonVectors
	if of == operandPairs {
		width /= 2
	}
	a, csa, k, c := n.integer("a"), n.bytes("csa"), n.integer("k"), n.integer("c")
	panels, step := []gp{n.integer("b")}, n.bytes("step")
	for i := 1; i < streamPanels; i++ {
		r := n.gp()
		n.op("ADD %v, %v, %v", step, panels[i-1], r)
		panels = append(panels, r)
	}
	for i := range vr(vectors) {
		n.zero(tile + i)
	}
	loop, store := n.label("loop"), n.label("store")
	n.mark(loop)
	n.ldrs(neonElement, a)
	for j, p := range panels {
		n.right(neonVectors, p, of)
		for v := range neonVectors {
			n.fmlaFirst(tile+vr(j*neonVectors+v), neonRight+vr(v), neonElement)
		}
		n.op("ADD $%d, %v", width, p)
	}
	n.op("ADD %v, %v", csa, a)
	n.op("SUBS $1, %v", k)
	n.op("BNE %s", loop)
	alpha, beta, old := neonRight, neonRight+1, neonRight+2
	n.scalar("alpha", alpha)
	for i := range vr(vectors) {
		n.fmulFirst(tile+i, tile+i, alpha)
	}
	n.op("MOVWU beta+%d(FP), %v", n.offset("beta"), k)
	n.op("LSLW $1, %v, %v", k, k) // drops the sign of a zero
	n.op("CBZW %v, %s", k, store)
	n.scalar("beta", beta)
	for i := range vectors {
		n.ldrq(old, c, 16*i)
		n.fmlaFirst(tile+vr(i), old, beta)
	}
	n.mark(store)
	for i := 0; i < vectors; i += 2 {
		n.stpq(tile+vr(i), tile+vr(i)+1, c, 16*i)
	}
	n.end()
}

// panels writes a kernel that goes over the panels of b itself, and only stores: scores
// or decode.
func (n *neon) panels(name, params, doc string) {
	n.function(name+"NEON", params, "", doc)
	m, columns, a, rsa := n.integer("m"), n.integer("n"), n.integer("a"), n.bytes("rsa")
	p := &neonProduct{b: n.integer("b"), k: n.integer("k"), csa: -1, rsb: -1, far: -1}
	step, c, ldc := n.bytes("step"), n.integer("c"), n.bytes("ldc")
	if _, ok := n.offsets["rsb"]; ok {
		p.rsb, p.far = n.bytes("rsb"), n.integer("far")
	}
	p.offset, p.at, p.left = n.gp(), n.gp(), n.gp()
	p.rows = n.rowsOf(a, rsa, neonRows)
	var rows [neonRows]string
	for r := 1; r < neonRows; r++ {
		rows[r] = n.label("rows")
		n.op("CMP $%d, %v", r, m)
		n.op("BEQ %s", rows[r])
	}
	for r := neonRows; r > 0; r-- {
		if r < neonRows {
			n.mark(rows[r])
		}
		panel, rest := n.label("panel"), n.label("rest")
		n.mark(panel)
		n.op("CMP $%d, %v", 4*neonVectors, columns)
		n.op("BLT %s", rest)
		n.multiply(p, r, neonVectors)
		n.keep(r, neonVectors, c, ldc, p.at)
		n.op("ADD %v, %v", step, p.b)
		n.op("ADD $%d, %v", 16*neonVectors, c)
		n.op("SUB $%d, %v", 4*neonVectors, columns)
		n.op("B %s", panel)
		n.mark(rest)
		for v := neonVectors - 1; v > 0; v-- {
			other := n.label("fewer")
			n.op("CMP $%d, %v", 4*v, columns)
			n.op("BNE %s", other)
			n.multiply(p, r, v)
			n.keep(r, v, c, ldc, p.at)
			n.op("RET")
			n.mark(other)
		}
		n.end()
	}
}

// keep stores a tile; c stays where it is.
func (n *neon) keep(rows, vectors int, c, ldc, at gp) {
	n.op("MOVD %v, %v", c, at)
	for i := range rows {
		for v := range vectors {
			n.strq(neonTile+vr(i*vectors+v), at, 16*v)
		}
		n.op("ADD %v, %v", ldc, at)
	}
}
