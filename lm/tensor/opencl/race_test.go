package opencl

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/internal/gputest"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/dynlib"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/gpu"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

var long = flag.Bool("long", false, "run every kernel under Oclgrind's data-race detector, and look for planted faults")

// oclgrind is the loader's library of Oclgrind, an OpenCL device that simulates
// one and looks at every access.
const oclgrind = "/usr/lib/oclgrind/liboclgrind-rt-icd.so"

// kernelNames lists the kernels of the program.
func kernelNames(t testing.TB, source string) []string {
	d, err := openDriver(tensor.Options{}, source)
	require.NoError(t, err)
	defer d.Close()
	var info uintptr
	require.NoError(t, d.lib.Bind(map[string]*uintptr{"clGetProgramInfo": &info}))
	const programKernelNames = 0x1168
	text := make([]byte, 64<<10)
	require.NoError(t, d.check("clGetProgramInfo", dynlib.Call(info, d.program, programKernelNames, uintptr(len(text)), uintptr(unsafe.Pointer(&text[0])), 0)))
	return strings.Split(dynlib.String(&text[0]), ";")
}

// source is that of the kernels, or what underOclgrind passes in a file.
func source(t testing.TB) string {
	file := os.Getenv("KERNEL_SOURCE")
	if file == "" {
		return gpu.Source()
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

// TestWork: the small work launches every kernel, and computes what the reference
// does.
func TestWork(t *testing.T) {
	b := opened(t, tensor.Options{}, source(t))
	got, err := gputest.Work(b)
	require.NoError(t, err)
	want, err := gputest.Work(reference.New())
	require.NoError(t, err)
	assert.NoError(t, gputest.Compare(got, want, 2e-5))
	launched := b.Stats().Kernels
	for _, name := range kernelNames(t, source(t)) {
		assert.NotZero(t, launched[name], name)
	}
}

// underOclgrind runs TestWork on a simulated device, with other kernels, in a
// process of its own, for the loader reads its environment once. It returns what
// Oclgrind and the test say.
func underOclgrind(t *testing.T, source string) string {
	t.Helper()
	if !*long {
		t.Skip("takes a minute: use -long")
	}
	if _, err := os.Stat(oclgrind); err != nil {
		t.Skipf("no Oclgrind: %v", err)
	}
	file := filepath.Join(t.TempDir(), "kernels.cl")
	require.NoError(t, os.WriteFile(file, []byte(source), 0o600))
	c := exec.Command(os.Args[0], "-test.run=^TestWork$", "-test.v")
	c.Env = append(os.Environ(), "OCL_ICD_VENDORS="+oclgrind, "OCLGRIND_DATA_RACES=1", "OCLGRIND_NUM_THREADS=1", "KERNEL_SOURCE="+file)
	out, _ := c.CombinedOutput() // a planted fault may fail it
	require.Contains(t, string(out), ": TestWork", "the test has run")
	return string(out)
}

// TestDataRaces: no kernel touches what another thread may be writing, or what is
// outside of a buffer.
func TestDataRaces(t *testing.T) {
	out := underOclgrind(t, gpu.Source())
	assert.Contains(t, out, "--- PASS: TestWork")
	assert.NotContains(t, out, "data race")
	assert.NotContains(t, out, "Invalid")
}

// TestPlantedFaults: faults in the kernels are found, by their results or by
// Oclgrind. On PoCL, whose threads run one after the other, races show by luck.
func TestPlantedFaults(t *testing.T) {
	if !*long {
		t.Skip("use -long")
	}
	opened(t, tensor.Options{}, gpu.Source())
	want, err := gputest.Work(reference.New())
	require.NoError(t, err)
	for _, f := range gputest.Faults {
		t.Run(f.Name, func(t *testing.T) {
			source, ok := f.Plant(gpu.Source())
			require.True(t, ok, "nothing to replace")
			if f.Race {
				assert.Contains(t, underOclgrind(t, source), "data race")
				return
			}
			b := opened(t, tensor.Options{}, source)
			got, err := gputest.Work(b)
			if err == nil {
				err = gputest.Compare(got, want, 2e-5)
			}
			require.Error(t, err)
			t.Log(err)
		})
	}
}
