package cpu_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eachISA runs f on every instruction set of the machine.
func eachISA(t *testing.T, f func(t *testing.T, isa cpu.ISA)) {
	for _, isa := range cpu.Available() {
		t.Run(isa.String(), func(t *testing.T) { f(t, isa) })
	}
}

func open(t testing.TB, o cpu.Options) *cpu.Backend {
	b, err := cpu.New(o)
	require.NoError(t, err)
	return b
}

func TestConformance(t *testing.T) {
	eachISA(t, func(t *testing.T, isa cpu.ISA) {
		backendtest.Run(t, func() tensor.Backend { return open(t, cpu.Options{ISA: isa}) })
	})
}
