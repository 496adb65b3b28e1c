// Package opencl is a tensor backend for GPUs of any maker, and for CPUs, by
// OpenCL 1.2. It needs an OpenCL loader (libOpenCL.so.1, or macOS's framework)
// and a driver that it finds, and no cgo. The kernels are compiled when a device
// is opened.
//
// Import it for its side effect and open a device by name:
//
//	import _ "github.com/stepwise-rl/stepwise/lm/tensor/opencl"
//
//	b, err := tensor.Open("opencl")                // the first device
//	b, err := tensor.Open("opencl:1,memory=6GiB") // the second
//
// Devices are counted over all platforms, GPUs before other devices. Products are
// in float32. The setting library is the path of the loader, if it is not the
// system's.
//
// Each call of tensor.Open opens a backend of its own, with its own queue and
// memory, also on a device that is open already. tensor.ErrNoDevice says that
// there is no loader, no such device, or nothing of the kind for this operating
// system.
package opencl

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/dynlib"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/gpu"
)

func init() {
	tensor.Register("opencl", func(o tensor.Options) (tensor.Backend, error) {
		b, err := open(o, gpu.Source())
		if err != nil {
			return nil, err
		}
		return b, nil
	})
}

func open(o tensor.Options, source string) (*gpu.Backend, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Precision != tensor.PrecisionFloat32 {
		return nil, fmt.Errorf("opencl: Precision is %v; OpenCL has float32 only", o.Precision)
	}
	for key := range o.Settings {
		if key != "library" {
			return nil, fmt.Errorf("opencl: unknown setting %q, want library", key)
		}
	}
	d, err := openDriver(o, source)
	if err != nil {
		return nil, fmt.Errorf("opencl:%d: %w", o.Device, err)
	}
	return gpu.New(d, o), nil
}

// driver is a gpu.Driver on one queue of a context of its own.
type driver struct {
	*library
	number        int
	device        uintptr // cl_device_id
	ctx, queue    uintptr
	program       uintptr
	kernels       map[string]gpu.Kernel
	marks         [4]uintptr // cl_event, 0 if not set
	description   string
	global, local [3]uintptr  // of a launch
	word          uint32      // of a fill
	args          [12]uintptr // of repeat
}

func openDriver(o tensor.Options, source string) (_ *driver, err error) {
	l, err := load(o.Settings["library"])
	if err != nil {
		return nil, err
	}
	d := &driver{library: l, number: o.Device, kernels: map[string]gpu.Kernel{}}
	devices, err := l.devices()
	if err != nil {
		return nil, err
	}
	if o.Device >= len(devices) {
		return nil, fmt.Errorf("%w: %s has %d", tensor.ErrNoDevice, l.lib.Path(), len(devices))
	}
	d.device = devices[o.Device]
	d.description = l.deviceString(d.device, deviceName) + ", " + l.deviceString(d.device, deviceVersion)
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	var code int32
	d.ctx = dynlib.Call(l.createContext, 0, 1, uintptr(unsafe.Pointer(&d.device)), 0, 0, uintptr(unsafe.Pointer(&code)))
	if err := status("clCreateContext", code); err != nil {
		return nil, err
	}
	d.queue = dynlib.Call(l.createCommandQueue, d.ctx, d.device, 0, uintptr(unsafe.Pointer(&code)))
	if err := status("clCreateCommandQueue", code); err != nil {
		return nil, err
	}
	return d, d.build(source)
}

// build compiles the kernels. Its error has the compiler's log.
func (d *driver) build(source string) error {
	var code int32
	text, length := dynlib.CString(source), uintptr(len(source))
	p := &text
	d.program = dynlib.Call(d.createProgram, d.ctx, 1, uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&length)), uintptr(unsafe.Pointer(&code)))
	runtime.KeepAlive(p)
	if err := status("clCreateProgramWithSource", code); err != nil {
		return err
	}
	err := d.check("clBuildProgram", dynlib.Call(d.buildProgram, d.program, 1, uintptr(unsafe.Pointer(&d.device)),
		uintptr(unsafe.Pointer(dynlib.CString("-cl-std=CL1.2"))), 0, 0))
	if err == nil {
		return nil
	}
	const buildLog = 0x1183
	log := make([]byte, 64<<10)
	dynlib.Call(d.getProgramBuildInfo, d.program, d.device, buildLog, uintptr(len(log)-1), uintptr(unsafe.Pointer(&log[0])), 0)
	return fmt.Errorf("%s: %w\n%s", d.description, err, strings.TrimSpace(dynlib.String(&log[0])))
}

// repeat is for what a steady pass calls: it copies args, so that they need no
// memory of their own. All pointers among them are to memory that stays where it
// is without dynlib.Call's directive: pinned, or part of what is on the heap.
func (d *driver) repeat(name string, f uintptr, args ...uintptr) error {
	return d.check(name, dynlib.Call(f, d.args[:copy(d.args[:], args)]...))
}

func (d *driver) Name() string     { return "opencl:" + strconv.Itoa(d.number) }
func (d *driver) Describe() string { return d.description }

const (
	readWrite    = 1 << 0 // CL_MEM_READ_WRITE
	allocHostPtr = 1 << 4 // CL_MEM_ALLOC_HOST_PTR
	mapReadWrite = 3      // CL_MAP_READ | CL_MAP_WRITE
	blocking     = 1
)

func (d *driver) Alloc(n int) (gpu.Memory, error) {
	m, err := d.buffer(readWrite, n)
	if err != nil {
		return 0, err
	}
	// A driver may allocate only when the buffer is used: use it now, so that it
	// is known here if memory is short.
	if err := d.Fill(gpu.Memory(m), 0, 0, 1); err != nil {
		dynlib.Call(d.releaseMemObject, m)
		return 0, err
	}
	return gpu.Memory(m), nil
}

func (d *driver) buffer(flags uintptr, n int) (uintptr, error) {
	var code int32
	m := dynlib.Call(d.createBuffer, d.ctx, flags, uintptr(n), 0, uintptr(unsafe.Pointer(&code)))
	return m, status("clCreateBuffer", code)
}

func (d *driver) Free(m gpu.Memory) error {
	return d.check("clReleaseMemObject", dynlib.Call(d.releaseMemObject, uintptr(m)))
}

// Pin maps a buffer that the driver keeps in host memory, which is how OpenCL
// pins.
func (d *driver) Pin(n int) (gpu.Pinned, error) {
	m, err := d.buffer(readWrite|allocHostPtr, n)
	if err != nil {
		return gpu.Pinned{}, err
	}
	var code int32
	p := dynlib.Call(d.enqueueMapBuffer, d.queue, m, blocking, mapReadWrite, 0, uintptr(n), 0, 0, 0, uintptr(unsafe.Pointer(&code)))
	if err := status("clEnqueueMapBuffer", code); err != nil {
		dynlib.Call(d.releaseMemObject, m)
		return gpu.Pinned{}, err
	}
	return gpu.Pinned{Bytes: unsafe.Slice(*(**byte)(unsafe.Pointer(&p)), n), Handle: m}, nil
}

func (d *driver) Unpin(p gpu.Pinned) error {
	dynlib.Call(d.enqueueUnmapMemObject, d.queue, p.Handle, uintptr(unsafe.Pointer(&p.Bytes[0])), 0, 0, 0)
	return d.Free(gpu.Memory(p.Handle))
}

func (d *driver) Write(dst gpu.Memory, at int, src unsafe.Pointer, n int) error {
	return d.repeat("clEnqueueWriteBuffer", d.enqueueWriteBuffer, d.queue, uintptr(dst), 0, uintptr(at), uintptr(n), uintptr(src), 0, 0, 0)
}

func (d *driver) Read(dst unsafe.Pointer, src gpu.Memory, at, n int) error {
	return d.repeat("clEnqueueReadBuffer", d.enqueueReadBuffer, d.queue, uintptr(src), 0, uintptr(at), uintptr(n), uintptr(dst), 0, 0, 0)
}

func (d *driver) Copy(dst gpu.Memory, dstAt int, src gpu.Memory, srcAt, n int) error {
	return d.repeat("clEnqueueCopyBuffer", d.enqueueCopyBuffer, d.queue, uintptr(src), uintptr(dst), uintptr(srcAt), uintptr(dstAt), uintptr(n), 0, 0, 0)
}

func (d *driver) Fill(dst gpu.Memory, at int, word uint32, n int) error {
	d.word = word
	return d.repeat("clEnqueueFillBuffer", d.enqueueFillBuffer, d.queue, uintptr(dst), uintptr(unsafe.Pointer(&d.word)), 4, uintptr(at), uintptr(4*n), 0, 0, 0)
}

func (d *driver) Kernel(name string) (gpu.Kernel, error) {
	if k, ok := d.kernels[name]; ok {
		return k, nil
	}
	var code int32
	k := gpu.Kernel(dynlib.Call(d.createKernel, d.program, uintptr(unsafe.Pointer(dynlib.CString(name))), uintptr(unsafe.Pointer(&code))))
	if err := status("clCreateKernel", code); err != nil {
		return 0, err
	}
	d.kernels[name] = k
	return k, nil
}

func (d *driver) Launch(k gpu.Kernel, grid [3]int, threads, shared int, a *gpu.Args) error {
	if shared != 0 {
		return fmt.Errorf("%d bytes of dynamic shared memory, of which OpenCL has none", shared)
	}
	for i := range a.N {
		if err := d.repeat("clSetKernelArg", d.setKernelArg, uintptr(k), uintptr(i), a.Size[i], uintptr(a.Ptr[i])); err != nil {
			return fmt.Errorf("argument %d: %w", i, err)
		}
	}
	d.global = [3]uintptr{uintptr(grid[0] * threads), uintptr(grid[1]), uintptr(grid[2])}
	d.local = [3]uintptr{uintptr(threads), 1, 1}
	return d.repeat("clEnqueueNDRangeKernel", d.enqueueNDRangeKernel, d.queue, uintptr(k), 3, 0,
		uintptr(unsafe.Pointer(&d.global)), uintptr(unsafe.Pointer(&d.local)), 0, 0, 0)
}

func (d *driver) Mark(i int) error {
	if err := d.clear(i); err != nil {
		return err
	}
	return d.repeat("clEnqueueMarkerWithWaitList", d.enqueueMarker, d.queue, 0, 0, uintptr(unsafe.Pointer(&d.marks[i])))
}

func (d *driver) WaitMark(i int) error {
	if d.marks[i] == 0 {
		return nil
	}
	if err := d.repeat("clWaitForEvents", d.waitForEvents, 1, uintptr(unsafe.Pointer(&d.marks[i]))); err != nil {
		return err
	}
	return d.clear(i)
}

// clear forgets mark i.
func (d *driver) clear(i int) error {
	e := d.marks[i]
	if e == 0 {
		return nil
	}
	d.marks[i] = 0
	return d.repeat("clReleaseEvent", d.releaseEvent, e)
}

func (d *driver) Sync() error { return d.repeat("clFinish", d.finish, d.queue) }

// Multiplier returns nil: OpenCL has no such library.
func (d *driver) Multiplier() gpu.Multiplier { return nil }

// Close releases what the driver holds. The calls may fail if the device was lost, which
// has been reported before.
func (d *driver) Close() {
	for i := range d.marks {
		d.clear(i)
	}
	for _, k := range d.kernels {
		dynlib.Call(d.releaseKernel, uintptr(k))
	}
	for _, r := range []struct{ f, handle uintptr }{
		{d.releaseProgram, d.program}, {d.releaseCommandQueue, d.queue}, {d.releaseContext, d.ctx},
	} {
		if r.handle != 0 {
			dynlib.Call(r.f, r.handle)
		}
	}
}
