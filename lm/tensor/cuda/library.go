package cuda

import (
	"fmt"
	"unsafe"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/dynlib"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/gpu"
)

// library is the driver API, as far as it is used. All of it is in CUDA 11.
type library struct {
	lib *dynlib.Library
	init, deviceGetCount, deviceGet, deviceGetName, deviceGetAttribute,
	primaryCtxRetain, primaryCtxRelease, ctxSetCurrent,
	streamCreate, streamDestroy, streamSynchronize,
	eventCreate, eventDestroy, eventRecord, eventSynchronize,
	memAlloc, memFree, memAllocHost, memFreeHost, memcpyHtoD, memcpyDtoH, memcpyDtoD, memsetD32,
	moduleLoadData, moduleUnload, moduleGetFunction, funcSetAttribute, launchKernel, getErrorString uintptr
}

// load opens the driver's library, which may be called again.
func load(path string) (*library, error) {
	if path == "" {
		path = "libcuda.so.1"
	}
	lib, err := dynlib.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: no NVIDIA driver: %w", tensor.ErrNoDevice, err)
	}
	l := &library{lib: lib}
	return l, lib.Bind(map[string]*uintptr{
		"cuInit": &l.init, "cuDeviceGetCount": &l.deviceGetCount, "cuDeviceGet": &l.deviceGet,
		"cuDeviceGetName": &l.deviceGetName, "cuDeviceGetAttribute": &l.deviceGetAttribute,
		"cuDevicePrimaryCtxRetain": &l.primaryCtxRetain, "cuDevicePrimaryCtxRelease_v2": &l.primaryCtxRelease,
		"cuCtxSetCurrent": &l.ctxSetCurrent,
		"cuStreamCreate":  &l.streamCreate, "cuStreamDestroy_v2": &l.streamDestroy, "cuStreamSynchronize": &l.streamSynchronize,
		"cuEventCreate": &l.eventCreate, "cuEventDestroy_v2": &l.eventDestroy, "cuEventRecord": &l.eventRecord,
		"cuEventSynchronize": &l.eventSynchronize,
		"cuMemAlloc_v2":      &l.memAlloc, "cuMemFree_v2": &l.memFree,
		"cuMemAllocHost_v2": &l.memAllocHost, "cuMemFreeHost": &l.memFreeHost,
		"cuMemcpyHtoDAsync_v2": &l.memcpyHtoD, "cuMemcpyDtoHAsync_v2": &l.memcpyDtoH,
		"cuMemcpyDtoDAsync_v2": &l.memcpyDtoD, "cuMemsetD32Async": &l.memsetD32,
		"cuModuleLoadDataEx": &l.moduleLoadData, "cuModuleUnload": &l.moduleUnload,
		"cuModuleGetFunction": &l.moduleGetFunction, "cuFuncSetAttribute": &l.funcSetAttribute,
		"cuLaunchKernel": &l.launchKernel, "cuGetErrorString": &l.getErrorString,
	})
}

// err returns the error of a call's result.
func (l *library) err(call string, r uintptr) error {
	code := int32(r)
	if code == 0 {
		return nil
	}
	var text *byte
	dynlib.Call(l.getErrorString, r, uintptr(unsafe.Pointer(&text)))
	e := &gpu.DriverError{Call: call, Code: int(code), Text: dynlib.String(text)}
	switch {
	case code == 2: // CUDA_ERROR_OUT_OF_MEMORY
		e.Cause = tensor.ErrOutOfMemory
	case code == 34, code == 100: // CUDA_ERROR_STUB_LIBRARY, CUDA_ERROR_NO_DEVICE: a driver without a GPU
		e.Cause = tensor.ErrNoDevice
	case lost[code]:
		e.Cause = tensor.ErrDeviceLost
	}
	return e
}

// lost are the errors after which the driver API's manual says that the process
// must be ended to use the device again, and those of a device that is gone.
var lost = map[int32]bool{
	4:   true, // DEINITIALIZED
	46:  true, // DEVICE_UNAVAILABLE
	101: true, // INVALID_DEVICE, of one that was opened
	201: true, // INVALID_CONTEXT
	214: true, // ECC_UNCORRECTABLE
	220: true, // NVLINK_UNCORRECTABLE
	700: true, // ILLEGAL_ADDRESS
	702: true, // LAUNCH_TIMEOUT
	709: true, // CONTEXT_IS_DESTROYED
	710: true, // ASSERT
	714: true, // HARDWARE_STACK_ERROR
	715: true, // ILLEGAL_INSTRUCTION
	716: true, // MISALIGNED_ADDRESS
	717: true, // INVALID_ADDRESS_SPACE
	718: true, // INVALID_PC
	719: true, // LAUNCH_FAILED
	999: true, // UNKNOWN
}
