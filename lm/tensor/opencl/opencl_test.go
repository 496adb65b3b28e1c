package opencl

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/gpu"
)

// opened opens the first device, or skips the test if there is none.
func opened(t testing.TB, o tensor.Options, source string) *gpu.Backend {
	t.Helper()
	b, err := open(o, source)
	if errors.Is(err, tensor.ErrNoDevice) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func TestConformance(t *testing.T) {
	t.Log(opened(t, tensor.Options{}, gpu.Source()).Describe())
	backendtest.Run(t, func() tensor.Backend {
		b, err := open(tensor.Options{}, gpu.Source())
		require.NoError(t, err)
		return b
	})
}

func TestNoDevice(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "libOpenCL.so.1")
	_, err := tensor.Open("opencl:1,library=" + missing)
	require.ErrorIs(t, err, tensor.ErrNoDevice)
	for _, part := range []string{"opencl:1", "no OpenCL loader", missing} {
		assert.ErrorContains(t, err, part)
	}
	opened(t, tensor.Options{}, gpu.Source())
	_, err = open(tensor.Options{Device: 1000}, gpu.Source())
	require.ErrorIs(t, err, tensor.ErrNoDevice)
	assert.ErrorContains(t, err, "opencl:1000")
}

func TestOptions(t *testing.T) {
	for want, o := range map[string]tensor.Options{
		"Options.Device is -1":          {Device: -1},
		`unknown setting "speed"`:       {Settings: map[string]string{"speed": "11"}},
		"bf16; OpenCL has float32 only": {Precision: tensor.PrecisionBFloat16},
	} {
		_, err := open(o, gpu.Source())
		require.ErrorContains(t, err, want)
	}
}

// TestBuildError: what the compiler says is in the error.
func TestBuildError(t *testing.T) {
	opened(t, tensor.Options{}, gpu.Source())
	_, err := open(tensor.Options{}, "__kernel void f(__global float *x) { x[0] = nonsense; }")
	require.ErrorContains(t, err, "clBuildProgram: error -11: build program failure")
	assert.ErrorContains(t, err, "nonsense")
}

// TestMemoryLimit: the limit holds, and a buffer beyond all memory is the same
// error.
func TestMemoryLimit(t *testing.T) {
	b := opened(t, tensor.Options{MemoryLimit: 1 << 20}, gpu.Source())
	b.Free(b.Alloc(1 << 17))
	require.NoError(t, b.Sync())
	b.Alloc(1 << 19)
	require.ErrorIs(t, b.Sync(), tensor.ErrOutOfMemory)
	b = opened(t, tensor.Options{}, gpu.Source())
	b.Alloc(1 << 44)
	require.ErrorIs(t, b.Sync(), tensor.ErrOutOfMemory)
	require.NoError(t, b.Sync())
}

// TestNoAllocation: steady work allocates nothing in Go, nor on the device.
func TestNoAllocation(t *testing.T) {
	b := opened(t, tensor.Options{}, gpu.Source())
	logits, logp, stats := b.Alloc(4*100), b.Alloc(4), b.Alloc(12)
	targets := []int32{1, 2, 3, 4}
	run := func() {
		b.Fill(logp, 0)
		b.LogProb(logp, nil, stats, logits, targets, 100, 1)
	}
	run()
	require.NoError(t, b.Sync())
	held := b.Stats().Held
	assert.Zero(t, testing.AllocsPerRun(50, run))
	assert.Equal(t, held, b.Stats().Held)
	require.NoError(t, b.Sync())
}
