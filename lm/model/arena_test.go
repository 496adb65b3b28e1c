package model_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// counting counts the buffers that are allocated and not yet freed, and their
// elements.
type counting struct {
	tensor.Backend
	allocs, live, elements int
}

func (c *counting) Alloc(n int) tensor.Buffer {
	c.allocs++
	c.live++
	c.elements += n
	return c.Backend.Alloc(n)
}

func (c *counting) Free(b tensor.Buffer) {
	c.live--
	c.elements -= b.Len()
	c.Backend.Free(b)
}

func TestMemoryIsAllocatedOnGrowthOnly(t *testing.T) {
	b := &counting{Backend: reference.New()}
	d := newDecoder(t, b, tiny)
	step := func(rows int) {
		var p model.Pack
		p.Add(make([]int32, rows), -1)
		tg := &model.Targets{Rows: make([]int32, rows), IDs: make([]int32, rows)}
		require.NoError(t, d.Forward(&p, tg, make([]float32, rows), nil))
		require.NoError(t, d.Backward(make([]float32, rows), nil))
	}
	step(20)
	step(20) // what the first pass took in pieces becomes one block
	after := b.allocs
	for rows := 1; rows <= 20; rows++ {
		step(rows)
	}
	require.Equal(t, after, b.allocs)

	c := d.NewCache(8)
	c.Free()
	d.Free()
	require.Zero(t, b.live, "Free releases everything")
}

// A pass like the one before takes the same buffers, without garbage.
func TestArenaGarbage(t *testing.T) {
	a := model.NewArena(reference.New())
	pass := func() {
		a.Reset()
		a.Take(100)
		at := a.Mark()
		a.Take(3)
		a.Release(at)
		a.Take(4)
		a.Take(5)
	}
	pass()
	require.Zero(t, testing.AllocsPerRun(10, pass))
	a.Reset()
	require.Equal(t, 99, a.Take(99).Len())
}

func TestArena(t *testing.T) {
	b := &counting{Backend: reference.New()}
	a := model.NewArena(b)
	first := a.Take(3)
	b.Fill(first, 1)
	mark := a.Mark()
	second := a.Take(1 << 17) // needs a block of its own
	b.Fill(second, 2)
	a.Release(mark)
	third := a.Zeros(5)
	require.Equal(t, 5, third.Len())
	v := make([]float32, 3)
	require.NoError(t, b.Read(v, first))
	require.Equal(t, []float32{1, 1, 1}, v, "what was taken before the mark is left alone")
	a.Reset()
	require.Equal(t, 1, b.live)
	require.Equal(t, 1<<17, a.Take(1<<17).Len())
	require.Equal(t, 1, b.live)
	a.Free()
	require.Zero(t, b.live)
}

func TestMisusePanics(t *testing.T) {
	d := newDecoder(t, reference.New(), tiny)
	var p model.Pack
	p.Add(prompt, -1)
	tg := &model.Targets{Rows: []int32{0}, IDs: []int32{1}}
	logp := make([]float32, 1)
	require.PanicsWithValue(t, "model: Decoder.Backward without a Forward before it", func() { _ = d.Backward(logp, nil) })
	require.NoError(t, d.Score(&p, tg, logp, nil))
	require.Panics(t, func() { _ = d.Backward(logp, nil) }, "Score keeps nothing")
	require.NoError(t, d.Forward(&p, tg, logp, nil))
	require.Panics(t, func() { _ = d.Backward(make([]float32, 2), nil) })
	require.NoError(t, d.Backward(logp, nil))
	require.Panics(t, func() { _ = d.Backward(logp, nil) }, "a Forward serves one Backward")
	require.Panics(t, func() { _ = d.Score(&p, tg, nil, nil) })
	require.Panics(t, func() { p.Add(nil, -1) })
	p.Add([]int32{1}, 0)
	require.Panics(t, func() { p.Add([]int32{1}, 1) }, "a segment with a prefix is none")
}

// A pass needs as much memory whatever the arena's blocks are.
func TestActivationBytes(t *testing.T) {
	d, err := model.NewDecoder(openCPU(), small, 1)
	require.NoError(t, err)
	require.Zero(t, d.ActivationBytes())
	p, tg := groupPack(1)
	logp := make([]float32, len(tg.IDs))
	require.NoError(t, d.Score(p, tg, logp, nil))
	scored := d.ActivationBytes()
	// At least the states of all rows and their head's logits.
	require.Greater(t, scored, 4*(p.Rows()*small.Dim+len(tg.IDs)*small.Vocab))
	require.NoError(t, d.Forward(p, tg, logp, nil))
	require.NoError(t, d.Backward(logp, nil))
	trained := d.ActivationBytes()
	require.Greater(t, trained, scored+4*small.Layers*p.Rows()*(2*small.Dim+3*small.FF))
	require.NoError(t, d.Score(p, tg, logp, nil))
	require.Equal(t, trained, d.ActivationBytes())
}
