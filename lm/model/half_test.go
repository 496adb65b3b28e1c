package model

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// bf16 is the reference with products that say that they round to bfloat16, and counts
// the elements of 16 bits. Its products do not: what it shows is what storing
// activations so does.
type bf16 struct {
	*reference.Backend[float32]
	half int
}

func (b *bf16) Precision() tensor.Precision { return tensor.PrecisionBFloat16 }

func (b *bf16) Alloc16(n int) tensor.Buffer {
	b.half += n
	return b.Backend.Alloc16(n)
}

// Activations and caches of 16 bits take less memory, and change log-probs and
// gradients by about what rounding to 8 bits does.
func TestActivationsOf16Bits(t *testing.T) {
	for _, name := range []string{"llama", "qwen3"} {
		wide, half := reference.New(), &bf16{Backend: reference.New()}
		var decoders [2]*Decoder
		var logps [2][]float32
		p, tg := groups()
		n := len(tg.IDs)
		for i, b := range []tensor.Backend{wide, half} {
			d, err := NewDecoder(b, shapes[name], 7)
			require.NoError(t, err)
			decoders[i], logps[i] = d, make([]float32, n)
			dlogp := make([]float32, n)
			for k := range dlogp {
				dlogp[k] = float32(k%3) - 1
			}
			require.NoError(t, d.Forward(p, tg, logps[i], nil))
			require.NoError(t, d.Backward(dlogp, nil))
		}
		require.Positive(t, half.half)
		require.Less(t, decoders[1].ActivationBytes(), decoders[0].ActivationBytes())
		worst := 0.0
		for i, v := range logps[0] {
			worst = max(worst, math.Abs(float64(v-logps[1][i])))
		}
		require.Positive(t, worst)
		require.Less(t, worst, 0.02, name)
		for i, param := range decoders[0].Params() {
			want, got := make([]float32, param.Len()), make([]float32, param.Len())
			require.NoError(t, wide.Read(want, param.Grad))
			require.NoError(t, half.Read(got, decoders[1].Params()[i].Grad))
			size, diff := 0.0, 0.0
			for k, v := range want {
				size += float64(v) * float64(v)
				diff += float64(v-got[k]) * float64(v-got[k])
			}
			require.Less(t, math.Sqrt(diff), 0.03*math.Sqrt(size)+1e-6, "%s, %s", name, param.Name)
		}

		before := half.half
		cache := decoders[1].NewCache(10)
		require.Equal(t, 2*shapes[name].Layers*10*shapes[name].KVHeads*decoders[1].cfg.HeadDim, half.half-before)
		logits := [2][]float32{make([]float32, decoders[0].cfg.Vocab), make([]float32, decoders[0].cfg.Vocab)}
		for i, d := range decoders {
			c := cache
			if i == 0 {
				c = d.NewCache(10)
			}
			batch := &CacheBatch{
				Tokens: []int32{1, 2, 3}, Pos: []int32{0, 1, 2}, Slots: []int32{4, 5, 6}, LogitRows: []int32{2},
				Ranges: [][]tensor.Range{{{Start: 4, End: 5}}, {{Start: 4, End: 6}}, {{Start: 4, End: 7}}},
			}
			require.NoError(t, d.Append(c, batch, logits[i]))
		}
		require.InDeltaSlice(t, logits[0], logits[1], 0.05)
	}
}
