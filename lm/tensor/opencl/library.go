package opencl

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/dynlib"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/gpu"
)

// library is OpenCL 1.2, as far as it is used.
type library struct {
	lib *dynlib.Library
	getPlatformIDs, getDeviceIDs, getDeviceInfo,
	createContext, releaseContext, createCommandQueue, releaseCommandQueue, finish,
	createProgram, buildProgram, getProgramBuildInfo, releaseProgram,
	createKernel, setKernelArg, releaseKernel, enqueueNDRangeKernel,
	createBuffer, releaseMemObject, enqueueMapBuffer, enqueueUnmapMemObject,
	enqueueReadBuffer, enqueueWriteBuffer, enqueueCopyBuffer, enqueueFillBuffer,
	enqueueMarker, waitForEvents, releaseEvent uintptr
}

// load opens the OpenCL loader, which may be called again.
func load(path string) (*library, error) {
	if path == "" {
		path = "libOpenCL.so.1"
		if runtime.GOOS == "darwin" {
			path = "/System/Library/Frameworks/OpenCL.framework/OpenCL"
		}
	}
	lib, err := dynlib.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: no OpenCL loader: %w", tensor.ErrNoDevice, err)
	}
	l := &library{lib: lib}
	return l, lib.Bind(map[string]*uintptr{
		"clGetPlatformIDs": &l.getPlatformIDs, "clGetDeviceIDs": &l.getDeviceIDs, "clGetDeviceInfo": &l.getDeviceInfo,
		"clCreateContext": &l.createContext, "clReleaseContext": &l.releaseContext,
		"clCreateCommandQueue": &l.createCommandQueue, "clReleaseCommandQueue": &l.releaseCommandQueue, "clFinish": &l.finish,
		"clCreateProgramWithSource": &l.createProgram, "clBuildProgram": &l.buildProgram,
		"clGetProgramBuildInfo": &l.getProgramBuildInfo, "clReleaseProgram": &l.releaseProgram,
		"clCreateKernel": &l.createKernel, "clSetKernelArg": &l.setKernelArg, "clReleaseKernel": &l.releaseKernel,
		"clEnqueueNDRangeKernel": &l.enqueueNDRangeKernel,
		"clCreateBuffer":         &l.createBuffer, "clReleaseMemObject": &l.releaseMemObject,
		"clEnqueueMapBuffer": &l.enqueueMapBuffer, "clEnqueueUnmapMemObject": &l.enqueueUnmapMemObject,
		"clEnqueueReadBuffer": &l.enqueueReadBuffer, "clEnqueueWriteBuffer": &l.enqueueWriteBuffer,
		"clEnqueueCopyBuffer": &l.enqueueCopyBuffer, "clEnqueueFillBuffer": &l.enqueueFillBuffer,
		"clEnqueueMarkerWithWaitList": &l.enqueueMarker, "clWaitForEvents": &l.waitForEvents, "clReleaseEvent": &l.releaseEvent,
	})
}

const (
	typeGPU       = 1 << 2 // CL_DEVICE_TYPE_GPU
	typeAll       = 0xFFFFFFFF
	deviceType    = 0x1000
	deviceName    = 0x102B
	deviceVersion = 0x102F
)

// devices lists the devices of all platforms, GPUs first.
func (l *library) devices() ([]uintptr, error) {
	var n uint32
	r := dynlib.Call(l.getPlatformIDs, 0, 0, uintptr(unsafe.Pointer(&n)))
	if int32(r) == -1001 || int32(r) == 0 && n == 0 { // CL_PLATFORM_NOT_FOUND_KHR
		return nil, fmt.Errorf("%w: %s knows no OpenCL driver", tensor.ErrNoDevice, l.lib.Path())
	}
	if err := l.check("clGetPlatformIDs", r); err != nil {
		return nil, err
	}
	platforms := make([]uintptr, n)
	if err := l.check("clGetPlatformIDs", dynlib.Call(l.getPlatformIDs, uintptr(n), uintptr(unsafe.Pointer(&platforms[0])), 0)); err != nil {
		return nil, err
	}
	var gpus, others []uintptr
	for _, p := range platforms {
		var n uint32
		if r := dynlib.Call(l.getDeviceIDs, p, typeAll, 0, 0, uintptr(unsafe.Pointer(&n))); int32(r) != 0 || n == 0 {
			continue // a driver without a device
		}
		ids := make([]uintptr, n)
		if err := l.check("clGetDeviceIDs", dynlib.Call(l.getDeviceIDs, p, typeAll, uintptr(n), uintptr(unsafe.Pointer(&ids[0])), 0)); err != nil {
			return nil, err
		}
		for _, id := range ids {
			var kind uint64
			dynlib.Call(l.getDeviceInfo, id, deviceType, 8, uintptr(unsafe.Pointer(&kind)), 0)
			if kind&typeGPU != 0 {
				gpus = append(gpus, id)
			} else {
				others = append(others, id)
			}
		}
	}
	return append(gpus, others...), nil
}

// deviceString returns a string of clGetDeviceInfo.
func (l *library) deviceString(device, what uintptr) string {
	s := make([]byte, 1024)
	dynlib.Call(l.getDeviceInfo, device, what, uintptr(len(s)-1), uintptr(unsafe.Pointer(&s[0])), 0)
	return strings.TrimSpace(dynlib.String(&s[0]))
}

// check returns the error of a call's result.
func (l *library) check(call string, r uintptr) error { return status(call, int32(r)) }

func status(call string, code int32) error {
	if code == 0 {
		return nil
	}
	e := &gpu.DriverError{Call: call, Code: int(code), Text: texts[code]}
	switch code {
	case -4, -6, -61: // -61, of a buffer above the largest size
		e.Cause = tensor.ErrOutOfMemory
	case -2, -14, -36:
		e.Cause = tensor.ErrDeviceLost
	}
	return e
}

// texts are the errors that one meets; the numbers of the others are in cl.h.
var texts = map[int32]string{
	-2: "device not available", -4: "memory object allocation failure", -5: "out of resources", -6: "out of host memory",
	-11: "build program failure", -14: "execution status error for events in wait list", -36: "invalid command queue",
	-38: "invalid memory object", -46: "invalid kernel name", -51: "invalid argument size", -52: "invalid kernel arguments",
	-54: "invalid work group size", -61: "invalid buffer size",
}
