package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// shapes are small configurations that together have every feature.
var shapes = map[string]Config{
	"llama": {Vocab: 7, Dim: 8, Layers: 2, Heads: 4, KVHeads: 2, FF: 10, MaxSeq: 16},
	"qwen2": {Vocab: 7, Dim: 8, Layers: 2, Heads: 2, KVHeads: 2, FF: 6, MaxSeq: 16, QKVBias: true, TieEmbeddings: true},
	"qwen3": {Vocab: 7, Dim: 6, Layers: 2, Heads: 2, KVHeads: 1, HeadDim: 4, FF: 8, MaxSeq: 16, RopeTheta: 1e6, NormEps: 1e-6, QKNorm: true, TieEmbeddings: true},
	"all":   {Vocab: 5, Dim: 8, Layers: 1, Heads: 4, KVHeads: 1, HeadDim: 2, FF: 4, MaxSeq: 16, QKNorm: true, QKVBias: true},
}

// groups packs two prompts with two completions each, and the targets that score
// the completions. The last token of a completion predicts nothing and needs no
// row.
func groups() (*Pack, *Targets) {
	var p Pack
	var t Targets
	complete := func(prompt int, tokens ...int32) {
		t.Rows = append(t.Rows, int32(p.Segments[prompt].End-1))
		if n := len(tokens) - 1; n > 0 {
			s := p.Segments[p.Add(tokens[:n], prompt)]
			for r := s.Start; r < s.End; r++ {
				t.Rows = append(t.Rows, int32(r))
			}
		}
		t.IDs = append(t.IDs, tokens...)
	}
	a := p.Add([]int32{1, 4, 2}, -1)
	complete(a, 3, 0, 4)
	complete(a, 1, 1)
	b := p.Add([]int32{0, 3}, -1)
	complete(b, 2)
	complete(b, 4, 3, 2, 1)
	return &p, &t
}

// randomise gives every parameter values of order one, so that gradients are
// checked at a general point.
func randomise(b tensor.Backend, params []*tensor.Param) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range params {
		v := make([]float32, p.Len())
		for i := range v {
			v[i] = float32(0.5 * r.NormFloat64())
		}
		b.Write(p.Value, v)
	}
}

// loss64 is Σ dlogp·logp + dentropy·entropy in float64.
func loss64(t *testing.T, d *Decoder, p *Pack, tg *Targets, dlogp, dent []float32) float64 {
	d.begin(p, false)
	x := d.trunk.Forward(&d.pass, p.Tokens)
	out := d.head.Forward(&d.pass, x, tg.Rows, tg.IDs, float32(1/tg.Temperature), true, nil)
	sum, weights := 0.0, slices.Concat(dlogp, dent)
	for i, v := range values64(t, d.b, out) {
		sum += v * float64(weights[i])
	}
	return sum
}

func values64(t *testing.T, b tensor.Backend, buf tensor.Buffer) []float64 {
	v := make([]float64, buf.Len())
	require.NoError(t, b.(*reference.Backend[float64]).Read64(v, buf))
	return v
}

func TestDecoderGradientMatchesCentralDifferences(t *testing.T) {
	for name, cfg := range shapes {
		t.Run(name, func(t *testing.T) {
			b := reference.New64()
			d, err := NewDecoder(b, cfg, 7)
			require.NoError(t, err)
			randomise(b, d.Params())
			d.head.chunk = 4 // several chunks, the last not full
			checkDecoder(t, b, d, d.Params())
		})
	}
}

// checkDecoder compares the gradients of some of a decoder's parameters with central
// differences.
func checkDecoder(t *testing.T, b *reference.Backend[float64], d *Decoder, params []*tensor.Param) {
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
	for _, param := range params {
		checkParam(t, b, param, func() float64 { return loss64(t, d, p, tg, dlogp, dent) })
	}
}

// checkParam compares a parameter's gradient with central differences of loss.
func checkParam(t *testing.T, b *reference.Backend[float64], p *tensor.Param, loss func() float64) {
	const h = 1e-5
	value, grad := values64(t, b, p.Value), values64(t, b, p.Grad)
	for i, v := range value {
		value[i] = v + h
		b.Write64(p.Value, value)
		up := loss()
		value[i] = v - h
		b.Write64(p.Value, value)
		want := (up - loss()) / (2 * h)
		value[i] = v
		require.InDelta(t, want, grad[i], 1e-6*math.Max(1, math.Abs(want)), fmt.Sprintf("%s[%d]", p.Name, i))
	}
	b.Write64(p.Value, value)
}

// modernTiny has windows that are shorter than a sequence.
var modernTiny = EncoderConfig{
	Config:  Config{Vocab: 5, Dim: 8, Layers: 3, Heads: 2, KVHeads: 2, FF: 6, MaxSeq: 4, NormEps: 1e-3},
	Classes: 3, Style: ModernBERTStyle, GlobalEvery: 2, Window: 1,
}

func TestEncoderGradientMatchesCentralDifferences(t *testing.T) {
	bert := EncoderConfig{
		Config:  Config{Vocab: 5, Dim: 8, Layers: 2, Heads: 2, KVHeads: 2, FF: 6, MaxSeq: 4, NormEps: 1e-3},
		Classes: 3, Style: BERTStyle, TokenTypes: 3,
	}
	first := bert
	first.Pooling = FirstPooling
	roberta := bert
	roberta.Style, roberta.TokenTypes, roberta.FirstPosition = RoBERTaStyle, 1, 3
	cross, pairs := roberta, bert
	cross.DenseHead, pairs.DenseHead = true, true
	for name, cfg := range map[string]EncoderConfig{
		"roberta":      roberta,
		"cross, bert":  pairs,
		"cross":        cross,
		"llama, mean":  {Config: shapes["all"], Classes: 3},
		"llama, first": {Config: shapes["all"], Classes: 3, Pooling: FirstPooling},
		"bert, mean":   bert,
		"bert, first":  first,
		"modernbert":   modernTiny,
		"causal, last": {Config: shapes["all"], Classes: 3, Pooling: LastPooling, Causal: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := reference.New64()
			e, err := NewEncoder(b, cfg, 7)
			require.NoError(t, err)
			randomise(b, e.Params())
			var p Pack
			p.Add([]int32{1, 4, 2}, -1)
			p.Add([]int32{0}, -1)
			p.Add([]int32{3, 3, 0, 1}, -1)
			if cfg.Style == BERTStyle {
				p.Types = []int32{0, 1, 2, 0, 0, 0, 1, 1}
			}
			r := rand.New(rand.NewPCG(5, 6))
			dlogits := make([]float32, 9)
			for i := range dlogits {
				dlogits[i] = float32(r.NormFloat64())
			}
			require.NoError(t, e.Forward(&p, make([]float32, 9)))
			require.NoError(t, e.Backward(dlogits))
			for _, param := range e.Params() {
				checkParam(t, b, param, func() float64 {
					sum := 0.0
					for i, v := range values64(t, b, e.run(&p, false)) {
						sum += v * float64(dlogits[i])
					}
					return sum
				})
			}
		})
	}
}

// An embedding that only one row has gets the gradient of its row.
func TestInputGradientMatchesCentralDifferences(t *testing.T) {
	bert := EncoderConfig{
		Config:  Config{Vocab: 9, Dim: 8, Layers: 2, Heads: 2, KVHeads: 2, FF: 6, MaxSeq: 4, NormEps: 1e-3},
		Classes: 3, Style: BERTStyle,
	}
	first := bert
	first.Pooling = FirstPooling
	roberta := bert
	roberta.Style, roberta.DenseHead = RoBERTaStyle, true
	llama := EncoderConfig{Config: shapes["all"], Classes: 3}
	llama.Vocab = 9
	modern := modernTiny
	modern.Vocab = 9
	for name, cfg := range map[string]EncoderConfig{"bert, mean": bert, "bert, first": first, "roberta": roberta, "llama": llama, "modernbert": modern} {
		for _, recompute := range []bool{false, true} {
			t.Run(fmt.Sprint(name, recompute), func(t *testing.T) {
				b := reference.New64()
				e, err := NewEncoder(b, cfg, 7)
				require.NoError(t, err)
				e.Recompute = recompute
				randomise(b, e.Params())
				var p Pack
				p.Add([]int32{1, 4, 2}, -1)
				p.Add([]int32{3, 7, 0, 8}, -1)
				weights := []float64{1, -.5} // of the two squared states
				loss := func() (sum float64) {
					for i, v := range values64(t, b, e.pooled(&p, false)) {
						sum += weights[i/8] * v * v
					}
					return sum
				}
				states, dinputs := make([]float32, 16), make([]float32, 7*8)
				require.NoError(t, e.InputGradient(&p, states, dinputs, func(states, dstates []float32) {
					for i, v := range states {
						dstates[i] = float32(2 * weights[i/8] * float64(v))
					}
				}))
				const h = 1e-5
				table := e.Params()[0]
				value := values64(t, b, table.Value)
				for row, id := range p.Tokens {
					for c := range 8 {
						at := int(id)*8 + c
						old := value[at]
						value[at] = old + h
						b.Write64(table.Value, value)
						up := loss()
						value[at] = old - h
						b.Write64(table.Value, value)
						want := (up - loss()) / (2 * h)
						value[at] = old
						require.InDelta(t, want, dinputs[row*8+c], 1e-5*math.Max(1, math.Abs(want)), "row %d", row)
					}
				}
				for _, param := range e.Params() {
					require.NotNil(t, param.Grad)
					for _, g := range values64(t, b, param.Grad) {
						require.Zero(t, g, param.Name)
					}
				}
			})
		}
	}
}

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
				checkDecoder(t, b, d, lora.Params())
			})
		}
	}
}

// Whether the backward pass finds a chunk's logits or computes them again
// changes nothing.
func TestHeadChunks(t *testing.T) {
	c := Config{Vocab: 11, Dim: 4, Layers: 1, Heads: 1, KVHeads: 1, FF: 4, MaxSeq: 16}
	var p Pack
	var tg Targets
	p.Add([]int32{3, 1, 4, 1, 5, 9, 2, 6}, -1)
	for i := range 8 {
		tg.Rows, tg.IDs = append(tg.Rows, int32(i*5%8)), append(tg.IDs, int32(i*7%11))
	}
	results := func(chunk, slots int) [][]float32 {
		b := reference.New64()
		d, err := NewDecoder(b, c, 1)
		require.NoError(t, err)
		d.head.chunk, d.head.slots = chunk, slots
		logp, entropy := make([]float32, 8), make([]float32, 8)
		require.NoError(t, d.Forward(&p, &tg, logp, entropy))
		require.NoError(t, d.Backward(logp, entropy))
		var all [][]float32
		for _, q := range d.Params() {
			grad := make([]float32, q.Len())
			require.NoError(t, b.Read(grad, q.Grad))
			all = append(all, grad)
		}
		return all
	}
	want := results(8, 1)
	for chunk := 1; chunk <= 8; chunk++ {
		for slots := 1; slots <= 4; slots++ {
			got := results(chunk, slots)
			for i, g := range got {
				require.InDeltaSlice(t, want[i], g, 1e-6, fmt.Sprintf("parameter %d, chunks of %d, %d kept", i, chunk, slots))
			}
		}
	}
}
