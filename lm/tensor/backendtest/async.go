package backendtest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// Async is a tensor.Backend that checks and copies its arguments at the call and
// runs the operations later, in order, on another goroutine. After an error it
// skips operations until Sync has returned the error. The goroutine ends
// whenever the queue is empty, so none is left after Sync. It implements the optional
// interfaces that a device would; the inner backend must be a tensor.Sampler and a
// tensor.Updater where these are called.
type Async struct {
	inner  tensor.Backend
	counts Counts // of a Counter

	mu       sync.Mutex
	queue    []task
	idle     chan struct{} // closed when the worker has ended; nil = no worker
	err      error         // sticky
	panicked any           // what the inner backend panicked with
	fault    error         // to be injected
	faultIn  int           // after so many operations
}

// task is a queued call; memory management runs even after an error.
type task struct {
	run    func()
	memory bool
}

var (
	_ tensor.Backend     = (*Async)(nil)
	_ tensor.LayerNormer = (*Async)(nil)
	_ tensor.GELUer      = (*Async)(nil)
	_ tensor.GeGLUer     = (*Async)(nil)
	_ tensor.Tanher      = (*Async)(nil)
	_ tensor.Cacher      = (*Async)(nil)
	_ tensor.Sampler     = (*Async)(nil)
	_ tensor.TopKer      = (*Async)(nil)
	_ tensor.Linearer    = (*Async)(nil)
	_ tensor.Updater     = (*Async)(nil)
	_ tensor.Allocator16 = (*Async)(nil)
	_ tensor.ErrReporter = (*Async)(nil)
	_ Faulty             = (*Async)(nil)
)

// NewAsync returns a backend that computes on inner. The caller must not use
// inner any more.
func NewAsync(inner tensor.Backend) *Async { return &Async{inner: inner} }

// FailAfter lets n more operations succeed and makes the one after them fail.
// Every call but Alloc, Slice, Free and Sync counts as an operation.
func (b *Async) FailAfter(n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault, b.faultIn = err, n
}

// Name returns the inner backend's name in parentheses after "async".
func (b *Async) Name() string { return "async(" + b.inner.Name() + ")" }

// Sync waits for the queue and returns and clears the sticky error. A panic
// of the inner backend surfaces here.
func (b *Async) Sync() error {
	b.counts.Syncs++
	b.wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.err
	b.err = nil
	if innerErr := b.inner.Sync(); err == nil {
		err = innerErr
	}
	return err
}

// Err returns the sticky error, if an operation has failed so far.
func (b *Async) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// wait returns when the queue is empty.
func (b *Async) wait() {
	b.mu.Lock()
	idle := b.idle
	b.mu.Unlock()
	if idle != nil {
		<-idle
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.panicked; p != nil {
		b.panicked = nil
		panic(p)
	}
}

func (b *Async) enqueue(t task) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = append(b.queue, t)
	if b.idle == nil {
		b.idle = make(chan struct{})
		go b.work()
	}
}

func (b *Async) work() {
	for {
		b.mu.Lock()
		if len(b.queue) == 0 {
			close(b.idle)
			b.idle = nil
			b.mu.Unlock()
			return
		}
		t := b.queue[0]
		b.queue = b.queue[1:]
		skip := !t.memory && b.failing()
		b.mu.Unlock()
		if !skip {
			b.guard(t.run)
		}
	}
}

// failing counts an operation and says whether it is to be skipped. The
// caller holds mu.
func (b *Async) failing() bool {
	switch {
	case b.err != nil || b.fault == nil:
	case b.faultIn > 0:
		b.faultIn--
	default:
		b.err, b.fault = b.fault, nil
	}
	return b.err != nil
}

// guard runs f and keeps its panic for the caller's goroutine.
func (b *Async) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			b.mu.Lock()
			b.panicked = p
			b.mu.Unlock()
		}
	}()
	f()
}

// handle is a buffer of an Async. inner belongs to the worker.
type handle struct {
	owner *Async
	root  *handle // of Alloc; itself unless a slice
	n     int
	freed bool // root only
	inner tensor.Buffer
}

func (h *handle) Len() int { return h.n }

// own checks that buf is a live buffer of this backend.
func (b *Async) own(buf tensor.Buffer) *handle {
	h, ok := buf.(*handle)
	if !ok || h.owner != b {
		panic(fmt.Sprintf("backendtest: a buffer of another backend: %T", buf))
	}
	if h.root.freed {
		panic("backendtest: a buffer that was freed")
	}
	return h
}

// do counts an operation, and queues it.
func (b *Async) do(run func(inner []tensor.Buffer), bufs ...tensor.Buffer) {
	b.counts.Calls++
	b.later(run, bufs...)
}

// later queues an operation on buffers that it checks. A nil buffer stays nil.
func (b *Async) later(run func(inner []tensor.Buffer), bufs ...tensor.Buffer) {
	handles := make([]*handle, len(bufs))
	for i, buf := range bufs {
		if buf != nil {
			handles[i] = b.own(buf)
		}
	}
	b.enqueue(task{run: func() {
		inner := make([]tensor.Buffer, len(handles))
		for i, h := range handles {
			if h != nil {
				inner[i] = h.inner
			}
		}
		run(inner)
	}})
}

// Alloc returns a zeroed buffer of n elements.
func (b *Async) Alloc(n int) tensor.Buffer { return b.alloc(n, b.inner.Alloc) }

// Alloc16 returns a zeroed buffer of n elements of 16 bits.
func (b *Async) Alloc16(n int) tensor.Buffer {
	return b.alloc(n, func(n int) tensor.Buffer { return tensor.Alloc16(b.inner, n) })
}

func (b *Async) alloc(n int, alloc func(n int) tensor.Buffer) tensor.Buffer {
	shape.Alloc(n)
	b.counts.Allocs++
	h := &handle{owner: b, n: n}
	h.root = h
	b.enqueue(task{memory: true, run: func() { h.inner = alloc(n) }})
	return h
}

// Free releases a buffer of Alloc, after the operations before it.
func (b *Async) Free(buf tensor.Buffer) {
	h := b.own(buf)
	if h.root != h {
		panic("backendtest: Free of a slice")
	}
	b.counts.Frees++
	h.freed = true
	b.enqueue(task{memory: true, run: func() { b.inner.Free(h.inner) }})
}

// Slice returns elements [from, to) of buf, sharing memory.
func (b *Async) Slice(buf tensor.Buffer, from, to int) tensor.Buffer {
	of := b.own(buf)
	shape.Slice(buf, from, to)
	h := &handle{owner: b, root: of.root, n: to - from}
	b.enqueue(task{memory: true, run: func() { h.inner = b.inner.Slice(of.inner, from, to) }})
	return h
}

// Write copies src into dst.
func (b *Async) Write(dst tensor.Buffer, src []float32) {
	shape.Write(dst, len(src))
	b.counts.Writes++
	b.counts.WriteElements += len(src)
	src = slices.Clone(src)
	b.later(func(inner []tensor.Buffer) { b.inner.Write(inner[0], src) }, dst)
}

// Read waits for the queue and copies src into dst. It returns the sticky
// error without clearing it.
func (b *Async) Read(dst []float32, src tensor.Buffer) error {
	shape.Read(len(dst), src)
	b.counts.Reads++
	b.counts.ReadElements += len(dst)
	var err error
	b.later(func(inner []tensor.Buffer) { err = b.inner.Read(dst, inner[0]) }, src)
	b.wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	return err
}
