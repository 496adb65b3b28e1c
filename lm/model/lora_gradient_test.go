package model

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

func TestLoRAGradientMatchesCentralDifferences(t *testing.T) {
	for name, cfg := range shapes {
		for _, targets := range []Projections{AllProjections, QProj | VProj, DownProj} {
			t.Run(name+"/"+targets.String(), func(t *testing.T) {
				b := reference.New64()
				d, err := NewDecoder(b, cfg, 7)
				require.NoError(t, err)
				lora, err := d.AddLoRA(LoRAConfig{Rank: 3, Alpha: 2, Targets: targets}, 8)
				require.NoError(t, err)
				randomise(b, d.Params())
				p, tg := groups()
				tg.Temperature = 0.5
				n := len(tg.IDs)
				dlogp, dent := make([]float32, n), make([]float32, n)
				r := rand.New(rand.NewPCG(3, 4))
				for i := range n {
					dlogp[i], dent[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
				}
				require.NoError(t, d.Forward(p, tg, make([]float32, n), make([]float32, n)))
				require.NoError(t, d.Backward(dlogp, dent))
				for _, param := range lora.Params() {
					checkParam(t, b, param, func() float64 { return loss64(t, d, p, tg, dlogp, dent) })
				}
			})
		}
	}
}

// FuzzLoRAConfig: no text panics, and what is accepted is valid.
func FuzzLoRAConfig(f *testing.F) {
	f.Add([]byte(`{"peft_type":"LORA","r":8,"lora_alpha":16,"target_modules":["q_proj"]}`))
	f.Add([]byte(`{"peft_type":"LORA","r":1e9,"lora_alpha":null,"target_modules":"all-linear","bias":"all"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := parseLoRAConfig(text); err == nil {
			require.NoError(t, c.Validate())
		}
	})
}
