package cuda

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/internal/gputest"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// TestSteady: operations that were called before with the same shapes allocate
// nothing in Go.
func TestSteady(t *testing.T) {
	for _, p := range []tensor.Precision{tensor.PrecisionFloat32, tensor.PrecisionBFloat16} {
		o := options(t)
		o.Precision = p
		b := opened(t, o)
		const rows, heads, dim, cols = 6, 2, 4, 8
		r := func(n int) tensor.Buffer { return b.Alloc(n) }
		x, y, z, w, sum := r(rows*cols), r(rows*cols), r(rows*cols), r(cols), r(cols)
		inv, mean, one := r(rows), r(rows), r(1)
		lse, stats := r(rows*heads), r(3*rows)
		idx, pos, freq := []int32{3, 1, 3, 0, 2, 5}, []int32{0, 1, 2, 3, 4, 5}, []float32{1, 0.5}
		at := &tensor.Attention{Segments: []tensor.Segment{{Start: 0, End: 3, Prefix: -1}, {Start: 3, End: 6, Prefix: 0}}, Heads: heads, KVHeads: heads, HeadDim: dim, Causal: true, Scale: 1}
		cache := tensor.CacheShape{Rows: rows, KVHeads: heads, HeadDim: dim}
		decode := &tensor.Decode{Cache: cache, Heads: heads, Scale: 1, Ranges: [][]tensor.Range{{{Start: 0, End: 3}}, {{Start: 0, End: 1}}, {{Start: 0, End: 2}}, {{Start: 0, End: 3}}, {{Start: 0, End: 3}}, {{Start: 0, End: 3}}}}
		draws := &tensor.Draws{Rows: idx[3:5], Temperature: []float32{1, 1}, TopK: []int32{0, 3}, TopP: []float32{0, 0.5}, Uniform: []float32{0.1, 0.2}}
		drawn := r(6)
		matrix, square := r(cols*cols), r(cols*cols)
		tensor.KeepWeight(b, matrix)
		tall, wide := r(20*cols), r(20*cols)
		update := &tensor.AdamW{LR: 0.1, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, Step: 1, Scale: 1}
		all, grads := []tensor.AdamWTensor{{P: sum, G: w, M: r(cols), V: r(cols)}}, []tensor.Buffer{w}
		for name, run := range map[string]func(){
			"Fill":        func() { b.Fill(x, 1) },
			"Copy":        func() { b.Copy(x, y) },
			"Axpy":        func() { b.Axpy(x, 1, y) },
			"SumSquares":  func() { b.SumSquares(one, y) },
			"MatMul":      func() { b.MatMul(tensor.OpN, tensor.OpT, 20, cols, cols, 1, tall, matrix, 0, wide) },
			"MatMulFew":   func() { b.MatMul(tensor.OpN, tensor.OpT, rows, cols, cols, 1, x, matrix, 0, y) },
			"MatMulGrad":  func() { b.MatMul(tensor.OpT, tensor.OpN, cols, cols, rows, 1, x, y, 1, square) },
			"Linear":      func() { b.Linear(wide, tall, matrix, w, tall, 20, cols, cols) },
			"TopK":        func() { b.TopK(wide, tall, 20, cols, cols, cols) },
			"AddBias":     func() { b.AddBias(x, w, rows, cols) },
			"SumRows":     func() { b.SumRows(sum, x, rows, cols) },
			"Gather":      func() { b.Gather(x, y, idx, cols) },
			"ScatterAdd":  func() { b.ScatterAdd(x, y, idx, cols) },
			"RMSNorm":     func() { b.RMSNorm(y, inv, x, w, rows, cols, 1e-5) },
			"RMSNormGrad": func() { b.RMSNormGrad(y, sum, z, x, w, inv, rows, cols) },
			"LayerNorm":   func() { b.LayerNorm(y, mean, inv, x, w, sum, rows, cols, 1e-5) },
			"RoPE":        func() { b.RoPE(x, pos, freq, heads, dim, false) },
			"Attend":      func() { b.Attend(x, lse, y, y, y, at) },
			"AttendGrad":  func() { b.AttendGrad(x, z, z, y, y, lse, y, y, y, at) },
			"StoreCache":  func() { b.StoreCache(x, z, y, y, pos, cache) },
			"AttendCache": func() { b.AttendCache(x, y, z, z, decode) },
			"SwiGLU":      func() { b.SwiGLU(x, y, z) },
			"SwiGLUGrad":  func() { b.SwiGLUGrad(x, y, z, x, y) },
			"GELU":        func() { b.GELU(x, y) },
			"LogProb":     func() { b.LogProb(inv, mean, stats, x, idx[:rows], cols, 1) },
			"LogProbGrad": func() { b.LogProbGrad(x, inv, nil, stats, idx[:rows], cols, 1) },
			"Sample":      func() { b.Sample(drawn, x, cols, draws) },
			"Norm":        func() { b.Norm(one, grads) },
			"UpdateAll":   func() { b.UpdateAll(all, update, one, 1) },
			"AdamW":       func() { b.AdamW(all[0].P, all[0].G, all[0].M, all[0].V, update) },
			"KeepWeight": func() {
				b.Axpy(matrix, 1, square)
				b.MatMul(tensor.OpN, tensor.OpT, 20, cols, cols, 1, tall, matrix, 0, wide)
			},
		} {
			run()
			assert.Zero(t, testing.AllocsPerRun(10, run), "%v %s", p, name)
		}
		require.NoError(t, b.Sync())
	}
}

// TestSteadyMemory: the same work again takes no more memory of the device.
func TestSteadyMemory(t *testing.T) {
	b := opened(t, options(t))
	_, err := gputest.Work(b)
	require.NoError(t, err)
	s := b.Stats()
	_, err = gputest.Work(b)
	require.NoError(t, err)
	assert.Equal(t, s.Peak, b.Stats().Peak)
	assert.Equal(t, s.InUse, b.Stats().InUse)
}
