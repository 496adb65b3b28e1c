package opencl

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/gpu"
)

// available skips the test if there is no OpenCL device.
func available(t testing.TB) {
	b, err := Open(Options{})
	if err != nil {
		if gpuErr := err.Error(); strings.Contains(gpuErr, "no OpenCL loader") || strings.Contains(gpuErr, "knows no OpenCL driver") {
			t.Skipf("no OpenCL here: %v", err)
		}
		t.Fatal(err)
	}
	require.NoError(t, b.(*gpu.Backend).Close())
}

func TestConformance(t *testing.T) {
	available(t)
	backendtest.Run(t, func() tensor.Backend {
		b, err := Open(Options{})
		require.NoError(t, err)
		return b
	})
}
