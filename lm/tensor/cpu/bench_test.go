package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
)

// shapes of matrix products: large, and of a small transformer's layers.
var shapes = []struct {
	opA, opB tensor.Op
	m, n, k  int
}{
	{tensor.OpN, tensor.OpN, 1024, 1024, 1024},
	{tensor.OpN, tensor.OpT, 1024, 1024, 1024},
	{tensor.OpT, tensor.OpN, 1024, 1024, 1024},
	{tensor.OpN, tensor.OpN, 512, 768, 768},
	{tensor.OpN, tensor.OpT, 512, 768, 768},
	// A layer of width 64: forward, input gradient, weight gradient.
	{tensor.OpN, tensor.OpT, 3000, 64, 64},
	{tensor.OpN, tensor.OpN, 3000, 64, 64},
	{tensor.OpT, tensor.OpN, 64, 64, 3000},
	{tensor.OpN, tensor.OpT, 3000, 192, 64},
	{tensor.OpT, tensor.OpN, 192, 64, 3000},
	{tensor.OpN, tensor.OpT, 3000, 128, 384},
	{tensor.OpN, tensor.OpT, 500, 500, 64},
	// Decoding.
	{tensor.OpN, tensor.OpT, 64, 64, 64},
	{tensor.OpN, tensor.OpT, 256, 128, 128},
	{tensor.OpN, tensor.OpT, 256, 500, 64},
	{tensor.OpN, tensor.OpT, 1, 1024, 1024},
	{tensor.OpN, tensor.OpN, 16, 1024, 1024},
	{tensor.OpN, tensor.OpT, 16, 1024, 1024},
}

// BenchmarkMatMul prints the speed of the fastest call, because other load on
// the machine only ever slows a call down, and what part of the peak it is.
func BenchmarkMatMul(bench *testing.B) {
	for _, s := range shapes {
		name := fmt.Sprintf("%dx%dx%d", s.m, s.n, s.k)
		for i, op := range []tensor.Op{s.opA, s.opB} {
			if op {
				name += [2]string{"/At", "/Bt"}[i]
			}
		}
		flops := 2 * float64(s.m) * float64(s.n) * float64(s.k)
		x, y, z := uniform(s.m*s.k), uniform(s.k*s.n), make([]float32, s.m*s.n)
		for _, isa := range cpu.Available() {
			for _, workers := range []int{1, 2} {
				bench.Run(fmt.Sprintf("%s/%v-%d", name, isa, workers), func(bench *testing.B) {
					b := open(bench, cpu.Options{ISA: isa, Workers: workers})
					xb, yb, zb := upload(b, x), upload(b, y), upload(b, z)
					peak := b.PeakGFLOPS()
					best := fastest(bench, func() {
						b.MatMul(s.opA, s.opB, s.m, s.n, s.k, 1, xb, yb, 0, zb)
					})
					bench.ReportMetric(flops/best, "GFLOP/s")
					bench.ReportMetric(100*flops/best/peak, "%peak")
				})
			}
		}
	}
}

// fastest returns the duration of f's fastest call, in nanoseconds.
func fastest(bench *testing.B, f func()) float64 {
	best := math.Inf(1)
	for bench.Loop() {
		start := time.Now()
		f()
		best = min(best, float64(time.Since(start).Nanoseconds()))
	}
	bench.ReportMetric(0, "ns/op")
	return best
}

// uniform returns n random values in [−1, 1).
func uniform(n int) []float32 {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	x := make([]float32, n)
	for i := range x {
		x[i] = 2*rng.Float32() - 1
	}
	return x
}

func upload(b tensor.Backend, x []float32) tensor.Buffer {
	buf := b.Alloc(len(x))
	b.Write(buf, x)
	return buf
}

// BenchmarkOps runs every other operation at the shapes of a small
// transformer: 3,000 rows in segments of 90, width 64, 4 heads, 2 of keys.
func BenchmarkOps(bench *testing.B) {
	const (
		rows, length, dim, ff, vocab = 3000, 90, 64, 192, 500
		heads, kvHeads, headDim      = 4, 2, 16
		queries                      = 256
	)
	att := &tensor.Attention{Heads: heads, KVHeads: kvHeads, HeadDim: headDim, Causal: true, Scale: 0.25}
	shared := &tensor.Attention{Heads: heads, KVHeads: kvHeads, HeadDim: headDim, Causal: true, Scale: 0.25}
	for from := 0; from+length <= rows; from += length {
		prefix := -1
		if n := len(shared.Segments) % 9; n > 0 {
			prefix = len(shared.Segments) - n
		}
		att.Segments = append(att.Segments, tensor.Segment{Start: from, End: from + length, Prefix: -1})
		shared.Segments = append(shared.Segments, tensor.Segment{Start: from, End: from + length, Prefix: prefix})
	}
	// Completions of a prompt of 150 in groups of 8, each with 40 rows.
	decode := &tensor.Decode{
		Cache: tensor.CacheShape{Rows: queries / 8 * (150 + 8*40), KVHeads: kvHeads, HeadDim: headDim},
		Heads: heads, Scale: 0.25,
	}
	for i := range queries {
		prompt, own := i/8*(150+8*40), i/8*(150+8*40)+150+i%8*40
		decode.Ranges = append(decode.Ranges, []tensor.Range{{Start: prompt, End: prompt + 150}, {Start: own, End: own + 40}})
	}
	idx, pos, targets, freq := make([]int32, rows), make([]int32, rows), make([]int32, rows), make([]float32, headDim/2)
	for i := range idx {
		idx[i], pos[i], targets[i] = int32(i*7%vocab), int32(i%length), int32(i*11%vocab)
	}
	for i := range freq {
		freq[i] = 1 / float32(i+1)
	}
	for _, isa := range cpu.Available() {
		for _, workers := range []int{1, 2} {
			b := open(bench, cpu.Options{ISA: isa, Workers: workers})
			buf := func(n int) tensor.Buffer { return upload(b, uniform(n)) }
			x, y, dx, w, dw, inv, sum := buf(rows*dim), buf(rows*dim), buf(rows*dim), buf(dim), buf(dim), buf(rows), buf(1)
			k, v, dk, dv := buf(rows*kvHeads*headDim), buf(rows*kvHeads*headDim), buf(rows*kvHeads*headDim), buf(rows*kvHeads*headDim)
			q, dq, dout, lse := buf(rows*dim), buf(rows*dim), buf(rows*dim), buf(rows*heads)
			gate, up, dgate, dup := buf(rows*ff), buf(rows*ff), buf(rows*ff), buf(rows*ff)
			logits, logp, entropy, stats, table := buf(rows*vocab), buf(rows), buf(rows), buf(3*rows), buf(vocab*dim)
			p, g, m, s := buf(200_000), buf(200_000), buf(200_000), buf(200_000)
			b.SwiGLU(s, s, s) // anything that is not negative
			b.Fill(s, 1)
			cache, dqs, outs := buf(b.CacheLen(decode.Cache)), buf(queries*dim), buf(queries*dim)
			b.Attend(y, lse, q, k, v, att)
			for _, op := range []struct {
				name string
				run  func()
			}{
				{"Axpy", func() { b.Axpy(x, 1e-9, y) }},
				{"SumSquares", func() { b.SumSquares(sum, p) }},
				{"AddBias", func() { b.AddBias(x, w, rows, dim) }},
				{"SumRows", func() { b.SumRows(dw, x, rows, dim) }},
				{"Gather", func() { b.Gather(x, table, idx, dim) }},
				{"ScatterAdd", func() { b.ScatterAdd(table, x, idx, dim) }},
				{"RMSNorm", func() { b.RMSNorm(y, inv, x, w, rows, dim, 1e-5) }},
				{"RMSNormGrad", func() { b.RMSNormGrad(dx, dw, y, x, w, inv, rows, dim) }},
				{"RoPE", func() { b.RoPE(q, pos, freq, heads, headDim, false) }},
				{"Attend", func() { b.Attend(y, lse, q, k, v, att) }},
				{"AttendShared", func() { b.Attend(y, lse, q, k, v, shared) }},
				{"AttendGrad", func() { b.AttendGrad(dq, dk, dv, dout, y, lse, q, k, v, att) }},
				{"AttendCache", func() { b.AttendCache(outs, dqs, cache, cache, decode) }},
				{"SwiGLU", func() { b.SwiGLU(dgate, gate, up) }},
				{"SwiGLUGrad", func() { b.SwiGLUGrad(dgate, dup, gate, gate, up) }},
				{"GELU", func() { b.GELU(dgate, gate) }},
				{"GELUGrad", func() { b.GELUGrad(dgate, gate, gate) }},
				{"LogProb", func() { b.LogProb(logp, entropy, stats, logits, targets, vocab, 1) }},
				{"LogProbGrad", func() { b.LogProbGrad(logits, logp, nil, stats, targets, vocab, 1) }},
				{"AdamW", func() {
					b.AdamW(p, g, m, s, &tensor.AdamW{LR: 1e-3, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, Step: 9, Scale: 1})
				}},
			} {
				bench.Run(fmt.Sprintf("%s/%v-%d", op.name, isa, workers), func(bench *testing.B) {
					bench.ReportAllocs()
					bench.ReportMetric(fastest(bench, op.run)/1000, "µs")
				})
			}
		}
	}
}

// BenchmarkAttend prints the speed of causal attention over 16 sequences of 256 tokens
// and over single ones of a model with one key head, in the operations of the weights that are not 0: four for each
// element of a head forward, ten backward.
func BenchmarkAttend(bench *testing.B) {
	for _, s := range []struct{ sequences, length, heads, kvHeads, headDim int }{
		{16, 256, 4, 4, 16}, {16, 256, 4, 2, 32}, {16, 256, 5, 5, 64}, {1, 256, 4, 1, 64}, {1, 1024, 4, 1, 64}, {1, 2048, 4, 1, 64},
	} {
		sequences, length := s.sequences, s.length
		a := &tensor.Attention{Heads: s.heads, KVHeads: s.kvHeads, HeadDim: s.headDim, Causal: true, Scale: 0.2}
		for i := range sequences {
			a.Segments = append(a.Segments, tensor.Segment{Start: i * length, End: (i + 1) * length, Prefix: -1})
		}
		rows := sequences * length
		elements := float64(sequences*length*(length+1)/2) * float64(s.heads*s.headDim)
		for _, workers := range []int{1, 2} {
			b := open(bench, cpu.Options{Workers: workers})
			buf := func(cols int) tensor.Buffer { return upload(b, uniform(rows*cols)) }
			wide, narrow := s.heads*s.headDim, s.kvHeads*s.headDim
			q, k, v, out, lse := buf(wide), buf(narrow), buf(narrow), buf(wide), buf(s.heads)
			dq, dk, dv, dout := buf(wide), buf(narrow), buf(narrow), buf(wide)
			b.Attend(out, lse, q, k, v, a)
			name := fmt.Sprintf("%dx%d/%dof%dx%d-%d", sequences, length, s.heads, s.kvHeads, s.headDim, workers)
			bench.Run("forward/"+name, func(bench *testing.B) {
				best := fastest(bench, func() { b.Attend(out, lse, q, k, v, a) })
				bench.ReportMetric(4*elements/best, "GFLOP/s")
			})
			bench.Run("backward/"+name, func(bench *testing.B) {
				best := fastest(bench, func() { b.AttendGrad(dq, dk, dv, dout, out, lse, q, k, v, a) })
				bench.ReportMetric(10*elements/best, "GFLOP/s")
			})
		}
	}
}
