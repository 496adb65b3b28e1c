package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// What AppendDraw draws, in chunks of any size, is what the backend draws from all the
// logits that Append reads.
func TestAppendDraw(t *testing.T) {
	b := reference.New()
	d, err := NewDecoder(b, shapes["qwen3"], 7)
	require.NoError(t, err)
	randomise(b, d.Params())
	vocab := d.cfg.Vocab
	cache := d.NewCache(8)
	batch := &CacheBatch{}
	for i := range int32(5) {
		batch.Tokens, batch.Pos, batch.Slots = append(batch.Tokens, i), append(batch.Pos, i), append(batch.Slots, i)
		batch.Ranges, batch.LogitRows = append(batch.Ranges, []tensor.Range{{Start: 0, End: int(i) + 1}}), append(batch.LogitRows, i)
	}
	draws := &tensor.Draws{Rows: []int32{0, 0, 1, 3, 3, 4}}
	for i := range draws.Rows {
		draws.Temperature = append(draws.Temperature, float32(i%3)/2)
		draws.TopK, draws.TopP = append(draws.TopK, int32(i)), append(draws.TopP, 0.9)
		draws.Uniform = append(draws.Uniform, float32(i)/7)
	}
	logits, want, got := make([]float32, 5*vocab), make([]float32, 18), make([]float32, 18)
	require.NoError(t, d.Append(cache, batch, logits))
	all, drawn := b.Alloc(len(logits)), b.Alloc(len(want))
	b.Write(all, logits)
	b.Sample(drawn, all, vocab, draws)
	require.NoError(t, b.Read(want, drawn))
	for _, chunk := range []int{1, 2, 3, 64} {
		d.head.chunk = chunk
		require.NoError(t, d.AppendDraw(cache, batch, draws, got))
		require.Equal(t, want, got)
	}

	draws.Rows[5] = 5
	require.EqualError(t, d.AppendDraw(cache, batch, draws, got), "model: token 5 is drawn from logits 5, want 0 to 4")
	require.Panics(t, func() { _ = d.AppendDraw(cache, batch, draws, got[:17]) })
	plain, err := NewDecoder(newCPU(t), shapes["qwen3"], 7)
	require.NoError(t, err)
	require.PanicsWithValue(t, "model: AppendDraw on backend cpu, which draws no tokens (tensor.Sampler)", func() {
		_ = plain.AppendDraw(plain.NewCache(8), batch, draws, got)
	})
}
