package backendtest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAsync(t *testing.T) {
	backendtest.Run(t, func() tensor.Backend { return backendtest.NewAsync(reference.New()) })
}

// core is a backend without any of the optional interfaces.
type core struct{ tensor.Backend }

// TestFallbacks: package tensor replaces what a backend does without.
func TestFallbacks(t *testing.T) {
	backendtest.Run(t, func() tensor.Backend { return core{reference.New()} })
}

func TestCounter(t *testing.T) {
	b := backendtest.NewCounter(reference.New())
	x := b.Alloc(4)
	b.Fill(x, 1)
	b.Axpy(x, 2, b.Alloc(4))
	b.Write(x, make([]float32, 4))
	require.NoError(t, b.Read(make([]float32, 3), b.Slice(x, 0, 3)))
	require.NoError(t, b.Sync())
	b.Free(x)
	assert.Equal(t, backendtest.Counts{Calls: 2, Reads: 1, ReadElements: 3, Writes: 1, WriteElements: 4, Syncs: 1, Allocs: 2, Frees: 1}, b.Take())
	assert.Equal(t, backendtest.Counts{}, b.Take())
}

func TestAsyncStrictness(t *testing.T) {
	b := backendtest.NewAsync(reference.New())
	x, freed := b.Alloc(4), b.Alloc(1)
	ofFreed := b.Slice(freed, 0, 1)
	b.Fill(freed, 1)
	b.Free(freed)
	assert.Panics(t, func() { b.Fill(freed, 1) }, "use after Free")
	assert.Panics(t, func() { b.Fill(ofFreed, 1) }, "use of a slice after Free")
	assert.Panics(t, func() { b.Free(b.Slice(x, 0, 2)) }, "Free of a slice")
	assert.Panics(t, func() { b.Fill(backendtest.NewAsync(reference.New()).Alloc(1), 1) }, "another instance's buffer")
	require.NoError(t, b.Sync())
}

// TestAsyncPanic: what the inner backend alone notices surfaces in the
// caller's goroutine, once.
func TestAsyncPanic(t *testing.T) {
	b := backendtest.NewAsync(reference.New())
	x := b.Alloc(4)
	b.Copy(b.Slice(x, 0, 3), b.Slice(x, 1, 4)) // overlap
	assert.Panics(t, func() { _ = b.Sync() })
	require.NoError(t, b.Sync())
	b.Fill(x, 2)
	got := make([]float32, 4)
	require.NoError(t, b.Read(got, x))
	assert.Equal(t, []float32{2, 2, 2, 2}, got)
}
