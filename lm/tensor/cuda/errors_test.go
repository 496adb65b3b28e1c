package cuda

import (
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/dynlib"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/gpu"
)

func TestOptions(t *testing.T) {
	for want, o := range map[string]tensor.Options{
		"Options.Device is -1":    {Device: -1},
		`unknown setting "speed"`: {Settings: map[string]string{"speed": "11"}},
	} {
		_, err := open(o)
		require.ErrorContains(t, err, want)
	}
}

// TestNoDevice: what is not there is said, and can be asked for.
func TestNoDevice(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "libcuda.so.1")
	_, err := tensor.Open("cuda:1,library=" + missing)
	require.ErrorIs(t, err, tensor.ErrNoDevice)
	for _, part := range []string{"cuda:1", "no NVIDIA driver", missing} {
		assert.ErrorContains(t, err, part)
	}

	o := options(t)
	o.Device = 1000
	_, err = open(o)
	require.ErrorIs(t, err, tensor.ErrNoDevice)
	assert.ErrorContains(t, err, "cuda:1000")
}

// TestNoGPU: a driver that finds no GPU, as in a container without one, is no device
// either.
func TestNoGPU(t *testing.T) {
	f, o := withFake(t)
	dynlib.Call(f.setError, 100)
	_, err := open(o)
	require.ErrorIs(t, err, tensor.ErrNoDevice)
	assert.ErrorContains(t, err, "cuda:0: cuInit: error 100")
}

// TestCapability: PTX is chosen by the device, and what a device cannot do is
// refused.
func TestCapability(t *testing.T) {
	f, o := withFake(t)
	for capability, want := range map[int]string{70: "", 75: "sm_75", 80: "sm_80", 89: "sm_80", 90: "sm_80", 100: "sm_80", 120: "sm_80"} {
		name, err := target(capability)
		if want == "" {
			assert.ErrorContains(t, err, "want compute capability 7.5 or later")
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, want, name, capability)
	}
	dynlib.Call(f.setCapability, 70)
	_, err := open(o)
	assert.EqualError(t, err, "cuda:0: fake CUDA device 0, compute capability 7.0: want compute capability 7.5 or later")
	dynlib.Call(f.setCapability, 75)
	opened(t, o)
	o.Precision = tensor.PrecisionBFloat16
	_, err = open(o)
	assert.EqualError(t, err, "cuda:0: fake CUDA device 0, compute capability 7.5: bf16 products want compute capability 8.0 or later")
	dynlib.Call(f.setCapability, 80)
	assert.Equal(t, tensor.PrecisionBFloat16, tensor.PrecisionOf(opened(t, o)))
}

// TestDevices: two devices are two backends, which do not take each other's
// buffers, and so are two backends on one device.
func TestDevices(t *testing.T) {
	_, o := withFake(t)
	a, same := opened(t, o), opened(t, o)
	o.Device = 1
	b := opened(t, o)
	assert.Equal(t, "cuda:0", a.Name())
	assert.Equal(t, "cuda:1", b.Name())
	assert.Contains(t, b.Describe(), "fake CUDA device 1")
	for _, other := range []tensor.Backend{b, same} {
		x, y := a.Alloc(3), other.Alloc(3)
		assert.Panics(t, func() { other.Copy(y, x) })
		a.Fill(x, 1)
		other.Fill(y, 2)
		got := make([]float32, 3)
		require.NoError(t, a.Read(got, x))
		assert.Equal(t, []float32{1, 1, 1}, got)
		require.NoError(t, other.Read(got, y))
		assert.Equal(t, []float32{2, 2, 2}, got)
	}
}

// TestOutOfMemory: the driver's error sticks until Sync, and says who asked.
func TestOutOfMemory(t *testing.T) {
	f, o := withFake(t)
	b := opened(t, o)
	dynlib.Call(f.setMemory, 8<<20)
	small := b.Alloc(1 << 20)
	large := b.Alloc(2 << 20)
	err := b.Read(make([]float32, 1), b.Slice(small, 0, 1))
	require.ErrorIs(t, err, tensor.ErrOutOfMemory)
	for _, part := range []string{"cuda:0: Alloc of 2097152 elements", "cuMemAlloc: error 2: out of memory", "8388608 bytes asked for", "4194304 in use"} {
		assert.ErrorContains(t, err, part)
	}
	require.ErrorIs(t, b.Sync(), tensor.ErrOutOfMemory)
	require.NoError(t, b.Sync())
	b.Free(small) // and the memory is there again
	b.Free(large)
	x := b.Alloc(2 << 20)
	b.Fill(x, 1)
	require.NoError(t, b.Sync())
}

// TestIllegalAddress: a kernel that writes where no memory is loses the device,
// for good and for every backend of the process, and the error says so.
func TestIllegalAddress(t *testing.T) {
	_, o := withFake(t) // a real one would be lost
	a, b := opened(t, o), opened(t, o)
	x := a.Alloc(300)
	require.NoError(t, a.Sync())

	d, err := openDriver(o)
	require.NoError(t, err)
	defer d.Close()
	m, err := d.Alloc(512)
	require.NoError(t, err)
	fill, err := d.Kernel("fill")
	require.NoError(t, err)
	base, at, half, n, value := uint64(m), uint64(1)<<40, int32(0), uint64(100), float32(1)
	args := gpu.Args{N: 5, Size: [40]uintptr{8, 8, 4, 8, 4}}
	for i, p := range []unsafe.Pointer{unsafe.Pointer(&base), unsafe.Pointer(&at), unsafe.Pointer(&half), unsafe.Pointer(&n), unsafe.Pointer(&value)} {
		args.Ptr[i] = p
	}
	_ = d.Launch(fill, [3]int{1, 1, 1}, 256, 0, &args) // the error may come later

	for range 3 {
		err := a.Sync()
		require.ErrorIs(t, err, tensor.ErrDeviceLost)
		assert.ErrorContains(t, err, "error 700: an illegal memory access was encountered")
	}
	require.ErrorIs(t, a.Read(make([]float32, 300), x), tensor.ErrDeviceLost)
	require.ErrorIs(t, b.Sync(), tensor.ErrDeviceLost)
	assert.NotPanics(t, func() { a.Axpy(a.Alloc(3), 1, a.Alloc(3)); a.Free(x) })
}

// TestLostDevice: what the driver reports of a device that is gone.
func TestLostDevice(t *testing.T) {
	f, o := withFake(t)
	b := opened(t, o)
	x := b.Alloc(3)
	dynlib.Call(f.setError, 214)
	err := b.Read(make([]float32, 3), x)
	require.ErrorIs(t, err, tensor.ErrDeviceLost)
	assert.ErrorContains(t, err, "uncorrectable ECC error encountered")
}

// TestNothingLeft: Close gives all memory back, that of buffers which were not
// freed included.
func TestNothingLeft(t *testing.T) {
	f, o := withFake(t)
	before := dynlib.Call(f.allocations)
	b := must(t, o)
	x := b.Alloc(1000)
	b.Gather(b.Alloc(20), x, []int32{1, 2}, 10)
	require.NoError(t, b.Close())
	assert.Equal(t, before, dynlib.Call(f.allocations))
}
