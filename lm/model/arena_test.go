package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// counting counts the buffers that are allocated and not yet freed.
type counting struct {
	tensor.Backend
	live int
}

func (c *counting) Alloc(n int) tensor.Buffer {
	c.live++
	return c.Backend.Alloc(n)
}

func (c *counting) Free(b tensor.Buffer) {
	c.live--
	c.Backend.Free(b)
}

// A pass like the one before takes the same buffers, without garbage.
func TestArenaGarbage(t *testing.T) {
	a := newArena(reference.New())
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
	a := newArena(b)
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
