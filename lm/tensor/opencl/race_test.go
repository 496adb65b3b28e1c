package opencl

import (
	"bytes"
	"cmp"
	"flag"
	"os"
	"os/exec"
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

var long = flag.Bool("long", false, "run every kernel under Oclgrind's data-race detector, and look for every planted fault")

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

// TestWork: the small work launches every kernel, and computes what the reference
// does.
func TestWork(t *testing.T) {
	source := cmp.Or(os.Getenv("SABOTAGED_SOURCE"), gpu.Source()) // see sabotaged
	b := opened(t, tensor.Options{}, source)
	got, err := gputest.Work(b)
	require.NoError(t, err)
	want, err := gputest.Work(reference.New())
	require.NoError(t, err)
	assert.NoError(t, gputest.Compare(got, want, 2e-5))
	launched := b.Stats().Kernels
	for _, name := range kernelNames(t, source) {
		assert.NotZero(t, launched[name], name)
	}
}

// underOclgrind runs TestWork on a simulated device in a process of its own, for
// the loader reads its environment once, and returns what Oclgrind says.
func underOclgrind(t *testing.T, source string) string {
	if _, err := os.Stat(oclgrind); err != nil {
		t.Skipf("no Oclgrind: %v", err)
	}
	opened(t, tensor.Options{}, gpu.Source())
	c := exec.Command(os.Args[0], "-test.run=^TestWork$", "-test.v")
	c.Env = append(os.Environ(), "OCL_ICD_VENDORS="+oclgrind, "OCLGRIND_DATA_RACES=1", "OCLGRIND_NUM_THREADS=1", "SABOTAGED_SOURCE="+source)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	if source == "" {
		require.NoError(t, err, &out)
	}
	return out.String()
}

// TestDataRaces: no kernel reads what another thread may be writing.
func TestDataRaces(t *testing.T) {
	if !*long {
		t.Skip("takes minutes: use -long")
	}
	out := underOclgrind(t, "")
	assert.Contains(t, out, "--- PASS: TestWork")
	assert.NotContains(t, out, "data race")
	assert.NotContains(t, out, "Invalid")
}
