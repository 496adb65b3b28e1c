package model_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// cramped is a device whose memory holds so many elements. As on a GPU, a buffer for
// which there was none is of no use, also when there is some again.
type cramped struct {
	*reference.Backend[float32]
	left int
	void map[tensor.Buffer]bool // buffers without memory
	err  error
}

func newCramped(left int) *cramped {
	return &cramped{Backend: reference.New(), left: left, void: map[tensor.Buffer]bool{}}
}

func (b *cramped) short(n int) {
	if b.err == nil {
		b.err = fmt.Errorf("cramped:0: Alloc of %d elements: %w", n, tensor.ErrOutOfMemory)
	}
}

func (b *cramped) Alloc(n int) tensor.Buffer {
	buf := b.Backend.Alloc(n)
	if n > b.left {
		b.short(n)
		b.void[buf] = true
		return buf
	}
	b.left -= n
	return buf
}

func (b *cramped) Free(buf tensor.Buffer) {
	if !b.void[buf] {
		b.left += buf.Len()
	}
	b.Backend.Free(buf)
}

func (b *cramped) Slice(buf tensor.Buffer, from, to int) tensor.Buffer {
	part := b.Backend.Slice(buf, from, to)
	b.void[part] = b.void[buf]
	return part
}

// Gather is the first operation of every pass.
func (b *cramped) Gather(dst, src tensor.Buffer, idx []int32, cols int) {
	if b.void[dst] {
		b.short(dst.Len())
	}
	b.Backend.Gather(dst, src, idx, cols)
}

func (b *cramped) Err() error { return b.err }

func (b *cramped) Sync() (err error) {
	err, b.err = b.err, nil
	return err
}

func (b *cramped) Read(dst []float32, src tensor.Buffer) error {
	if b.err != nil {
		return b.err
	}
	return b.Backend.Read(dst, src)
}

// Who asks for memory that is not there says so, gives back what it took, and leaves a
// backend that works.
func TestOutOfMemory(t *testing.T) {
	cfg := model.Config{Vocab: 20, Dim: 16, Layers: 2, Heads: 4, KVHeads: 2, FF: 24, MaxSeq: 64}
	roomy := newCramped(1 << 30)
	d, err := model.NewDecoder(roomy, cfg, 1)
	require.NoError(t, err)
	params := 0
	for _, p := range d.Params() {
		params += p.Len()
	}

	b := newCramped(2*params - 1)
	_, err = model.NewDecoder(b, cfg, 1)
	require.ErrorIs(t, err, tensor.ErrOutOfMemory)
	require.ErrorContains(t, err, fmt.Sprintf("model: a model of %d parameters: cramped:0: Alloc of ", params))
	require.Equal(t, 2*params-1, b.left)
	_, err = model.NewEncoder(b, model.EncoderConfig{Config: cfg, Classes: 40}, 1)
	require.ErrorIs(t, err, tensor.ErrOutOfMemory)
	require.Equal(t, 2*params-1, b.left)

	b.left = 4*params - 1
	d, err = model.NewDecoder(b, cfg, 1)
	require.NoError(t, err)
	_, err = optim.NewAdamW(b, d.Params(), optim.DefaultConfig())
	require.ErrorIs(t, err, tensor.ErrOutOfMemory)
	require.ErrorContains(t, err, "optim: moments of 21 tensors: cramped:0: Alloc of ")
	require.Equal(t, 2*params-1, b.left)
	b.left = 2 * params // enough for all but the norm of the gradient
	_, err = optim.NewAdamW(b, d.Params(), optim.DefaultConfig())
	require.ErrorIs(t, err, tensor.ErrOutOfMemory)
	require.Equal(t, 2*params, b.left)

	b.left = 1 << 15
	pack, targets := &model.Pack{}, &model.Targets{Rows: []int32{0}, IDs: []int32{1}}
	pack.Add(make([]int32, 60), -1)
	err = d.Forward(pack, targets, make([]float32, 1), nil)
	require.ErrorIs(t, err, tensor.ErrOutOfMemory)
	require.ErrorContains(t, err, "model: forward pass over 60 tokens: cramped:0: Alloc of ")
	require.Error(t, b.Sync())
	b.left = 1 << 18
	require.NoError(t, d.Forward(pack, targets, make([]float32, 1), nil))

	// A pass that is too large leaves room for those that are not.
	large := &model.Pack{}
	for range 40 {
		large.Add(make([]int32, 60), -1)
	}
	require.ErrorIs(t, d.Forward(large, targets, make([]float32, 1), nil), tensor.ErrOutOfMemory)
	require.Error(t, b.Sync())
	require.NoError(t, d.Forward(pack, targets, make([]float32, 1), nil))

	// A copy or a cache without memory: the next pass says so.
	left := b.left
	b.left = 0
	c := d.Clone()
	require.ErrorIs(t, c.Score(pack, targets, make([]float32, 1), nil), tensor.ErrOutOfMemory)
	c.Free()
	require.Error(t, b.Sync())
	b.left = 2000 // for a pass over a token, and not for the cache
	cache := d.NewCache(1000)
	s := &model.CacheBatch{Tokens: []int32{1}, Pos: []int32{0}, Slots: []int32{0}, Ranges: [][]tensor.Range{{{Start: 0, End: 1}}}, LogitRows: []int32{0}}
	require.ErrorIs(t, d.Append(cache, s, make([]float32, cfg.Vocab)), tensor.ErrOutOfMemory)
	cache.Free()
	require.Error(t, b.Sync())
	require.Equal(t, 2000, b.left)
	b.left = left

	b.left = 0
	_, err = d.AddLoRA(model.LoRAConfig{Rank: 1000, Alpha: 4, Targets: model.AllProjections}, 2)
	require.ErrorIs(t, err, tensor.ErrOutOfMemory)
	require.ErrorContains(t, err, "model: adapters of ")
	require.Nil(t, d.LoRA())
	require.Equal(t, params, b.left, "of the gradients")
	b.left += left
	require.NoError(t, d.Score(pack, targets, make([]float32, 1), nil))
	d.Free()
	require.Equal(t, 1<<18+2*params, b.left)
}
