package reference_test

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

func TestConformance(t *testing.T) {
	backendtest.Run(t, func() tensor.Backend { return reference.New() })
}

func TestRegistered(t *testing.T) {
	b, err := tensor.Open("reference")
	require.NoError(t, err)
	assert.Equal(t, "reference", b.Name())
}

func TestFloat64Storage(t *testing.T) {
	b := reference.New64()
	x, got := b.Alloc(1), make([]float64, 1)
	b.Write64(x, []float64{0.1})
	require.NoError(t, b.Read64(got, x))
	assert.Equal(t, 0.1, got[0], "no rounding to float32")
}

func TestStrictness(t *testing.T) {
	b := reference.New()
	x, freed := b.Alloc(4), b.Alloc(1)
	ofFreed := b.Slice(freed, 0, 1)
	b.Free(freed)
	assert.Panics(t, func() { b.Fill(freed, 1) }, "use after Free")
	assert.Panics(t, func() { b.Fill(ofFreed, 1) }, "use of a slice after Free")
	assert.Panics(t, func() { b.Free(freed) }, "Free twice")
	assert.Panics(t, func() { b.Free(b.Slice(x, 0, 2)) }, "Free of a slice")
	assert.Panics(t, func() { b.Fill(reference.New().Alloc(1), 1) }, "another instance's buffer")
	assert.Panics(t, func() { b.Copy(b.Slice(x, 0, 3), b.Slice(x, 1, 4)) }, "overlap")
	assert.Panics(t, func() {
		b.StoreCache(b.Alloc(4), b.Alloc(4), b.Alloc(2), b.Alloc(2), []int32{1, 1}, tensor.CacheShape{Rows: 4, KVHeads: 1, HeadDim: 1})
	}, "a row twice")
	assert.NotPanics(t, func() { b.Copy(b.Slice(x, 0, 2), b.Slice(x, 2, 4)) }, "disjoint")
}
