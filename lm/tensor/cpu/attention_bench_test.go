package cpu_test

import (
	"fmt"
	"testing"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
)

// BenchmarkAttend prints the speed of causal attention over 16 sequences of 256
// tokens, in the operations of the weights that are not 0: four for each
// element of a head forward, ten backward.
func BenchmarkAttend(bench *testing.B) {
	const sequences, length = 16, 256
	for _, s := range []struct{ heads, kvHeads, headDim int }{{4, 4, 16}, {4, 2, 32}, {5, 5, 64}} {
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
			name := fmt.Sprintf("%dof%dx%d-%d", s.heads, s.kvHeads, s.headDim, workers)
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
