// Package cuda is a tensor backend for NVIDIA GPUs. It needs the NVIDIA driver
// (libcuda.so.1), and neither cgo nor the CUDA toolkit: the kernels are in the
// program, as PTX that the driver compiles when a device is opened.
//
// Import it for its side effect and open a device by name:
//
//	import _ "github.com/stepwise-rl/stepwise/lm/tensor/cuda"
//
//	b, err := tensor.Open("cuda")                               // the first device
//	b, err := tensor.Open("cuda:1,precision=bf16,memory=60GiB") // the second
//
// Products are in float32 unless another precision is asked for; tf32 and bf16
// run on tensor cores, and need compute capability 8.0. The setting library is
// the path of the driver's library, if it is not libcuda.so.1. With the setting
// cublaslt, products in tf32 and bf16 are those of NVIDIA's cuBLASLt.
// cublaslt=auto looks for it in the file that the environment variable CUBLASLT
// names, where the system's loader looks, and in the Python environment that is
// active or in the folder venv or .venv; any other value is its path. Its
// workspace of 32 MiB is not counted against the memory limit.
//
// Each call of tensor.Open opens a backend of its own, with its own queue and
// memory, also on a device that is open already. tensor.ErrNoDevice says that
// there is no driver, no such device, or nothing of the kind for this operating
// system. After tensor.ErrDeviceLost, which is what an illegal address leads to,
// nothing in this process can use the device.
package cuda

import (
	"fmt"
	"runtime"
	"strconv"
	"unsafe"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/dynlib"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/gpu"
)

func init() {
	tensor.Register("cuda", func(o tensor.Options) (tensor.Backend, error) {
		b, err := open(o)
		if err != nil {
			return nil, err
		}
		return b, nil
	})
}

func open(o tensor.Options) (*gpu.Backend, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	for key := range o.Settings {
		if key != "library" && key != "cublaslt" {
			return nil, fmt.Errorf("cuda: unknown setting %q, want library or cublaslt", key)
		}
	}
	if o.Settings["cublaslt"] != "" && o.Precision == tensor.PrecisionFloat32 {
		return nil, fmt.Errorf("cuda: cublaslt is for products in tf32 or bf16, and Precision is %v", o.Precision)
	}
	d, err := openDriver(o)
	if err != nil {
		return nil, fmt.Errorf("cuda:%d: %w", o.Device, err)
	}
	return gpu.New(d, o), nil
}

// driver is a gpu.Driver on one stream of a device's primary context.
type driver struct {
	*library
	device      int
	handle      int32 // CUdevice
	ctx, stream uintptr
	module      uintptr
	kernels     map[string]gpu.Kernel
	large       map[gpu.Kernel]int // dynamic shared memory that was asked for
	marks       [4]struct {
		event uintptr
		set   bool
	}
	args        [16]uintptr // of repeat
	cublas      *cublas     // nil unless asked for
	description string
}

const (
	attributeMajor    = 75 // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
	attributeMinor    = 76
	funcDynamicShared = 8 // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
)

func openDriver(o tensor.Options) (_ *driver, err error) {
	l, err := load(o.Settings["library"])
	if err != nil {
		return nil, err
	}
	d := &driver{library: l, device: o.Device, kernels: map[string]gpu.Kernel{}, large: map[gpu.Kernel]int{}}
	if err := d.err("cuInit", dynlib.Call(l.init, 0)); err != nil {
		return nil, err
	}
	var count int32
	if err := d.err("cuDeviceGetCount", dynlib.Call(l.deviceGetCount, uintptr(unsafe.Pointer(&count)))); err != nil {
		return nil, err
	}
	if o.Device >= int(count) {
		return nil, fmt.Errorf("%w: %s has %d", tensor.ErrNoDevice, l.lib.Path(), count)
	}
	if err := d.err("cuDeviceGet", dynlib.Call(l.deviceGet, uintptr(unsafe.Pointer(&d.handle)), uintptr(o.Device))); err != nil {
		return nil, err
	}
	name := make([]byte, 256)
	if err := d.err("cuDeviceGetName", dynlib.Call(l.deviceGetName, uintptr(unsafe.Pointer(&name[0])), 255, uintptr(d.handle))); err != nil {
		return nil, err
	}
	var major, minor int32
	for p, attribute := range map[*int32]uintptr{&major: attributeMajor, &minor: attributeMinor} {
		if err := d.err("cuDeviceGetAttribute", dynlib.Call(l.deviceGetAttribute, uintptr(unsafe.Pointer(p)), attribute, uintptr(d.handle))); err != nil {
			return nil, err
		}
	}
	d.description = fmt.Sprintf("%s, compute capability %d.%d", dynlib.String(&name[0]), major, minor)
	image, err := ptx(int(10*major+minor), o.Precision)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.description, err)
	}
	if err := d.err("cuDevicePrimaryCtxRetain", dynlib.Call(l.primaryCtxRetain, uintptr(unsafe.Pointer(&d.ctx)), uintptr(d.handle))); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	const nonBlocking = 1 // the legacy default stream does not wait for it
	if err := d.call("cuStreamCreate", l.streamCreate, uintptr(unsafe.Pointer(&d.stream)), nonBlocking); err != nil {
		return nil, err
	}
	const disableTiming = 2
	for i := range d.marks {
		if err := d.call("cuEventCreate", l.eventCreate, uintptr(unsafe.Pointer(&d.marks[i].event)), disableTiming); err != nil {
			return nil, err
		}
	}
	if err := d.loadModule(image); err != nil {
		return nil, err
	}
	if setting := o.Settings["cublaslt"]; setting != "" {
		if d.cublas, err = openCublas(d, setting); err != nil {
			return nil, err
		}
		d.description += ", products by " + d.cublas.path
	}
	return d, nil
}

// loadModule has the driver compile the kernels. Its error has the compiler's
// log.
func (d *driver) loadModule(image []byte) error {
	const logBuffer, logSize = 5, 6 // CU_JIT_ERROR_LOG_BUFFER, …_SIZE_BYTES
	log := make([]byte, 16<<10)
	options := &[2]int32{logBuffer, logSize}
	values := &struct {
		log  *byte
		size uintptr
	}{&log[0], uintptr(len(log) - 1)}
	err := d.call("cuModuleLoadDataEx", d.moduleLoadData, uintptr(unsafe.Pointer(&d.module)), uintptr(unsafe.Pointer(&image[0])),
		2, uintptr(unsafe.Pointer(options)), uintptr(unsafe.Pointer(values)))
	if text := dynlib.String(&log[0]); err != nil && text != "" {
		return fmt.Errorf("%w\n%s", err, text)
	}
	return err
}

// call makes the context current to whatever thread runs the goroutine now, for
// contexts belong to threads, and calls f.
//
//go:uintptrescapes
func (d *driver) call(name string, f uintptr, args ...uintptr) error {
	runtime.LockOSThread()
	r := dynlib.Call(d.ctxSetCurrent, d.ctx)
	if int32(r) == 0 {
		r = dynlib.Call(f, args...)
	}
	runtime.UnlockOSThread()
	if int32(r) != 0 {
		return d.err(name, r)
	}
	return nil
}

// repeat is call for what a steady pass calls: it copies args, so that they need
// no memory of their own. All pointers among them are to memory that stays where
// it is without call's directive: pinned, or part of what is on the heap.
func (d *driver) repeat(name string, f uintptr, args ...uintptr) error {
	runtime.LockOSThread()
	d.args[0] = d.ctx
	r := dynlib.Call(d.ctxSetCurrent, d.args[:1]...)
	if int32(r) == 0 {
		r = dynlib.Call(f, d.args[:copy(d.args[:], args)]...)
	}
	runtime.UnlockOSThread()
	if int32(r) != 0 {
		return d.err(name, r)
	}
	return nil
}

func (d *driver) Name() string     { return "cuda:" + strconv.Itoa(d.device) }
func (d *driver) Describe() string { return d.description }

func (d *driver) Alloc(n int) (m gpu.Memory, err error) {
	err = d.call("cuMemAlloc", d.memAlloc, uintptr(unsafe.Pointer(&m)), uintptr(n))
	return m, err
}

func (d *driver) Free(m gpu.Memory) error { return d.call("cuMemFree", d.memFree, uintptr(m)) }

func (d *driver) Pin(n int) (gpu.Pinned, error) {
	var p unsafe.Pointer
	if err := d.call("cuMemAllocHost", d.memAllocHost, uintptr(unsafe.Pointer(&p)), uintptr(n)); err != nil {
		return gpu.Pinned{}, err
	}
	return gpu.Pinned{Bytes: unsafe.Slice((*byte)(p), n)}, nil
}

func (d *driver) Unpin(p gpu.Pinned) error {
	return d.call("cuMemFreeHost", d.memFreeHost, uintptr(unsafe.Pointer(&p.Bytes[0])))
}

func (d *driver) Write(dst gpu.Memory, at int, src unsafe.Pointer, n int) error {
	return d.repeat("cuMemcpyHtoDAsync", d.memcpyHtoD, uintptr(dst)+uintptr(at), uintptr(src), uintptr(n), d.stream)
}

func (d *driver) Read(dst unsafe.Pointer, src gpu.Memory, at, n int) error {
	return d.repeat("cuMemcpyDtoHAsync", d.memcpyDtoH, uintptr(dst), uintptr(src)+uintptr(at), uintptr(n), d.stream)
}

func (d *driver) Copy(dst gpu.Memory, dstAt int, src gpu.Memory, srcAt, n int) error {
	return d.repeat("cuMemcpyDtoDAsync", d.memcpyDtoD, uintptr(dst)+uintptr(dstAt), uintptr(src)+uintptr(srcAt), uintptr(n), d.stream)
}

func (d *driver) Fill(dst gpu.Memory, at int, word uint32, n int) error {
	return d.repeat("cuMemsetD32Async", d.memsetD32, uintptr(dst)+uintptr(at), uintptr(word), uintptr(n), d.stream)
}

func (d *driver) Kernel(name string) (gpu.Kernel, error) {
	if k, ok := d.kernels[name]; ok {
		return k, nil
	}
	var k gpu.Kernel
	err := d.call("cuModuleGetFunction", d.moduleGetFunction, uintptr(unsafe.Pointer(&k)), d.module, uintptr(unsafe.Pointer(dynlib.CString(name))))
	if err != nil {
		return 0, err
	}
	d.kernels[name] = k
	return k, nil
}

func (d *driver) Launch(k gpu.Kernel, grid [3]int, threads, shared int, a *gpu.Args) error {
	const without = 48 << 10 // dynamic shared memory that need not be asked for
	if shared > max(without, d.large[k]) {
		if err := d.call("cuFuncSetAttribute", d.funcSetAttribute, uintptr(k), funcDynamicShared, uintptr(shared)); err != nil {
			return err
		}
		d.large[k] = shared
	}
	return d.repeat("cuLaunchKernel", d.launchKernel, uintptr(k), uintptr(grid[0]), uintptr(grid[1]), uintptr(grid[2]),
		uintptr(threads), 1, 1, uintptr(shared), d.stream, uintptr(unsafe.Pointer(&a.Ptr)), 0)
}

func (d *driver) Mark(i int) error {
	d.marks[i].set = true
	return d.repeat("cuEventRecord", d.eventRecord, d.marks[i].event, d.stream)
}

func (d *driver) WaitMark(i int) error {
	if !d.marks[i].set {
		return nil
	}
	d.marks[i].set = false
	return d.repeat("cuEventSynchronize", d.eventSynchronize, d.marks[i].event)
}

func (d *driver) Sync() error {
	return d.repeat("cuStreamSynchronize", d.streamSynchronize, d.stream)
}

// Multiplier returns cuBLASLt, if it was asked for.
func (d *driver) Multiplier() gpu.Multiplier {
	if d.cublas == nil {
		return nil
	}
	return d.cublas
}

// Close releases what the driver holds. The calls fail if the device was lost, which has
// been reported before.
func (d *driver) Close() {
	if d.cublas != nil {
		d.cublas.close()
	}
	if d.module != 0 {
		d.call("cuModuleUnload", d.moduleUnload, d.module)
	}
	for _, m := range d.marks {
		if m.event != 0 {
			d.call("cuEventDestroy", d.eventDestroy, m.event)
		}
	}
	if d.stream != 0 {
		d.call("cuStreamDestroy", d.streamDestroy, d.stream)
	}
	dynlib.Call(d.primaryCtxRelease, uintptr(d.handle))
}
