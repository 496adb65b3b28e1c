package model_test

import (
	"testing"

	"github.com/d4l3k/go-bfloat16"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/internal/float16"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// A packed decoder decodes and scores with the same bits, cannot be trained, and
// gives its memory back.
func TestPack(t *testing.T) {
	backend := &packingCounter{counting: counting{Backend: openCPU()}}
	d, err := model.NewDecoder(backend, small, 1)
	require.NoError(t, err)
	c := d.NewCache(8)
	p, tg := groupPack(1)
	logp := make([]float32, len(tg.IDs))
	logits := make([]float32, 2*small.Vocab)
	results := func() []float32 {
		step := model.CacheBatch{
			Tokens: []int32{3, 9, 4}, Pos: []int32{0, 1, 2}, Slots: []int32{0, 1, 2}, LogitRows: []int32{1, 2},
			Ranges: [][]tensor.Range{{{Start: 0, End: 1}}, {{Start: 0, End: 2}}, {{Start: 0, End: 3}}},
		}
		require.NoError(t, d.Append(c, &step, logits))
		require.NoError(t, d.Score(p, tg, logp, nil))
		return append(append([]float32(nil), logits...), logp...)
	}
	want := results()
	require.Equal(t, want, results()) // and arenas have their size
	live := backend.live
	require.Zero(t, backend.products)
	d.Pack(tensor.FormatFloat32)
	require.Equal(t, want, results())
	require.Equal(t, 2*(7*small.Layers+1), backend.products, "every linear layer of both passes")
	require.PanicsWithValue(t, "model: Pack of a model that is packed", func() { d.Pack(tensor.FormatBFloat16) })
	require.Panics(t, func() { _ = d.Forward(p, tg, logp, nil) })
	require.Panics(t, func() { _ = d.CopyFrom(d) })
	d.Unpack()
	require.Equal(t, live, backend.live)
	require.Equal(t, want, results())
	d.Unpack() // of one that is not packed

	d.Pack(tensor.FormatFloat32)
	d.Free()
	c.Free()
	require.Zero(t, backend.live)
}

// A packed encoder classifies with the same bits, cannot be trained, and gives its
// memory back.
func TestPackEncoder(t *testing.T) {
	for _, style := range []model.Style{model.LlamaStyle, model.BERTStyle, model.ModernBERTStyle} {
		backend := &packingCounter{counting: counting{Backend: openCPU()}}
		c := model.EncoderConfig{Config: model.Config{Vocab: 20, Dim: 16, Layers: 2, Heads: 2, KVHeads: 2, FF: 24, MaxSeq: 8}, Style: style, Classes: 3}
		e, err := model.NewEncoder(backend, c, 1)
		require.NoError(t, err)
		var p model.Pack
		p.Add([]int32{3, 9, 4}, -1)
		p.Add([]int32{7}, -1)
		logits, packed := make([]float32, 6), make([]float32, 6)
		require.NoError(t, e.Predict(&p, logits))
		e.Pack(tensor.FormatFloat32)
		require.NoError(t, e.Predict(&p, packed))
		require.Equal(t, logits, packed)
		require.NotZero(t, backend.products)
		require.PanicsWithValue(t, "model: Encoder.Forward of an encoder that is packed", func() { _ = e.Forward(&p, logits) })
		e.Free()
		require.Zero(t, backend.live)
	}
}

// A decoder packed in bfloat16 computes the same as one with rounded weights.
func TestPackBFloat16(t *testing.T) {
	cfg := small
	cfg.TieEmbeddings = false // embeddings are looked up as they are
	d, err := model.NewDecoder(openCPU(), cfg, 1)
	require.NoError(t, err)
	exact := logProbs(t, d)
	d.Pack(tensor.FormatBFloat16)
	got := logProbs(t, d)
	d.Unpack()
	require.Equal(t, exact, logProbs(t, d))
	require.NotEqual(t, exact, got)
	for _, p := range d.Params() {
		if len(p.Shape) == 2 && p.Name != "model.embed_tokens.weight" {
			w := make([]float32, p.Len())
			require.NoError(t, d.Backend().Read(w, p.Value))
			for i, v := range w {
				w[i] = bfloat16.ToFloat32(float16.ToBF16(v))
			}
			d.Backend().Write(p.Value, w)
		}
	}
	require.Equal(t, logProbs(t, d), got)
}

// packingCounter counts products by packed weights.
type packingCounter struct {
	counting
	products int
}

func (c *packingCounter) packer() tensor.Packer { return c.Backend.(tensor.Packer) }

func (c *packingCounter) PackedLen(f tensor.Format, n, k int) int {
	return c.packer().PackedLen(f, n, k)
}

func (c *packingCounter) Pack(f tensor.Format, p tensor.Buffer, opB tensor.Op, n, k int, b tensor.Buffer) {
	c.packer().Pack(f, p, opB, n, k, b)
}

func (c *packingCounter) MatMulPacked(f tensor.Format, m, k int, alpha float32, a tensor.Buffer, beta float32, products ...tensor.Product) {
	c.products += len(products)
	c.packer().MatMulPacked(f, m, k, alpha, a, beta, products...)
}

// Adapters act on packed weights too.
func TestPackedDecodersHaveAdapters(t *testing.T) {
	d := newDecoder(t, openCPU(), tiny)
	lora, err := d.AddLoRA(adapters, 1)
	require.NoError(t, err)
	for _, p := range lora.Params() {
		d.Backend().Fill(p.Value, 0.1)
	}
	want := logProbs(t, d)
	d.Pack(tensor.FormatFloat32)
	require.Equal(t, want, logProbs(t, d))
	require.PanicsWithValue(t, "model: LoRA.Merge into a decoder that is packed", lora.Merge)
	d.Unpack()
	lora.Merge()
	require.InDeltaSlice(t, want, logProbs(t, d), 1e-5)
}
