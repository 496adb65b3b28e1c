package opencl

import (
	"errors"
	"testing"

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
