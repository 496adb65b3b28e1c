package gputest

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// Result is what an operation of Work computed.
type Result struct {
	Name   string
	Values []float32
}

// work is a backend with what Work notes.
type work struct {
	tensor.Backend
	rng     *rand.Rand
	wholes  []tensor.Buffer
	results []Result
	err     error
}

// guard is how many NaNs stand on each side of a buffer.
const guard = 7

// Alloc returns a buffer between guards.
func (w *work) Alloc(n int) tensor.Buffer {
	whole := w.Backend.Alloc(n + 2*guard)
	w.wholes = append(w.wholes, whole)
	w.Fill(whole, float32(math.NaN()))
	b := w.Slice(whole, guard, guard+n)
	w.Fill(b, 0)
	return b
}

// free frees all buffers. It is an error if an operation wrote into a guard.
func (w *work) free() {
	for _, whole := range w.wholes {
		v := make([]float32, whole.Len())
		if err := w.Read(v, whole); err != nil && w.err == nil {
			w.err = err
		}
		for i := range guard {
			if v[i] == v[i] || v[len(v)-1-i] == v[len(v)-1-i] {
				w.err = cmp.Or(w.err, fmt.Errorf("an operation wrote outside its buffer of %d elements", len(v)-2*guard))
			}
		}
		w.Free(whole)
	}
}

func (w *work) normal(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(w.rng.NormFloat64())
	}
	return v
}

func (w *work) random(n int) tensor.Buffer {
	b := w.Alloc(n)
	w.Write(b, w.normal(n))
	return b
}

func (w *work) indices(n, limit int) []int32 {
	idx := make([]int32, n)
	for i := range idx {
		idx[i] = int32(w.rng.IntN(limit))
	}
	return idx
}

func (w *work) keep(name string, bufs ...tensor.Buffer) {
	for i, b := range bufs {
		v := make([]float32, b.Len())
		if err := w.Read(v, b); err != nil && w.err == nil {
			w.err = fmt.Errorf("%s: %w", name, err)
		}
		w.results = append(w.results, Result{fmt.Sprintf("%s, %d", name, i), v})
	}
}

// Work calls every operation on b, with sizes that are small, for tools under
// which a kernel takes a thousand times as long, but have several blocks, ragged
// ends and every variant of a kernel. It returns what they computed, which is the
// same on every correct backend but for rounding.
func Work(b tensor.Backend) ([]Result, error) {
	w := &work{Backend: b, rng: rand.New(rand.NewPCG(3, 4))}
	w.vectors()
	w.rows()
	w.products()
	w.attention()
	w.head()
	w.update()
	w.halves()
	w.free()
	if err := b.Sync(); err != nil {
		return nil, err
	}
	return w.results, w.err
}

// Compare returns an error unless every result is as close to the wanted one as
// tolerance times the largest of its magnitudes.
func Compare(got, want []Result, tolerance float64) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d results, want %d", len(got), len(want))
	}
	for i, w := range want {
		largest := 0.0
		for _, v := range w.Values {
			largest = max(largest, math.Abs(float64(v)))
		}
		for j, v := range w.Values {
			if diff := math.Abs(float64(got[i].Values[j]) - float64(v)); !(diff <= tolerance*largest) {
				return fmt.Errorf("%s: element %d is %v, want %v", w.Name, j, got[i].Values[j], v)
			}
		}
	}
	return nil
}

func (w *work) vectors() {
	const n = 1030 // more than a block does
	x, y, z := w.random(n), w.random(n), w.random(n)
	w.Axpy(x, 0.5, y)
	w.keep("Axpy", x)
	sum := w.Alloc(1)
	w.SumSquares(sum, w.random(2500))
	w.keep("SumSquares", sum)
	out, dx, dy := w.Alloc(n), w.Alloc(n), w.Alloc(n)
	w.SwiGLU(out, x, y)
	w.SwiGLUGrad(dx, dy, z, x, y)
	w.keep("SwiGLU", out, dx, dy)
	tensor.GELU(w.Backend, out, x)
	tensor.GELUGrad(w.Backend, dx, z, x)
	w.keep("GELU", out, dx)
	tensor.Tanh(w.Backend, out, x)
	tensor.TanhGrad(w.Backend, dx, z, out)
	w.keep("Tanh", out, dx)
	tensor.GeGLU(w.Backend, out, x, y)
	tensor.GeGLUGrad(w.Backend, dx, dy, z, x, y)
	w.keep("GeGLU", out, dx, dy)
	m, v := w.Alloc(n), w.Alloc(n)
	w.AdamW(x, z, m, v, &tensor.AdamW{LR: 0.1, Beta1: 0.9, Beta2: 0.99, Eps: 1e-3, WeightDecay: 0.1, Step: 1, Scale: 0.5})
	w.keep("AdamW", x, m, v)
}

func (w *work) rows() {
	const rows, cols = 37, 140
	x, dy, weight, bias := w.random(rows*cols), w.random(rows*cols), w.random(cols), w.random(cols)
	sum := w.random(cols)
	w.AddBias(x, bias, rows, cols)
	w.SumRows(sum, x, rows, cols)
	w.keep("AddBias, SumRows", x, sum)
	y, inv, mean, dx, dw, dbias := w.Alloc(rows*cols), w.Alloc(rows), w.Alloc(rows), w.random(rows*cols), w.random(cols), w.random(cols)
	w.RMSNorm(y, inv, x, weight, rows, cols, 1e-5)
	w.RMSNormGrad(dx, dw, dy, x, weight, inv, rows, cols)
	w.keep("RMSNorm", y, inv, dx, dw)
	tensor.LayerNorm(w.Backend, y, mean, inv, x, weight, bias, rows, cols, 1e-5)
	tensor.LayerNormGrad(w.Backend, dx, dw, dbias, dy, x, weight, mean, inv, rows, cols)
	w.keep("LayerNorm", y, mean, inv, dx, dw, dbias)
	idx := w.indices(50, rows)
	gathered := w.Alloc(len(idx) * cols)
	w.Gather(gathered, x, idx, cols)
	w.ScatterAdd(dx, gathered, idx, cols)
	w.keep("Gather, ScatterAdd", gathered, dx)
	freq := []float32{1, 0.5, 0.25, 0.125, 0.0625}
	w.RoPE(x, w.indices(rows, 100), freq, cols/10, 10, false)
	w.keep("RoPE", x)
}

func (w *work) products() {
	for _, s := range [][3]int{{1, 20, 130}, {2, 20, 40}, {3, 20, 40}, {7, 20, 40}, {66, 70, 20}} {
		m, n, k := s[0], s[1], s[2]
		for i := range 4 {
			c := w.random(m * n)
			w.MatMul(tensor.Op(i&1 != 0), tensor.Op(i&2 != 0), m, n, k, 0.5, w.random(m*k), w.random(k*n), float32(i%2), c)
			w.keep(fmt.Sprintf("MatMul %d×%d×%d %d", m, n, k, i), c)
		}
		y := w.random(m * n)
		tensor.Linear(w.Backend, y, w.random(m*k), w.random(k*n), w.random(n), w.random(m*n), m, n, k)
		w.keep(fmt.Sprintf("Linear %d×%d×%d", m, n, k), y)
		for _, f := range []tensor.Format{tensor.FormatFloat32, tensor.FormatBFloat16} {
			a, b, c := w.random(m*k), w.Alloc(k*n), w.random(m*n)
			values := w.normal(k * n)
			for i := range values { // that bfloat16 has
				values[i] = float32(math.Round(float64(values[i]) * 8))
			}
			w.Write(b, values)
			if p, ok := w.Backend.(tensor.Packer); ok {
				packed := w.Alloc(p.PackedLen(f, n, k))
				p.Pack(f, packed, tensor.OpN, n, k, b)
				p.MatMulPacked(f, m, k, 1, a, 1, tensor.Product{N: n, P: packed, C: c})
			} else {
				w.MatMul(tensor.OpN, tensor.OpN, m, n, k, 1, a, b, 1, c)
			}
			w.keep(fmt.Sprintf("MatMulPacked %d×%d×%d %d", m, n, k, f), c)
		}
	}
}

func (w *work) attention() {
	for _, size := range []struct{ dim, tile int }{{6, 32}, {66, 16}, {130, 8}} {
		dim := size.dim
		for _, causal := range []bool{true, false} {
			first := size.tile + 3 // more rows than a tile has, and keys
			at := &tensor.Attention{
				Segments: []tensor.Segment{{Start: 0, End: first, Prefix: -1}, {Start: first, End: first + 2, Prefix: 0}, {Start: first + 2, End: first + 5, Prefix: 0}},
				Heads:    2, KVHeads: 1, HeadDim: dim, Causal: causal, Scale: 0.3,
			}
			if !causal { // and a window, with which there are no prefixes
				at.Window, at.Segments[1].Prefix, at.Segments[2].Prefix = 2, -1, -1
			}
			rows := first + 6 // one in no segment
			q, k, v, dout := w.random(rows*2*dim), w.random(rows*dim), w.random(rows*dim), w.random(rows*2*dim)
			out, lse := w.Alloc(rows*2*dim), w.Alloc(rows*2)
			w.Attend(out, lse, q, k, v, at)
			dq, dk, dv := w.random(rows*2*dim), w.random(rows*dim), w.random(rows*dim)
			w.AttendGrad(dq, dk, dv, dout, out, lse, q, k, v, at)
			w.keep(fmt.Sprintf("Attend with heads of %d, causal %v", dim, causal), out, lse, dq, dk, dv)
		}
		cache := tensor.CacheShape{Rows: 150, KVHeads: 1, HeadDim: dim}
		kc, vc := w.Alloc(tensor.CacheLen(w.Backend, cache)), w.Alloc(tensor.CacheLen(w.Backend, cache))
		slots := make([]int32, cache.Rows)
		for i := range slots {
			slots[i] = int32((i * 7) % cache.Rows)
		}
		tensor.StoreCache(w.Backend, kc, vc, w.random(cache.Rows*dim), w.random(cache.Rows*dim), slots, cache)
		out := w.Alloc(3 * 2 * dim)
		tensor.AttendCache(w.Backend, out, w.random(3*2*dim), kc, vc, &tensor.Decode{
			Cache: cache, Heads: 2, Scale: 0.3,
			Ranges: [][]tensor.Range{{{Start: 0, End: 149}}, {{Start: 3, End: 4}, {Start: 10, End: 30}}, {{Start: 149, End: 150}}},
		})
		w.keep(fmt.Sprintf("AttendCache with heads of %d", dim), out)
	}
}

func (w *work) head() {
	const rows, vocab = 5, 700
	logits, logp, entropy, stats := w.random(rows*vocab), w.Alloc(rows), w.Alloc(rows), w.Alloc(3*rows)
	if s, ok := w.Backend.(tensor.Sampler); ok {
		drawn := w.Alloc(4 * 3)
		s.Sample(drawn, logits, vocab, &tensor.Draws{
			Rows: []int32{0, 1, 1, 4}, Temperature: []float32{1, 0, 0.7, 1.5}, TopK: []int32{0, 0, 20, 0},
			TopP: []float32{0, 1, 0.9, 0.5}, Uniform: []float32{0.3, 0.5, 0.9, 0.1},
		})
		w.keep("Sample", drawn)
	}
	top := w.Alloc(rows * 20)
	tensor.TopK(w.Backend, top, logits, rows, vocab, vocab, 20)
	w.keep("TopK", top)
	targets := w.indices(rows, vocab)
	w.LogProb(logp, entropy, stats, logits, targets, vocab, 0.7)
	w.LogProbGrad(logits, logp, entropy, stats, targets, vocab, 0.7)
	w.keep("LogProb", logp, entropy, stats, logits)
}

func (w *work) update() {
	sizes := []int{3, 1030, 40}
	var tensors []tensor.AdamWTensor
	var grads []tensor.Buffer
	for i, n := range sizes {
		t := tensor.AdamWTensor{P: w.random(n), G: w.random(n), M: w.Alloc(n), V: w.Alloc(n), NoDecay: i == 1}
		tensors, grads = append(tensors, t), append(grads, t.G)
	}
	norm, o := w.Alloc(1), tensor.AdamW{LR: 0.1, Beta1: 0.9, Beta2: 0.99, Eps: 1e-3, WeightDecay: 0.1, Step: 1, Scale: 1}
	u, ok := w.Backend.(tensor.Updater)
	if !ok {
		return
	}
	u.Norm(norm, grads)
	u.UpdateAll(tensors, &o, norm, 0.5)
	w.keep("UpdateAll", norm, tensors[0].P, tensors[1].P, tensors[2].P)
}

// halves copies between kinds of buffers, with values that bfloat16 has.
func (w *work) halves() {
	const n = 1030
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(w.rng.IntN(255) - 127)
	}
	x, y, z := w.Alloc(n), tensor.Alloc16(w.Backend, n), w.Alloc(n)
	w.Write(x, values)
	w.Copy(y, x)
	w.Fill(w.Slice(y, 5, 700), 3)
	w.Copy(z, y)
	w.keep("Copy by 16 bits", z)
	w.Free(y)
}
