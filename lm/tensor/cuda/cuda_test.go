package cuda

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/lm/internal/gputest"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/dynlib"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/gpu"
)

var libcuda = flag.String("libcuda", "", "run the tests that can be run there on the device of this driver library, such as libcuda.so.1, instead of the fake one")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// options opens the fake device, or the real one of -libcuda.
func options(t testing.TB) tensor.Options {
	if *libcuda != "" {
		return tensor.Options{Settings: map[string]string{"library": *libcuda}}
	}
	return tensor.Options{Settings: map[string]string{"library": gputest.FakeCUDA(t)}}
}

// fake is what tests set in the fake libcuda, and ask it.
type fake struct {
	reset, setMemory, setOrder, setError, setCapability, allocations, count uintptr
}

// useFake returns the controls of the fake, as it was loaded, until the test
// ends.
func useFake(t testing.TB, library string) *fake {
	lib, err := dynlib.Open(library)
	require.NoError(t, err)
	f := &fake{}
	require.NoError(t, lib.Bind(map[string]*uintptr{
		"fakecuda_reset": &f.reset, "fakecuda_set_memory": &f.setMemory, "fakecuda_set_order": &f.setOrder,
		"fakecuda_set_error": &f.setError, "fakecuda_set_capability": &f.setCapability,
		"fakecuda_allocations": &f.allocations, "fakecuda_count": &f.count,
	}))
	reset := func() { dynlib.Call(f.reset) }
	reset()
	t.Cleanup(reset)
	return f
}

func opened(t testing.TB, o tensor.Options) *gpu.Backend {
	b, err := open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// TestConformance runs the suite with the threads of a block in three orders,
// between which a kernel that lacks a barrier would differ.
func TestConformance(t *testing.T) {
	o := options(t)
	if *libcuda != "" {
		t.Log(opened(t, o).Describe())
		backendtest.Run(t, func() tensor.Backend { return must(t, o) })
		return
	}
	f := useFake(t, o.Settings["library"])
	for order := range 3 {
		t.Run([]string{"in order", "in reverse", "odd first"}[order], func(t *testing.T) {
			dynlib.Call(f.setOrder, uintptr(order))
			backendtest.Run(t, func() tensor.Backend { return must(t, o) })
		})
	}
}

// must opens a backend that someone else closes.
func must(t testing.TB, o tensor.Options) *gpu.Backend {
	b, err := open(o)
	require.NoError(t, err)
	return b
}
