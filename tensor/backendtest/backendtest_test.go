package backendtest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/tensor"
	"github.com/stepwise-rl/stepwise/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/tensor/reference"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAsync(t *testing.T) {
	backendtest.Run(t, func() tensor.Backend { return backendtest.NewAsync(reference.New()) })
}
