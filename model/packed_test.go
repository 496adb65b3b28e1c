package model_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/model"
	"github.com/stepwise-rl/stepwise/tensor"
)

// A packed decoder computes the same bits, decoding and training, and gives
// the memory back.
func TestPack(t *testing.T) {
	backend := &packingCounter{counting: counting{Backend: openCPU()}}
	d, err := model.NewDecoder(backend, small, 1)
	require.NoError(t, err)
	c := d.NewCache(8)
	p, tg := groupPack(1)
	logp := make([]float32, len(tg.IDs))
	logits := make([]float32, 2*small.Vocab)
	results := func() []float32 {
		step := model.Step{
			Tokens: []int32{3, 9, 4}, Pos: []int32{0, 1, 2}, Slots: []int32{0, 1, 2}, LogitRows: []int32{1, 2},
			Spans: [][]tensor.Span{{{Start: 0, End: 1}}, {{Start: 0, End: 2}}, {{Start: 0, End: 3}}},
		}
		require.NoError(t, d.Append(c, &step, logits))
		require.NoError(t, d.Forward(p, tg, logp, nil))
		return append(append([]float32(nil), logits...), logp...)
	}
	want := results()
	require.Equal(t, want, results()) // and arenas have their size
	live := backend.live
	require.Zero(t, backend.products)
	d.Pack()
	require.Equal(t, want, results())
	require.Equal(t, 2*(7*small.Layers+1), backend.products, "every linear layer of both passes")
	require.PanicsWithValue(t, "model: Decoder.Pack of a decoder that is packed", d.Pack)
	d.Unpack()
	require.Equal(t, live, backend.live)
	require.Equal(t, want, results())
	d.Unpack() // of one that is not packed

	d.Pack()
	d.Free()
	c.Free()
	require.Zero(t, backend.live)
}

// packingCounter counts products by packed weights.
type packingCounter struct {
	counting
	products int
}

func (c *packingCounter) packer() tensor.Packer { return c.Backend.(tensor.Packer) }

func (c *packingCounter) PackedLen(n, k int) int { return c.packer().PackedLen(n, k) }

func (c *packingCounter) Pack(p tensor.Buffer, opB tensor.Op, n, k int, b tensor.Buffer) {
	c.packer().Pack(p, opB, n, k, b)
}

func (c *packingCounter) MatMulPacked(m, n, k int, alpha float32, a, p tensor.Buffer, beta float32, dst tensor.Buffer) {
	c.products++
	c.packer().MatMulPacked(m, n, k, alpha, a, p, beta, dst)
}
