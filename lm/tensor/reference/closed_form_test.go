package reference_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// of returns a buffer that holds x.
func of(b *reference.Backend[float64], x ...float64) tensor.Buffer {
	buf := b.Alloc(len(x))
	b.Write64(buf, x)
	return buf
}

// TestMatMul: [1 2 3; 4 5 6]·[1 0; 2 1; 0 3] = [5 11; 14 23], however the
// operands are stored.
func TestMatMul(t *testing.T) {
	b := reference.New64()
	x, xT := of(b, 1, 2, 3, 4, 5, 6), of(b, 1, 4, 2, 5, 3, 6)
	y, yT := of(b, 1, 0, 2, 1, 0, 3), of(b, 1, 2, 0, 0, 1, 3)
	for _, c := range []struct {
		opA, opB tensor.Op
		x, y     tensor.Buffer
	}{{tensor.OpN, tensor.OpN, x, y}, {tensor.OpT, tensor.OpN, xT, y}, {tensor.OpN, tensor.OpT, x, yT}, {tensor.OpT, tensor.OpT, xT, yT}} {
		out := of(b, math.NaN(), math.NaN(), math.NaN(), math.NaN())
		b.MatMul(c.opA, c.opB, 2, 2, 3, 1, c.x, c.y, 0, out)
		assert.Equal(t, []float64{5, 11, 14, 23}, read(b, out))
		b.MatMul(c.opA, c.opB, 2, 2, 3, 2, c.x, c.y, -1, out)
		assert.Equal(t, []float64{5, 11, 14, 23}, read(b, out), "2·x·y − x·y")
	}
}

func TestVectorsAndRows(t *testing.T) {
	b := reference.New64()
	x := of(b, 1, 2, 3, 4, 5, 6) // [3×2]

	y := of(b, 1, 1, 1, 1, 1, 1)
	b.Axpy(y, -0.5, x)
	assert.Equal(t, []float64{0.5, 0, -0.5, -1, -1.5, -2}, read(b, y))

	sum := b.Alloc(1)
	b.SumSquares(sum, x)
	assert.Equal(t, []float64{91}, read(b, sum))

	b.Copy(y, x)
	b.AddBias(y, of(b, 10, 20), 3, 2)
	assert.Equal(t, []float64{11, 22, 13, 24, 15, 26}, read(b, y))

	columns := of(b, 100, 200)
	b.SumRows(columns, x, 3, 2)
	assert.Equal(t, []float64{109, 212}, read(b, columns))

	b.Gather(y, x, []int32{2, 0, 2}, 2)
	assert.Equal(t, []float64{5, 6, 1, 2, 5, 6}, read(b, y))

	b.ScatterAdd(y, x, []int32{1, 1, 0}, 2)
	assert.Equal(t, []float64{10, 12, 5, 8, 5, 6}, read(b, y))
}

// TestUniformLogits: n equal logits have log-prob −log n and entropy log n.
func TestUniformLogits(t *testing.T) {
	b := reference.New64()
	logp, entropy, stats := b.Alloc(1), b.Alloc(1), b.Alloc(3)
	b.LogProb(logp, entropy, stats, of(b, 8, 8, 8, 8, 8), []int32{3}, 5, 2)
	assert.InDelta(t, -math.Log(5), read(b, logp)[0], 1e-15)
	assert.InDelta(t, math.Log(5), read(b, entropy)[0], 1e-15)
}

// TestSharedPromptEqualsCopies: completions that share a prompt have the
// outputs, and the prompt the summed gradients, of sequences that each have
// a prompt of their own.
func TestSharedPromptEqualsCopies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prompt := rapid.IntRange(1, 5).Draw(t, "prompt")
		lengths := rapid.SliceOfN(rapid.IntRange(0, 4), 1, 3).Draw(t, "lengths")
		heads, kvHeads, dim := 4, 2, 3
		shared := &tensor.Attention{
			Segments: []tensor.Segment{{Start: 0, End: prompt, Prefix: -1}},
			Heads:    heads, KVHeads: kvHeads, HeadDim: dim, Causal: true, Scale: 0.7,
		}
		copies := *shared
		copies.Segments = nil
		var rows []int32 // rows[i] is the shared batch's row of row i of the copies
		first := make([]bool, 0)
		end := prompt
		for c, n := range lengths {
			shared.Segments = append(shared.Segments, tensor.Segment{Start: end, End: end + n, Prefix: 0})
			copies.Segments = append(copies.Segments, tensor.Segment{Start: len(rows), End: len(rows) + prompt + n, Prefix: -1})
			for i := range prompt {
				rows, first = append(rows, int32(i)), append(first, c == 0)
			}
			for i := range n {
				rows, first = append(rows, int32(end+i)), append(first, true)
			}
			end += n
		}

		b := reference.New64()
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		qSize, kvSize := heads*dim, kvHeads*dim
		in, _ := random(b, rng, []int{end * qSize, end * kvSize, end * kvSize, end * qSize})
		out, grads := attendAndGrad(b, in, end, shared)

		// The same rows, with a prompt for each completion; the gradient of
		// the prompt's own outputs counts once.
		sizes := []int{qSize, kvSize, kvSize, qSize}
		in2 := make([]tensor.Buffer, len(in))
		for i, size := range sizes {
			in2[i] = b.Alloc(len(rows) * size)
			b.Gather(in2[i], in[i], rows, size)
		}
		for i, f := range first {
			if !f {
				b.Fill(b.Slice(in2[3], i*qSize, (i+1)*qSize), 0)
			}
		}
		out2, grads2 := attendAndGrad(b, in2, len(rows), &copies)

		wantOut := b.Alloc(len(rows) * qSize)
		b.Gather(wantOut, out, rows, qSize)
		assert.InDeltaSlice(t, read(b, wantOut), read(b, out2), 1e-12)
		for i, size := range sizes[:3] {
			sum := b.Alloc(end * size)
			b.ScatterAdd(sum, grads2[i], rows, size)
			assert.InDeltaSlice(t, read(b, grads[i]), read(b, sum), 1e-12, "gradient %d", i)
		}
	})
}

// attendAndGrad runs Attend and AttendGrad on in = q, k, v, dout.
func attendAndGrad(b *reference.Backend[float64], in []tensor.Buffer, rows int, a *tensor.Attention) (out tensor.Buffer, grads []tensor.Buffer) {
	out, lse := b.Alloc(in[0].Len()), b.Alloc(rows*a.Heads)
	b.Attend(out, lse, in[0], in[1], in[2], a)
	for _, x := range in[:3] {
		grads = append(grads, b.Alloc(x.Len()))
	}
	b.AttendGrad(grads[0], grads[1], grads[2], in[3], out, lse, in[0], in[1], in[2], a)
	return out, grads
}

// TestDecodeEqualsAttend: decoding a completion's rows against a cache gives
// what attention over the packed batch gives, wherever the cache keeps them.
func TestDecodeEqualsAttend(t *testing.T) {
	const rows, heads, kvHeads, dim, prompt = 7, 4, 2, 3, 3
	b := reference.New64()
	rng := rand.New(rand.NewPCG(5, 6))
	in, _ := random(b, rng, []int{rows * heads * dim, rows * kvHeads * dim, rows * kvHeads * dim})
	want := b.Alloc(rows * heads * dim)
	b.Attend(want, b.Alloc(rows*heads), in[0], in[1], in[2], &tensor.Attention{
		Segments: []tensor.Segment{{Start: 0, End: prompt, Prefix: -1}, {Start: prompt, End: rows, Prefix: 0}},
		Heads:    heads, KVHeads: kvHeads, HeadDim: dim, Causal: true, Scale: 0.5,
	})
	// The prompt at cache rows 10–12, the completion from cache row 2.
	at := []int32{10, 11, 12, 2, 3, 4, 5}
	cache := tensor.CacheShape{Rows: 13, KVHeads: kvHeads, HeadDim: dim}
	k, v := b.Alloc(b.CacheLen(cache)), b.Alloc(b.CacheLen(cache))
	b.StoreCache(k, v, in[1], in[2], at, cache)
	d := &tensor.Decode{Cache: cache, Heads: heads, Scale: 0.5}
	for i := range rows {
		if i < prompt {
			d.Ranges = append(d.Ranges, []tensor.Range{{Start: 10, End: 11 + i}})
		} else {
			d.Ranges = append(d.Ranges, []tensor.Range{{Start: 10, End: 13}, {Start: 2, End: 3 + i - prompt}})
		}
	}
	got := b.Alloc(rows * heads * dim)
	b.AttendCache(got, in[0], k, v, d)
	assert.InDeltaSlice(t, read(b, want), read(b, got), 1e-14)
}
