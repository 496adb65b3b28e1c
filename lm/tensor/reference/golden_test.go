package reference_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// TestPyTorch compares operations and their backward passes with
// testdata/ops.json, where testdata/ops.py says what each case is.
func TestPyTorch(t *testing.T) {
	text, err := os.ReadFile("testdata/ops.json")
	require.NoError(t, err)
	var golden struct {
		Cases map[string]struct{ In, Out, Dout, Grad [][]float64 }
	}
	require.NoError(t, json.Unmarshal(text, &golden))
	operations := goldenOperations()
	require.Len(t, golden.Cases, len(operations))
	for name, run := range operations {
		t.Run(name, func(t *testing.T) {
			c, ok := golden.Cases[name]
			require.True(t, ok)
			b := reference.New64()
			in, dout := fill(b, c.In), fill(b, c.Dout)
			out, grad := zeros(b, c.Out), zeros(b, c.Grad)
			run(b, in, out, dout, grad)
			for i, want := range c.Out {
				assert.InDeltaSlice(t, want, read(b, out[i]), 1e-12, "output %d", i)
			}
			for i, want := range c.Grad {
				assert.InDeltaSlice(t, want, read(b, grad[i]), 1e-12, "gradient of input %d", i)
			}
		})
	}
}

func fill(b *reference.Backend[float64], values [][]float64) []tensor.Buffer {
	bufs := zeros(b, values)
	for i, v := range values {
		b.Write64(bufs[i], v)
	}
	return bufs
}

func zeros(b *reference.Backend[float64], like [][]float64) []tensor.Buffer {
	bufs := make([]tensor.Buffer, len(like))
	for i, v := range like {
		bufs[i] = b.Alloc(len(v))
	}
	return bufs
}

type operation func(b *reference.Backend[float64], in, out, dout, grad []tensor.Buffer)

func goldenOperations() map[string]operation {
	attend := func(causal bool, window int) operation {
		a := &tensor.Attention{
			Segments: []tensor.Segment{
				{Start: 0, End: 3, Prefix: -1}, {Start: 3, End: 5, Prefix: 0}, {Start: 5, End: 7, Prefix: 0},
			},
			Heads: 4, KVHeads: 2, HeadDim: 3, Causal: causal, Window: window, Scale: 0.5,
		}
		if window > 0 {
			a.Segments = []tensor.Segment{{Start: 0, End: 5, Prefix: -1}, {Start: 5, End: 7, Prefix: -1}}
		}
		return func(b *reference.Backend[float64], in, out, dout, grad []tensor.Buffer) {
			lse := b.Alloc(7 * 4)
			b.Attend(out[0], lse, in[0], in[1], in[2], a)
			b.AttendGrad(grad[0], grad[1], grad[2], dout[0], out[0], lse, in[0], in[1], in[2], a)
		}
	}
	return map[string]operation{
		"RMSNorm": func(b *reference.Backend[float64], in, out, dout, grad []tensor.Buffer) {
			inv := b.Alloc(4)
			b.RMSNorm(out[0], inv, in[0], in[1], 4, 6, 1.0/1024)
			b.RMSNormGrad(grad[0], grad[1], dout[0], in[0], in[1], inv, 4, 6)
		},
		"RoPE": func(b *reference.Backend[float64], in, out, dout, grad []tensor.Buffer) {
			pos, freq := []int32{0, 5, 2, 17}, []float32{1, 0.5, 0.125}
			b.Copy(out[0], in[0])
			b.RoPE(out[0], pos, freq, 2, 6, false)
			b.Copy(grad[0], dout[0])
			b.RoPE(grad[0], pos, freq, 2, 6, true)
		},
		"Attend causal":        attend(true, 0),
		"Attend bidirectional": attend(false, 0),
		"Attend causal window": attend(true, 2),
		"Attend window":        attend(false, 2),
		"GeGLU": func(b *reference.Backend[float64], in, out, dout, grad []tensor.Buffer) {
			b.GeGLU(out[0], in[0], in[1])
			b.GeGLUGrad(grad[0], grad[1], dout[0], in[0], in[1])
		},
		"Tanh": func(b *reference.Backend[float64], in, out, dout, grad []tensor.Buffer) {
			b.Tanh(out[0], in[0])
			b.TanhGrad(grad[0], dout[0], out[0])
		},
		"SwiGLU": func(b *reference.Backend[float64], in, out, dout, grad []tensor.Buffer) {
			b.SwiGLU(out[0], in[0], in[1])
			b.SwiGLUGrad(grad[0], grad[1], dout[0], in[0], in[1])
		},
		"LayerNorm": func(b *reference.Backend[float64], in, out, dout, grad []tensor.Buffer) {
			mean, inv := b.Alloc(4), b.Alloc(4)
			b.LayerNorm(out[0], mean, inv, in[0], in[1], in[2], 4, 6, 1.0/1024)
			b.LayerNormGrad(grad[0], grad[1], grad[2], dout[0], in[0], in[1], mean, inv, 4, 6)
		},
		"GELU": func(b *reference.Backend[float64], in, out, dout, grad []tensor.Buffer) {
			b.GELU(out[0], in[0])
			b.GELUGrad(grad[0], dout[0], in[0])
		},
		"LogProb": func(b *reference.Backend[float64], in, out, dout, grad []tensor.Buffer) {
			targets := []int32{6, 0, 3}
			stats := b.Alloc(3 * 3)
			b.LogProb(out[0], out[1], stats, in[0], targets, 7, 2)
			b.Copy(grad[0], in[0])
			b.LogProbGrad(grad[0], dout[0], dout[1], stats, targets, 7, 2)
		},
	}
}
