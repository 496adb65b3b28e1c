package kerneltest_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stepwise-rl/stepwise/mirror/kernel"
	"github.com/stepwise-rl/stepwise/mirror/kernel/kerneltest"
)

// A test of a kernel of your own.
func ExampleRun() {
	_ = func(t *testing.T) {
		kerneltest.Run(t, kernel.Each(kernel.Cosh{}), func(r *rand.Rand) []float64 {
			return []float64{r.NormFloat64(), r.NormFloat64()}
		})
	}
}
