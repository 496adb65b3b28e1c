// Package gpu is the tensor.Backend that packages cuda and opencl share. It runs
// the kernels of folder kernels on a [Driver], in the order of the calls, and
// owns what lies between the two: a caching allocator, pinned memory for
// transfers, the index tables that kernels read, and the sticky error.
//
// The operations are in ops_*.go, each launching its kernels.
package gpu

import (
	"errors"
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// Stats are counts since the backend was opened, and sizes now.
type Stats struct {
	Launches int            // of kernels
	Kernels  map[string]int // launches by kernel
	Writes   int            // calls of Write
	Reads    int            // calls of Read, each of which waits
	Waits    int            // for the device, other than Reads: Sync, and a ring of pinned memory that is full
	Tables   int            // index tables that were uploaded
	Reused   int            // index tables that were there already
	InUse    int64          // bytes of buffers and tables
	Held     int64          // bytes allocated of the device, in use or kept for reuse
	Peak     int64          // the largest Held
}

// Backend is a tensor.Backend on the device of a Driver.
type Backend struct {
	d      Driver
	lib    Multiplier // or nil
	prec   tensor.Precision
	closed bool
	err    error // sticks until Sync
	lost   error // sticks for good: the device is lost, or the backend closed
	c      call
	pool   pool
	ring   ring
	tables [tableKinds]table
	stats  Stats
	ints   []int32 // scratch for index tables
	groups []int32 // and for making them
	fault  error   // to be injected
	faults int     // after so many operations
}

var (
	_ tensor.Backend      = (*Backend)(nil)
	_ tensor.LayerNormer  = (*Backend)(nil)
	_ tensor.Tanher       = (*Backend)(nil)
	_ tensor.GeGLUer      = (*Backend)(nil)
	_ tensor.GELUer       = (*Backend)(nil)
	_ tensor.Cacher       = (*Backend)(nil)
	_ tensor.Precise      = (*Backend)(nil)
	_ tensor.HeadSizer    = (*Backend)(nil)
	_ tensor.ErrReporter  = (*Backend)(nil)
	_ tensor.Packer       = (*Backend)(nil)
	_ tensor.Sampler      = (*Backend)(nil)
	_ tensor.TopKer       = (*Backend)(nil)
	_ tensor.Linearer     = (*Backend)(nil)
	_ tensor.Updater      = (*Backend)(nil)
	_ tensor.Allocator16  = (*Backend)(nil)
	_ tensor.WeightKeeper = (*Backend)(nil)
)

// New returns a backend that owns d and has o's precision, which d must have,
// and memory limit.
func New(d Driver, o tensor.Options) *Backend {
	b := &Backend{d: d, lib: d.Multiplier(), prec: o.Precision}
	b.stats.Kernels = map[string]int{}
	b.pool.init(d, o.MemoryLimit)
	b.ring.init(d)
	return b
}

// Name is the name by which the device is opened, such as "cuda:1".
func (b *Backend) Name() string { return b.d.Name() }

// Describe names the device and its driver for people to read.
func (b *Backend) Describe() string { return b.d.Describe() }

// Precision is what the backend was opened with.
func (b *Backend) Precision() tensor.Precision { return b.prec }

// HeadSize is 64 Mi logits at once and as many kept, 256 MiB: fewer launches of
// larger products than on a processor with caches of some megabytes.
func (b *Backend) HeadSize() (chunk, kept int) { return 64 << 20, 64 << 20 }

// Err returns the sticky error as far as it is known, without waiting.
func (b *Backend) Err() error { return b.err }

// Stats returns the backend's counts.
func (b *Backend) Stats() Stats {
	s := b.stats
	s.InUse, s.Held, s.Peak = b.pool.inUse, b.pool.held, b.pool.peak
	s.Waits += b.ring.waits
	return s
}

var errClosed = errors.New("the backend is closed")

// Close waits for the queue and gives all memory back to the device, including that
// of buffers which were not freed. Closing it again does nothing; anything else
// called afterwards fails and does not touch the device.
func (b *Backend) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	_ = b.d.Sync() // an error of work that nobody waited for
	err := errors.Join(b.ring.close(), b.pool.close())
	b.d.Close()
	if b.lost != nil {
		err = nil // a lost device refuses every call
	}
	b.lost = fmt.Errorf("%s: %w", b.d.Name(), errClosed)
	b.err = b.lost
	return err
}

// fail keeps err, unless there is an error already. A lost device's error stays.
func (b *Backend) fail(err error) {
	if err == nil {
		return
	}
	if b.err == nil {
		b.err = fmt.Errorf("%s: %w", b.d.Name(), err)
	}
	if b.lost == nil && errors.Is(err, tensor.ErrDeviceLost) {
		b.lost = fmt.Errorf("%s: %w", b.d.Name(), err)
	}
}

// FailAfter lets n more operations succeed and makes the one after them fail
// with err, for tests.
func (b *Backend) FailAfter(n int, err error) { b.fault, b.faults = err, n }

// ready says whether an operation is to run, which FailAfter counts.
func (b *Backend) ready() bool {
	if b.err == nil && b.fault != nil {
		if b.faults == 0 {
			b.err, b.fault = b.fault, nil
		}
		b.faults--
	}
	return b.err == nil
}

// allocation is memory from Alloc to Free; buffers are ranges of it.
type allocation struct {
	owner  *Backend
	m      Memory // 0 if memory was short, or freed
	n      int    // elements
	half   bool   // they are bfloat16
	freed  bool
	weight *weight // if KeepWeight was called
}

// bytes is the size of n elements.
func (a *allocation) bytes(n int) int {
	if a.half {
		return 2 * n
	}
	return 4 * n
}

type buffer struct {
	of       *allocation
	from, to int
}

func (b *buffer) Len() int { return b.to - b.from }

// own returns buf as a buffer of this backend. It panics unless it is one that
// was not freed.
func (b *Backend) own(buf tensor.Buffer) *buffer {
	x, ok := buf.(*buffer)
	if !ok || x.of.owner != b {
		panic(fmt.Sprintf("gpu: a buffer of another backend: %T", buf))
	}
	if x.of.freed {
		panic("gpu: a buffer that was freed")
	}
	return x
}

// usable says whether x has memory; if it has none, that is an error again.
func (b *Backend) usable(x *buffer) bool {
	if x.of.m == 0 && x.of.n > 0 {
		b.fail(fmt.Errorf("a buffer of %d elements, for which memory was short: %w", x.of.n, tensor.ErrOutOfMemory))
		return false
	}
	return true
}

// Alloc returns a zeroed buffer of n elements. If memory is short, the error
// sticks, and any use of the buffer fails.
func (b *Backend) Alloc(n int) tensor.Buffer { return b.alloc(n, false) }

// Alloc16 is Alloc of a buffer whose elements are bfloat16.
func (b *Backend) Alloc16(n int) tensor.Buffer { return b.alloc(n, true) }

func (b *Backend) alloc(n int, half bool) tensor.Buffer {
	shape.Alloc(n)
	a := &allocation{owner: b, n: n, half: half}
	x := &buffer{of: a, to: n}
	if n == 0 || b.lost != nil {
		return x
	}
	var err error
	if a.m, err = b.pool.get(a.bytes(n)); err != nil {
		b.fail(fmt.Errorf("Alloc of %d elements: %w", n, err))
		return x
	}
	b.fail(b.d.Fill(a.m, 0, 0, (a.bytes(n)+3)/4)) // sizes in the pool are multiples of 512
	return x
}

// Free releases a buffer that Alloc returned. Operations that were called
// before still see it: the memory's next user is queued behind them.
func (b *Backend) Free(buf tensor.Buffer) {
	x := b.own(buf)
	if x.from != 0 || x.to != x.of.n {
		panic("gpu: Free of a slice")
	}
	x.of.freed = true
	b.forget(x.of)
	if x.of.m != 0 {
		b.pool.put(x.of.m)
		x.of.m = 0
	}
}

// Slice returns elements [from, to) of buf, sharing memory.
func (b *Backend) Slice(buf tensor.Buffer, from, to int) tensor.Buffer {
	x := b.own(buf)
	shape.Slice(buf, from, to)
	return &buffer{of: x.of, from: x.from + from, to: x.from + to}
}

// Write copies src into dst by way of pinned memory.
func (b *Backend) Write(dst tensor.Buffer, src []float32) {
	x := b.own(dst)
	shape.Write(dst, len(src))
	x.of.written()
	if !b.ready() || len(src) == 0 || !b.usable(x) {
		return
	}
	b.stats.Writes++
	if !x.of.half {
		b.fail(b.ring.write(x.of.m, 4*x.from, bytesOf(src)))
		return
	}
	m := b.scratch(len(src))
	defer b.release(m)
	if b.err == nil {
		b.fail(b.ring.write(m, 0, bytesOf(src)))
		b.convert(element{m, 0, false}, x.element(), len(src))
	}
}

// Read waits for all earlier operations and copies src into dst.
func (b *Backend) Read(dst []float32, src tensor.Buffer) error {
	x := b.own(src)
	shape.Read(len(dst), src)
	if !b.ready() || len(dst) == 0 || !b.usable(x) {
		return b.err
	}
	b.stats.Reads++
	if !x.of.half {
		b.fail(b.ring.read(bytesOf(dst), x.of.m, 4*x.from))
		return b.err
	}
	m := b.scratch(len(dst))
	defer b.release(m)
	b.convert(x.element(), element{m, 0, false}, len(dst))
	if b.err == nil {
		b.fail(b.ring.read(bytesOf(dst), m, 0))
	}
	return b.err
}

// Sync waits for all operations and returns the first error since the last
// Sync, if any. That of a lost device, or of a closed backend, is returned for good.
func (b *Backend) Sync() error {
	if b.lost != nil {
		return b.lost
	}
	b.stats.Waits++
	b.fail(b.d.Sync())
	err := b.err
	b.err = b.lost
	return err
}

// Fill sets every element to v.
func (b *Backend) Fill(dst tensor.Buffer, v float32) {
	x := b.own(dst)
	x.of.written()
	switch {
	case x.of.half:
		c := b.call()
		c.act(dst)
		c.size(x.Len())
		c.f32(v)
		b.elementwise("fill", x.Len())
	case b.ready() && x.Len() > 0 && b.usable(x):
		b.fail(b.d.Fill(x.of.m, 4*x.from, word(v), x.Len()))
	}
}

// Copy copies src to dst.
func (b *Backend) Copy(dst, src tensor.Buffer) {
	x, y := b.own(dst), b.own(src)
	shape.Copy(dst, src)
	x.of.written()
	switch {
	case !b.usable(x) || !b.usable(y):
	case x.of.half != y.of.half:
		b.convert(y.element(), x.element(), x.Len())
	case b.ready() && x.Len() > 0:
		b.fail(b.d.Copy(x.of.m, x.of.bytes(x.from), y.of.m, y.of.bytes(y.from), x.of.bytes(x.Len())))
	}
}
