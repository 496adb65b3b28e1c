package gpu

import (
	"fmt"
	"math"
	"unsafe"
)

// Memory is a device allocation: a CUdeviceptr or a cl_mem. 0 is none.
type Memory uintptr

// Kernel is a CUfunction or a cl_kernel.
type Kernel uintptr

// Pinned is host memory that the device copies from and to by itself.
type Pinned struct {
	Bytes  []byte
	Handle uintptr // the driver's
}

// marks is how many points of the queue a driver can remember.
const marks = 4

// Driver drives one device through one in-order queue (a stream). Its methods
// are not for concurrent use. Sizes and positions are in bytes. Methods that
// queue work report its failure as soon as they know of it, which may be at a
// later call.
//
// Errors wrap tensor.ErrOutOfMemory if memory is short, and tensor.ErrDeviceLost
// if the device or its context cannot be used any more.
type Driver interface {
	// Name is the name by which the device is opened, such as "cuda:1".
	Name() string
	// Describe names the device and its driver for people to read.
	Describe() string

	Alloc(bytes int) (Memory, error)
	// Free releases memory that queued work may still use.
	Free(m Memory) error
	Pin(bytes int) (Pinned, error)
	Unpin(p Pinned) error

	// Write and Read queue a copy from or to pinned memory, which must stay as
	// it is until the copy is done.
	Write(dst Memory, at int, src unsafe.Pointer, bytes int) error
	Read(dst unsafe.Pointer, src Memory, at, bytes int) error
	// Copy queues a copy on the device; the ranges are disjoint.
	Copy(dst Memory, dstAt int, src Memory, srcAt, bytes int) error
	// Fill queues setting n words of 4 bytes.
	Fill(dst Memory, at int, word uint32, n int) error

	// Kernel looks a kernel up; it is quick for one that was asked for before.
	Kernel(name string) (Kernel, error)
	// Launch queues a kernel of grid blocks of threads threads each. shared is
	// the size of its dynamic shared memory; a driver that has none refuses all
	// but 0.
	Launch(k Kernel, grid [3]int, threads, shared int, a *Args) error

	// Mark remembers the end of what is queued now as mark i, in [0, 4), and
	// WaitMark waits until the device has got there. A mark that was not set
	// needs no wait.
	Mark(i int) error
	WaitMark(i int) error
	// Sync waits for all that is queued.
	Sync() error
	// Multiplier returns the library for matrix products that the device was
	// opened with, or nil.
	Multiplier() Multiplier
	// Close waits, and releases everything but memory that is still allocated.
	Close()
}

// Multiplier is a library for matrix products.
type Multiplier interface {
	// Multiply queues a product.
	Multiply(p *Product) error
}

// Product is c [M×N] = Alpha·a·bᵀ + Beta·c for packed a [M×Row] and b [N×Row], of
// whose rows the first K elements count. The elements of a and b are bfloat16
// (Half), or float32 that hold TF32; sums are in float32. No size is 0.
type Product struct {
	M, N, K, Row int
	A, B, C      Operand
	Half         bool // of a and b
	HalfC        bool
	Alpha, Beta  float32
}

// Operand is where a matrix starts, in bytes.
type Operand struct {
	Memory Memory
	At     int
}

// Args are a kernel's arguments, in order.
type Args struct {
	N    int
	Size [maxArgs]uintptr
	Ptr  [maxArgs]unsafe.Pointer // to bits: CUDA's kernelParams
	bits [maxArgs]uint64
}

const maxArgs = 40

func (a *Args) add(bits uint64, size uintptr) {
	a.bits[a.N], a.Size[a.N] = bits, size
	a.Ptr[a.N] = unsafe.Pointer(&a.bits[a.N])
	a.N++
}

// memory adds a base and an offset in elements: OpenCL 1.2 has no pointers into
// the middle of a buffer at any alignment.
func (a *Args) memory(m Memory, at int) { a.add(uint64(m), 8); a.add(uint64(at), 8) }
func (a *Args) f32(v float32)           { a.add(uint64(math.Float32bits(v)), 4) }

// i32 adds a number of rows or columns, of which kernels count up to 2³¹ − 1; the
// number of elements, their product, may be larger. It panics beyond that.
func (a *Args) i32(v int) {
	if int64(v) != int64(int32(v)) {
		panic(fmt.Sprintf("gpu: a size of %d, of which kernels count up to %d", v, math.MaxInt32))
	}
	a.add(uint64(uint32(int32(v))), 4)
}

func (a *Args) flag(v bool) {
	if v {
		a.i32(1)
	} else {
		a.i32(0)
	}
}

// DriverError is an error code of a driver's call. Cause is tensor's error of that
// kind, or nil.
type DriverError struct {
	Call  string // the C function
	Code  int
	Text  string // the driver's description of it
	Cause error
}

func (e *DriverError) Error() string {
	s := fmt.Sprintf("%s: error %d", e.Call, e.Code)
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

func (e *DriverError) Unwrap() error { return e.Cause }
