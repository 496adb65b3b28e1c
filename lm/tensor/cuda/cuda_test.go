package cuda

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/assert"
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

// withFake opens the controls of the fake, which is as new at the start and the
// end of the test. It skips the test on a real device.
func withFake(t testing.TB) (*fake, tensor.Options) {
	t.Helper()
	if *libcuda != "" {
		t.Skip("needs the fake libcuda")
	}
	o := options(t)
	return controls(t, o), o
}

func controls(t testing.TB, o tensor.Options) *fake {
	lib, err := dynlib.Open(o.Settings["library"])
	require.NoError(t, err)
	f := &fake{}
	require.NoError(t, lib.Bind(map[string]*uintptr{
		"fakecuda_reset": &f.reset, "fakecuda_set_memory": &f.setMemory, "fakecuda_set_order": &f.setOrder,
		"fakecuda_set_error": &f.setError, "fakecuda_set_capability": &f.setCapability,
		"fakecuda_allocations": &f.allocations, "fakecuda_count": &f.count,
	}))
	dynlib.Call(f.reset)
	t.Cleanup(func() { dynlib.Call(f.reset) })
	return f
}

func opened(t testing.TB, o tensor.Options) *gpu.Backend {
	b, err := open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// suite runs the conformance suite. On the fake, the threads of a block take turns
// in another order on every backend that is opened; the suite compares the bits
// of several, which differ if a kernel lacks a barrier.
func suite(t *testing.T, o tensor.Options) {
	if *libcuda != "" {
		t.Log(opened(t, o).Describe())
		backendtest.Run(t, func() tensor.Backend { return must(t, o) })
		return
	}
	f := controls(t, o)
	order, before := uintptr(0), dynlib.Call(f.allocations)
	backendtest.Run(t, func() tensor.Backend {
		order++
		dynlib.Call(f.setOrder, order%3)
		return must(t, o)
	})
	assert.Equal(t, before, dynlib.Call(f.allocations), "what the suite's backends left allocated")
}

func TestConformance(t *testing.T) { suite(t, options(t)) }

// TestPrecisions runs the suite in the precisions of tensor cores, with the
// products of the kernels and with those of cuBLASLt. Emulated, tensor cores take
// minutes.
func TestPrecisions(t *testing.T) {
	if !*long && *libcuda == "" {
		t.Skip("use -long")
	}
	for _, p := range []tensor.Precision{tensor.PrecisionTF32, tensor.PrecisionBFloat16} {
		t.Run(p.String(), func(t *testing.T) {
			o := options(t)
			o.Precision = p
			suite(t, o)
		})
		t.Run(p.String()+" by cuBLASLt", func(t *testing.T) {
			o := options(t)
			o.Precision = p
			if *libcuda == "" {
				o.Settings["cublaslt"] = gputest.FakeCublasLt(t)
			} else if o.Settings["cublaslt"] = "auto"; !found(o) {
				t.Skip("no cuBLASLt")
			}
			suite(t, o)
		})
	}
}

// found says whether cuBLASLt is there.
func found(o tensor.Options) bool {
	_, err := dynlib.Open(libraries(o.Settings["cublaslt"])...)
	return err == nil
}

// must opens a backend that someone else closes.
func must(t testing.TB, o tensor.Options) *gpu.Backend {
	b, err := open(o)
	require.NoError(t, err)
	return b
}
