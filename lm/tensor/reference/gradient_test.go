package reference_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// A gradientCase is an operation and its backward pass: loss = Σ weight·output
// for random weights, so that dout = weight.
type gradientCase struct {
	name    string
	inputs  []int // lengths of the inputs that have a gradient
	outputs []int // lengths of the outputs
	forward func(b *reference.Backend[float64], in, out []tensor.Buffer)
	// backward writes the gradients of the inputs (grad starts at 0).
	backward func(b *reference.Backend[float64], grad, dout, in []tensor.Buffer)
}

// TestGradients compares every backward pass with central differences of its
// forward pass, in float64, to a relative 1e-6.
func TestGradients(t *testing.T) {
	for _, c := range gradientCases() {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			b := reference.New64()
			in, inValues := random(b, rng, c.inputs)
			dout, weights := random(b, rng, c.outputs)
			out, _ := random(b, rng, c.outputs)
			loss := func() float64 {
				for i := range in {
					b.Write64(in[i], inValues[i])
				}
				c.forward(b, in, out)
				sum := 0.0
				for i := range out {
					for j, y := range read(b, out[i]) {
						sum += weights[i][j] * y
					}
				}
				return sum
			}
			loss()
			grad := make([]tensor.Buffer, len(in))
			for i := range in {
				grad[i] = b.Alloc(in[i].Len())
			}
			c.backward(b, grad, dout, in)
			for i := range in {
				got := read(b, grad[i])
				for j := range got {
					const h = 1e-5
					x := inValues[i][j]
					inValues[i][j] = x + h
					up := loss()
					inValues[i][j] = x - h
					down := loss()
					inValues[i][j] = x
					want := (up - down) / (2 * h)
					require.InDelta(t, want, got[j], 1e-6*max(1e-1, math.Abs(want)),
						"input %d, element %d", i, j)
				}
			}
		})
	}
}

func random(b *reference.Backend[float64], rng *rand.Rand, lengths []int) ([]tensor.Buffer, [][]float64) {
	bufs, values := make([]tensor.Buffer, len(lengths)), make([][]float64, len(lengths))
	for i, n := range lengths {
		bufs[i], values[i] = b.Alloc(n), make([]float64, n)
		for j := range values[i] {
			values[i][j] = rng.NormFloat64()
		}
		b.Write64(bufs[i], values[i])
	}
	return bufs, values
}

func read(b *reference.Backend[float64], buf tensor.Buffer) []float64 {
	x := make([]float64, buf.Len())
	if err := b.Read64(x, buf); err != nil {
		panic(err)
	}
	return x
}

func gradientCases() []gradientCase {
	cases := []gradientCase{
		{
			name: "AddBias", inputs: []int{12, 4}, outputs: []int{12},
			forward: func(b *reference.Backend[float64], in, out []tensor.Buffer) {
				b.Copy(out[0], in[0])
				b.AddBias(out[0], in[1], 3, 4)
			},
			backward: func(b *reference.Backend[float64], grad, dout, in []tensor.Buffer) {
				b.Copy(grad[0], dout[0])
				b.SumRows(grad[1], dout[0], 3, 4)
			},
		},
		{
			name: "Gather", inputs: []int{5 * 3}, outputs: []int{6 * 3},
			forward: func(b *reference.Backend[float64], in, out []tensor.Buffer) {
				b.Gather(out[0], in[0], []int32{4, 0, 0, 2, 4, 4}, 3)
			},
			backward: func(b *reference.Backend[float64], grad, dout, in []tensor.Buffer) {
				b.ScatterAdd(grad[0], dout[0], []int32{4, 0, 0, 2, 4, 4}, 3)
			},
		},
		{
			name: "RMSNorm", inputs: []int{3 * 5, 5}, outputs: []int{3 * 5},
			forward: func(b *reference.Backend[float64], in, out []tensor.Buffer) {
				b.RMSNorm(out[0], b.Alloc(3), in[0], in[1], 3, 5, 1e-2)
			},
			backward: func(b *reference.Backend[float64], grad, dout, in []tensor.Buffer) {
				inv := b.Alloc(3)
				b.RMSNorm(b.Alloc(15), inv, in[0], in[1], 3, 5, 1e-2)
				b.RMSNormGrad(grad[0], grad[1], dout[0], in[0], in[1], inv, 3, 5)
			},
		},
		{
			name: "LayerNorm", inputs: []int{3 * 5, 5, 5}, outputs: []int{3 * 5},
			forward: func(b *reference.Backend[float64], in, out []tensor.Buffer) {
				b.LayerNorm(out[0], b.Alloc(3), b.Alloc(3), in[0], in[1], in[2], 3, 5, 1e-2)
			},
			backward: func(b *reference.Backend[float64], grad, dout, in []tensor.Buffer) {
				mean, inv := b.Alloc(3), b.Alloc(3)
				b.LayerNorm(b.Alloc(15), mean, inv, in[0], in[1], in[2], 3, 5, 1e-2)
				b.LayerNormGrad(grad[0], grad[1], grad[2], dout[0], in[0], in[1], mean, inv, 3, 5)
			},
		},
		{
			name: "GELU", inputs: []int{7}, outputs: []int{7},
			forward: func(b *reference.Backend[float64], in, out []tensor.Buffer) {
				b.GELU(out[0], in[0])
			},
			backward: func(b *reference.Backend[float64], grad, dout, in []tensor.Buffer) {
				b.GELUGrad(grad[0], dout[0], in[0])
			},
		},
		{
			name: "Tanh in place", inputs: []int{7}, outputs: []int{7},
			forward: func(b *reference.Backend[float64], in, out []tensor.Buffer) {
				b.Copy(out[0], in[0])
				b.Tanh(out[0], out[0])
			},
			backward: func(b *reference.Backend[float64], grad, dout, in []tensor.Buffer) {
				y := b.Alloc(7)
				b.Tanh(y, in[0])
				b.Copy(grad[0], dout[0])
				b.TanhGrad(grad[0], grad[0], y)
			},
		},
		{
			name: "RoPE", inputs: []int{3 * 2 * 4}, outputs: []int{3 * 2 * 4},
			forward: func(b *reference.Backend[float64], in, out []tensor.Buffer) {
				b.Copy(out[0], in[0])
				b.RoPE(out[0], []int32{0, 7, 3}, []float32{1, 0.1}, 2, 4, false)
			},
			backward: func(b *reference.Backend[float64], grad, dout, in []tensor.Buffer) {
				b.Copy(grad[0], dout[0])
				b.RoPE(grad[0], []int32{0, 7, 3}, []float32{1, 0.1}, 2, 4, true)
			},
		},
		{
			name: "SwiGLU", inputs: []int{7, 7}, outputs: []int{7},
			forward: func(b *reference.Backend[float64], in, out []tensor.Buffer) {
				b.SwiGLU(out[0], in[0], in[1])
			},
			backward: func(b *reference.Backend[float64], grad, dout, in []tensor.Buffer) {
				b.SwiGLUGrad(grad[0], grad[1], dout[0], in[0], in[1])
			},
		},
		{
			name: "SwiGLU in place", inputs: []int{7, 7}, outputs: []int{7},
			forward: func(b *reference.Backend[float64], in, out []tensor.Buffer) {
				b.SwiGLU(out[0], in[0], in[1])
			},
			backward: func(b *reference.Backend[float64], grad, dout, in []tensor.Buffer) {
				b.Copy(grad[0], in[0])
				b.Copy(grad[1], in[1])
				b.SwiGLUGrad(grad[0], grad[1], dout[0], grad[0], grad[1])
			},
		},
		{
			name: "GeGLU in place", inputs: []int{7, 7}, outputs: []int{7},
			forward: func(b *reference.Backend[float64], in, out []tensor.Buffer) {
				b.GeGLU(out[0], in[0], in[1])
			},
			backward: func(b *reference.Backend[float64], grad, dout, in []tensor.Buffer) {
				b.Copy(grad[0], in[0])
				b.Copy(grad[1], in[1])
				b.GeGLUGrad(grad[0], grad[1], dout[0], grad[0], grad[1])
			},
		},
		{
			name: "LogProb", inputs: []int{3 * 5}, outputs: []int{3},
			forward: func(b *reference.Backend[float64], in, out []tensor.Buffer) {
				b.LogProb(out[0], nil, b.Alloc(9), in[0], []int32{4, 0, 2}, 5, 0.75)
			},
			backward: func(b *reference.Backend[float64], grad, dout, in []tensor.Buffer) {
				b.Copy(grad[0], in[0])
				stats := b.Alloc(9)
				b.LogProb(b.Alloc(3), nil, stats, in[0], []int32{4, 0, 2}, 5, 0.75)
				b.LogProbGrad(grad[0], dout[0], nil, stats, []int32{4, 0, 2}, 5, 0.75)
			},
		},
		{
			name: "LogProb and entropy", inputs: []int{3 * 5}, outputs: []int{3, 3},
			forward: func(b *reference.Backend[float64], in, out []tensor.Buffer) {
				b.LogProb(out[0], out[1], b.Alloc(9), in[0], []int32{4, 0, 2}, 5, 1.5)
			},
			backward: func(b *reference.Backend[float64], grad, dout, in []tensor.Buffer) {
				b.Copy(grad[0], in[0])
				stats := b.Alloc(9)
				b.LogProb(b.Alloc(3), nil, stats, in[0], []int32{4, 0, 2}, 5, 1.5)
				b.LogProbGrad(grad[0], dout[0], dout[1], stats, []int32{4, 0, 2}, 5, 1.5)
			},
		},
	}
	for _, opA := range []tensor.Op{tensor.OpN, tensor.OpT} {
		for _, opB := range []tensor.Op{tensor.OpN, tensor.OpT} {
			cases = append(cases, matMulCase(opA, opB))
		}
	}
	for _, causal := range []bool{true, false} {
		for _, heads := range [][2]int{{2, 2}, {4, 2}, {3, 1}} {
			cases = append(cases, attendCase(shared, causal, 0, heads[0], heads[1]))
		}
		cases = append(cases, attendCase(alone, causal, 2, 4, 2))
	}
	return cases
}

// matMulCase: for c = α·op(a)·op(b), ∂a and ∂b are products with the
// gradient of c, transposed where the operand was.
func matMulCase(opA, opB tensor.Op) gradientCase {
	const m, n, k, alpha = 3, 4, 5, 0.5
	return gradientCase{
		name:   fmt.Sprintf("MatMul opA=%v opB=%v", opA, opB),
		inputs: []int{m * k, k * n}, outputs: []int{m * n},
		forward: func(b *reference.Backend[float64], in, out []tensor.Buffer) {
			b.MatMul(opA, opB, m, n, k, alpha, in[0], in[1], 0, out[0])
		},
		backward: func(b *reference.Backend[float64], grad, dout, in []tensor.Buffer) {
			if opA == tensor.OpN {
				b.MatMul(tensor.OpN, !opB, m, k, n, alpha, dout[0], in[1], 0, grad[0])
			} else {
				b.MatMul(opB, tensor.OpT, k, m, n, alpha, in[1], dout[0], 0, grad[0])
			}
			if opB == tensor.OpN {
				b.MatMul(!opA, tensor.OpN, k, n, m, alpha, in[0], dout[0], 0, grad[1])
			} else {
				b.MatMul(tensor.OpT, opA, n, k, m, alpha, dout[0], in[0], 0, grad[1])
			}
		},
	}
}

// shared is a prompt that two completions share, an empty segment, a sequence by
// itself, and a row outside every segment.
var shared = []tensor.Segment{
	{Start: 0, End: 3, Prefix: -1},
	{Start: 3, End: 5, Prefix: 0},
	{Start: 5, End: 5, Prefix: 0},
	{Start: 5, End: 6, Prefix: 0},
	{Start: 7, End: 9, Prefix: -1},
}

// alone is a sequence that is longer than a window, and one that is not.
var alone = []tensor.Segment{{Start: 0, End: 6, Prefix: -1}, {Start: 6, End: 9, Prefix: -1}}

func attendCase(segments []tensor.Segment, causal bool, window, heads, kvHeads int) gradientCase {
	const rows, dim = 9, 3
	a := &tensor.Attention{
		Segments: segments,
		Heads:    heads, KVHeads: kvHeads, HeadDim: dim, Causal: causal, Window: window, Scale: 0.6,
	}
	return gradientCase{
		name:    fmt.Sprintf("Attend causal=%v window=%d heads=%d/%d", causal, window, heads, kvHeads),
		inputs:  []int{rows * heads * dim, rows * kvHeads * dim, rows * kvHeads * dim},
		outputs: []int{rows * heads * dim},
		forward: func(b *reference.Backend[float64], in, out []tensor.Buffer) {
			b.Attend(out[0], b.Alloc(rows*heads), in[0], in[1], in[2], a)
		},
		backward: func(b *reference.Backend[float64], grad, dout, in []tensor.Buffer) {
			out, lse := b.Alloc(rows*heads*dim), b.Alloc(rows*heads)
			b.Attend(out, lse, in[0], in[1], in[2], a)
			b.AttendGrad(grad[0], grad[1], grad[2], dout[0], out, lse, in[0], in[1], in[2], a)
		},
	}
}
