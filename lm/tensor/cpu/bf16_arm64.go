package cpu

// bf16NEON are the products with BFMMLA, nil if the processor has none. It multiplies
// pairs of rows by pairs of columns, four elements of k at a time: quads of four words,
// in which words 0 and 1 are of the first row, or column, and words 2 and 3 of the second.
func bf16NEON() *bf16Kernels {
	if !hasBF16() {
		return nil
	}
	return &bf16Kernels{
		unit:      2,
		gemm:      gemmDotsNEON,
		left:      quadLeft,
		panel:     quadPanel,
		peak:      peakDotsNEON,
		peakFlops: 24 * 2 * 16,
	}
}

// quadWords is the size of a quad.
const quadWords = 4

// quadLeft lays x out as pairs of rows, the quads of each one after the other.
func quadLeft(s *scratch, x view, m, k int) view {
	stride := (k+3)/4*quadWords + lineFloats
	mem := s.take((m + 1) / 2 * stride)
	quads(mem, stride, quadWords, x, m, k)
	return view{mem, stride, quadWords}
}

// quadPanel lays y out as rows of quads, one of each pair of columns.
func quadPanel(kern *kernels, _ *scratch, dst []float32, y view, k, w int) {
	step := kern.tile / 2 * quadWords
	if w < kern.tile {
		clear(dst[:(k+3)/4*step])
	}
	quads(dst, quadWords, step, view{y.data, y.cs, y.rs}, w, k)
}

// quads rounds n lines of k elements: element p of line i is x.data[i·x.rs + p·x.cs].
// Quad p of pair i is dst[i·to + p·step].
func quads(dst []float32, to, step int, x view, n, k int) {
	whole := k / 4
	lines := 0 // whose whole quads are done
	switch {
	case whole == 0:
	case x.cs == 1 && n >= 2:
		lines = n &^ 1
		quadRowsNEON(lines/2, whole, &dst[0], to, step, &x.data[0], x.rs)
	case x.rs == 1 && n >= 4:
		lines = n &^ 3
		quadColumnsNEON(whole, lines/4, &dst[0], to, step, &x.data[0], x.cs)
	}
	// What is left: the last quad of all lines, and the last lines.
	for i := 0; i < n; i += 2 {
		from := 0
		if i < lines {
			from = whole
		}
		for p := 4 * from; p < k; p += 4 {
			for h := range 2 {
				var v [4]float32
				if i+h < n {
					for j := range min(4, k-p) {
						v[j] = x.data[(i+h)*x.rs+(p+j)*x.cs]
					}
				}
				at := i/2*to + p/4*step + 2*h
				dst[at], dst[at+1] = word(v[0], v[1]), word(v[2], v[3])
			}
		}
	}
}
