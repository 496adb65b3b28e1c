package backendtest

import (
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// workloads returns one workload for each operation, or few. They clear the
// slices and structs that they passed: a backend must not retain them.
func workloads() []workload {
	exact := func(name string, tol float64, run func(e *env)) workload {
		return workload{name: name, tol: tol, run: run}
	}
	products := func(name string, tol, tf32, bf16 float64, run func(e *env)) workload {
		return workload{name: name, tol: tol, run: run, rounded: [2]float64{tf32, bf16}}
	}
	tf32, bf16 := tensor.PrecisionTF32.Tolerance(), tensor.PrecisionBFloat16.Tolerance()
	list := []workload{
		exact("Fill Copy Axpy", 1e-6, elementwise),
		exact("SumSquares", 1e-7, sumSquares),
		exact("AdamW", 1e-5, adamW),
		products("MatMul", tensor.PrecisionFloat32.Tolerance(), tf32, bf16, matMul),
		products("Linear", tensor.PrecisionFloat32.Tolerance(), tf32, bf16, linear),
		products("KeepWeight", tensor.PrecisionFloat32.Tolerance(), tf32, bf16, keepWeight),
		exact("AddBias SumRows", 5e-6, addBias),
		exact("Gather ScatterAdd", 1e-6, gather),
		exact("RMSNorm", 1e-5, rmsNorm),
		exact("LayerNorm", 1e-5, layerNorm),
		exact("RoPE", 2e-5, rope),
		exact("SwiGLU", 1e-5, swiGLU),
		exact("GELU", 1e-6, gelu),
		exact("GeGLU", 1e-6, geGLU),
		exact("Tanh", 1e-6, tanh),
		exact("LogProb", 1e-5, logProb),
		exact("TopK", 0, topK),
		products("Attend", 2e-5, 4*tf32, 4*bf16, func(e *env) { attend(e, 1) }),
		products("Attend with large scores", 5e-4, 40*tf32, 40*bf16, func(e *env) { attend(e, 12) }),
		products("Attend with a window", 2e-5, 4*tf32, 4*bf16, attendWindow),
		products("StoreCache AttendCache", 2e-5, 4*tf32, 4*bf16, attendCache),
		exact("Norm UpdateAll", 1e-5, updateAll),
		products("Alloc16", 1e-2, 1e-2, 4*bf16, alloc16),
	}
	list[len(list)-2].needs = func(b tensor.Backend) bool { _, ok := b.(tensor.Updater); return ok }
	list[len(list)-1].needs = func(b tensor.Backend) bool { _, ok := b.(tensor.Allocator16); return ok }
	return list
}

// sizes are lengths of vectors: around the widths of SIMD registers, and
// more than one goroutine's share.
var sizes = []int{0, 1, 3, 8, 15, 16, 17, 31, 64, 100, 1023, 70001}

func elementwise(e *env) {
	for _, n := range sizes {
		dst, x := e.nan(n), e.random(n)
		e.Fill(dst, -2.5)
		e.keep(fmt.Sprintf("Fill of %d", n), dst)
		e.Copy(dst, x)
		e.keep(fmt.Sprintf("Copy of %d", n), dst)
		e.Axpy(dst, 0.3, e.random(n))
		e.keep(fmt.Sprintf("Axpy of %d", n), dst)
	}
}

func sumSquares(e *env) {
	for _, n := range sizes {
		dst := e.nan(1)
		e.SumSquares(dst, e.random(n))
		e.keep(fmt.Sprintf("SumSquares of %d", n), dst)
	}
	// 10⁸ + 10⁶·10⁻⁴: a float32 sum would lose every small term.
	x := make([]float32, 1_000_001)
	for i := range x {
		x[i] = 0.01
	}
	x[0] = 1e4
	dst := e.nan(1)
	e.SumSquares(dst, e.buffer(x))
	e.keep("SumSquares of one large and many small values", dst)
}

func adamW(e *env) {
	for _, n := range sizes {
		p, m, v := e.random(n), e.buffer(make([]float32, n)), e.buffer(make([]float32, n))
		for step := 1; step <= 3; step++ {
			o := &tensor.AdamW{LR: 1e-2, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, Step: step, Scale: 0.7}
			e.AdamW(p, e.random(n), m, v, o)
			*o = tensor.AdamW{}
		}
		e.keep(fmt.Sprintf("AdamW p of %d", n), p)
		e.keep(fmt.Sprintf("AdamW m of %d", n), m)
		e.keep(fmt.Sprintf("AdamW v of %d", n), v)
		// No gradient yet, no decay: p stays as it is.
		zero := e.buffer(make([]float32, n))
		e.AdamW(p, zero, e.buffer(make([]float32, n)), e.buffer(make([]float32, n)),
			&tensor.AdamW{LR: 1, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 1, Scale: 1})
		e.keep(fmt.Sprintf("AdamW p of %d without gradient", n), p)
	}
}

func matMul(e *env) {
	shapes := [][3]int{ // m, n, k
		{1, 1, 1}, {0, 4, 3}, {4, 0, 3}, {3, 4, 0}, {1, 7, 5}, {5, 1, 9}, {3, 17, 2},
		{2, 300, 64}, {6, 64, 32}, {7, 65, 33}, {64, 64, 64}, {65, 33, 130}, {150, 20, 1}, {70, 97, 257},
	}
	scales := [][2]float32{{1, 0}, {0.5, 1}, {-2, 0.25}} // alpha, beta
	for _, s := range shapes {
		m, n, k := s[0], s[1], s[2]
		for i := range 4 {
			opA, opB := tensor.Op(i&1 != 0), tensor.Op(i&2 != 0)
			for _, scale := range scales {
				c := e.nan(m * n)
				if scale[1] != 0 {
					c = e.random(m * n)
				}
				e.MatMul(opA, opB, m, n, k, scale[0], e.random(m*k), e.random(k*n), scale[1], c)
				e.keep(fmt.Sprintf("MatMul m=%d n=%d k=%d opA=%v opB=%v alpha=%v beta=%v",
					m, n, k, opA, opB, scale[0], scale[1]), c)
			}
		}
	}
}

func linear(e *env) {
	for _, s := range [][3]int{{0, 4, 3}, {4, 0, 3}, {3, 4, 0}, {1, 70, 33}, {2, 9, 40}, {4, 33, 64}, {7, 20, 65}, {65, 33, 130}, {70, 97, 257}} {
		rows, out, in := s[0], s[1], s[2]
		for i := range 6 {
			var bias, add tensor.Buffer
			y := e.nan(rows * out)
			if i&1 != 0 {
				bias = e.random(out)
			}
			switch i / 2 {
			case 1:
				add = e.random(rows * out)
			case 2:
				y = e.random(rows * out)
				add = y
			}
			tensor.Linear(e.Backend, y, e.random(rows*in), e.random(out*in), bias, add, rows, out, in)
			e.keep(fmt.Sprintf("Linear rows=%d out=%d in=%d, bias %v, add %v, in place %v", rows, out, in, bias != nil, add != nil, add == y), y)
			if add != nil {
				e.keep("add", add)
			}
		}
	}
}

func addBias(e *env) {
	for _, rows := range []int{0, 1, 5, 333} {
		for _, cols := range []int{1, 7, 16, 129} {
			x, sum := e.random(rows*cols), e.random(cols)
			e.AddBias(x, e.random(cols), rows, cols)
			e.keep(fmt.Sprintf("AddBias %d×%d", rows, cols), x)
			e.SumRows(sum, x, rows, cols)
			e.keep(fmt.Sprintf("SumRows %d×%d", rows, cols), sum)
		}
	}
}

func gather(e *env) {
	for _, n := range []int{0, 1, 6, 500} {
		for _, cols := range []int{1, 5, 64} {
			const rows = 11
			name := fmt.Sprintf("%d of %d×%d", n, rows, cols)
			idx := e.indices(n, rows)
			dst := e.nan(n * cols)
			e.Gather(dst, e.random(rows*cols), idx, cols)
			e.keep("Gather "+name, dst)

			dst = e.random(rows * cols)
			e.ScatterAdd(dst, e.random(n*cols), idx, cols)
			clear(idx)
			e.keep("ScatterAdd "+name, dst)
		}
	}
}

func rmsNorm(e *env) {
	for _, rows := range []int{0, 1, 3, 77} {
		for _, cols := range []int{1, 5, 64, 127, 300} {
			name := fmt.Sprintf(" %d×%d", rows, cols)
			x, w := e.random(rows*cols), e.random(cols)
			if rows > 1 {
				e.Fill(e.Slice(x, cols, 2*cols), 0) // only eps keeps this row finite
			}
			y, inv := e.nan(rows*cols), e.nan(rows)
			e.RMSNorm(y, inv, x, w, rows, cols, 1e-5)
			e.keep("RMSNorm y"+name, y)
			e.keep("RMSNorm inv"+name, inv)

			x = e.random(rows * cols)
			e.RMSNorm(y, inv, x, w, rows, cols, 1e-5)
			dx, dw := e.random(rows*cols), e.random(cols)
			e.RMSNormGrad(dx, dw, e.random(rows*cols), x, w, inv, rows, cols)
			e.keep("RMSNormGrad dx"+name, dx)
			e.keep("RMSNormGrad dw"+name, dw)
		}
	}
}

func layerNorm(e *env) {
	for _, rows := range []int{0, 1, 3, 77} {
		for _, cols := range []int{1, 5, 64, 127, 300} {
			name := fmt.Sprintf(" %d×%d", rows, cols)
			x, w, bias := e.random(rows*cols), e.random(cols), e.random(cols)
			if rows > 1 {
				e.Fill(e.Slice(x, cols, 2*cols), 0) // only eps keeps this row finite
			}
			y, mean, inv := e.nan(rows*cols), e.nan(rows), e.nan(rows)
			tensor.LayerNorm(e.Backend, y, mean, inv, x, w, bias, rows, cols, 1e-5)
			e.keep("LayerNorm y"+name, y)
			e.keep("LayerNorm inv"+name, inv)
			e.keep("LayerNorm mean"+name, mean)
			if cols == 1 {
				continue // x − mean is 0 but for rounding, and inv large
			}
			// A mean far from 0 must not cost the variance its digits.
			values := e.normal(rows*cols, 1)
			for i := range values {
				values[i] += 16
			}
			x = e.buffer(values)
			tensor.LayerNorm(e.Backend, y, mean, inv, x, w, bias, rows, cols, 1e-5)
			e.keep("LayerNorm y of a shifted row"+name, y)
			dx, dw, dbias := e.random(rows*cols), e.random(cols), e.random(cols)
			tensor.LayerNormGrad(e.Backend, dx, dw, dbias, e.random(rows*cols), x, w, mean, inv, rows, cols)
			e.keep("LayerNormGrad dx"+name, dx)
			e.keep("LayerNormGrad dw"+name, dw)
			e.keep("LayerNormGrad dbias"+name, dbias)
		}
	}
}

func rope(e *env) {
	for _, rows := range []int{0, 1, 4, 65} {
		for _, headDim := range []int{2, 6, 16, 64} {
			const heads = 3
			x := e.random(rows * heads * headDim)
			for _, inverse := range []bool{false, true} {
				pos, freq := e.indices(rows, 100), make([]float32, headDim/2)
				for i := range freq {
					freq[i] = 1 / float32(i+1)
				}
				e.RoPE(x, pos, freq, heads, headDim, inverse)
				clear(pos)
				clear(freq)
				e.keep(fmt.Sprintf("RoPE rows=%d headDim=%d inverse=%v", rows, headDim, inverse), x)
			}
		}
	}
}

func swiGLU(e *env) {
	for _, n := range sizes {
		values := e.normal(n, 3)
		for i := range min(n, 6) {
			values[i] = []float32{0, -20, 20, -100, 100, 1e-3}[i]
		}
		gate, up, dy := e.buffer(values), e.random(n), e.random(n)
		y, dgate, dup := e.nan(n), e.nan(n), e.nan(n)
		e.SwiGLU(y, gate, up)
		e.keep(fmt.Sprintf("SwiGLU of %d", n), y)
		e.SwiGLUGrad(dgate, dup, dy, gate, up)
		e.keep(fmt.Sprintf("SwiGLUGrad dgate of %d", n), dgate)
		e.keep(fmt.Sprintf("SwiGLUGrad dup of %d", n), dup)
		e.SwiGLUGrad(gate, up, dy, gate, up)
		e.keep(fmt.Sprintf("SwiGLUGrad dgate of %d in place", n), gate)
		e.keep(fmt.Sprintf("SwiGLUGrad dup of %d in place", n), up)
	}
}

func gelu(e *env) {
	for _, n := range sizes {
		values := e.normal(n, 2)
		for i := range min(n, 7) {
			values[i] = []float32{0, -20, 20, -6, 6, 1e-3, -1.414}[i]
		}
		x, dy := e.buffer(values), e.random(n)
		y, dx := e.nan(n), e.nan(n)
		tensor.GELU(e.Backend, y, x)
		e.keep(fmt.Sprintf("GELU of %d", n), y)
		tensor.GELUGrad(e.Backend, dx, dy, x)
		e.keep(fmt.Sprintf("GELUGrad of %d", n), dx)
		tensor.GELUGrad(e.Backend, x, dy, x)
		e.keep(fmt.Sprintf("GELUGrad of %d in place", n), x)
	}
}

// geGLU goes through the functions that fall back to the host.
func geGLU(e *env) {
	for _, n := range sizes {
		values := e.normal(n, 2)
		for i := range min(n, 7) {
			values[i] = []float32{0, -20, 20, -6, 6, 1e-3, -1.414}[i]
		}
		gate, up, dy := e.buffer(values), e.random(n), e.random(n)
		y, dgate, dup := e.nan(n), e.nan(n), e.nan(n)
		tensor.GeGLU(e.Backend, y, gate, up)
		e.keep(fmt.Sprintf("GeGLU of %d", n), y)
		tensor.GeGLUGrad(e.Backend, dgate, dup, dy, gate, up)
		e.keep(fmt.Sprintf("GeGLUGrad dgate of %d", n), dgate)
		e.keep(fmt.Sprintf("GeGLUGrad dup of %d", n), dup)
		tensor.GeGLUGrad(e.Backend, gate, up, dy, gate, up)
		e.keep(fmt.Sprintf("GeGLUGrad dgate of %d in place", n), gate)
		e.keep(fmt.Sprintf("GeGLUGrad dup of %d in place", n), up)
	}
}

// tanh goes through the functions that fall back to the host.
func tanh(e *env) {
	for _, n := range sizes {
		values := e.normal(n, 2)
		for i := range min(n, 6) {
			values[i] = []float32{0, -100, 100, -9, 9, 1e-6}[i]
		}
		x, dy := e.buffer(values), e.random(n)
		y, dx := e.nan(n), e.nan(n)
		tensor.Tanh(e.Backend, y, x)
		e.keep(fmt.Sprintf("Tanh of %d", n), y)
		tensor.TanhGrad(e.Backend, dx, dy, y)
		e.keep(fmt.Sprintf("TanhGrad of %d", n), dx)
		tensor.Tanh(e.Backend, x, x)
		e.keep(fmt.Sprintf("Tanh of %d in place", n), x)
		tensor.TanhGrad(e.Backend, dy, dy, y)
		e.keep(fmt.Sprintf("TanhGrad of %d in place", n), dy)
	}
}

func logProb(e *env) {
	for _, rows := range []int{0, 1, 9} {
		for _, vocab := range []int{1, 2, 33, 1000} {
			for _, kind := range []string{"normal", "large", "ruled out"} {
				name := fmt.Sprintf(" rows=%d vocab=%d: %s", rows, vocab, kind)
				z, targets := e.normal(rows*vocab, 1), e.indices(rows, vocab)
				for i := range z {
					switch {
					case kind == "large": // must not overflow
						z[i] *= 1e6
					case kind == "ruled out" && i%3 > 0 && i%vocab != int(targets[i/vocab]):
						z[i] = float32(math.Inf(-1))
					}
				}
				logits, logp, entropy, stats := e.buffer(z), e.nan(rows), e.nan(rows), e.nan(3*rows)
				e.LogProb(logp, entropy, stats, logits, targets, vocab, 0.7)
				e.keep("LogProb stats"+name, stats)
				e.keep("LogProb logp"+name, logp)
				e.keep("LogProb entropy"+name, entropy)
				e.LogProbGrad(logits, e.random(rows), e.random(rows), stats, targets, vocab, 0.7)
				e.keep("LogProbGrad"+name, logits)

				logits, logp = e.buffer(z), e.nan(rows)
				e.LogProb(logp, nil, stats, logits, targets, vocab, 1)
				e.keep("LogProb without entropy"+name, logp)
				e.LogProbGrad(logits, e.random(rows), nil, stats, targets, vocab, 1)
				clear(targets)
				e.keep("LogProbGrad without entropy"+name, logits)

				// At a temperature near 0 the most likely token is certain.
				for i := range targets {
					row := z[i*vocab : (i+1)*vocab]
					targets[i] = int32(slices.Index(row, slices.Max(row)))
					for j := range row {
						row[j] -= 10 // the largest is below 0, too
					}
				}
				e.LogProb(logp, entropy, stats, e.buffer(z), targets, vocab, math.MaxFloat32)
				e.keep("LogProb of the most likely"+name, logp)
				e.keep("LogProb entropy of the most likely"+name, entropy)
			}
		}
	}
}

// topK looks among values of which many are equal, infinite or NaN, too.
func topK(e *env) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, rows := range []int{0, 1, 5} {
		for _, s := range [][3]int{{1, 1, 1}, {2, 1, 1}, {17, 16, 3}, {40, 40, 40}, {300, 290, 20}, {1303, 1303, 9}} {
			cols, among, k := s[0], s[1], s[2]
			x := e.normal(rows*cols, 1)
			for i := range x {
				switch row := i / cols; {
				case row == 1:
					x[i] = float32(e.rng.IntN(5)) - 2
				case row == 2 && e.rng.IntN(3) > 0:
					x[i] = nan
				case row == 3 && e.rng.IntN(3) > 0:
					x[i] = -inf
				case row == 4:
					x[i] = []float32{nan, inf, 0, float32(math.Copysign(0, -1))}[e.rng.IntN(4)]
				}
			}
			ids := e.nan(rows * k)
			tensor.TopK(e.Backend, ids, e.buffer(x), rows, cols, among, k)
			e.keep(fmt.Sprintf("TopK %d of the first %d of %d rows of %d", k, among, rows, cols), ids)
		}
	}
}
