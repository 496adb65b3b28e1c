package gpu

import "errors"

var (
	// ErrOutOfMemory: the device, or the limit that was set, has no room for
	// an allocation.
	ErrOutOfMemory = errors.New("out of device memory")
	// ErrDeviceLost: the device cannot be used any more in this process.
	ErrDeviceLost = errors.New("device lost")
)
