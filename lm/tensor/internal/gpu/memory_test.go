package gpu

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// lazy is a driver without kernels whose queue runs as late as it may: only when
// a mark or the end of the queue is waited for. So what changes pinned memory
// too early is found.
type lazy struct {
	memory   map[Memory][]byte
	next     Memory
	room     int // bytes that Alloc still gives
	queue    []func()
	marks    [marks]int // position in the queue's history
	ran      int        // operations that are done
	launches int
	syncErr  error
	closed   int
}

func newLazy() *lazy {
	return &lazy{memory: map[Memory][]byte{}, next: 1, room: 1 << 30}
}

func (d *lazy) Name() string     { return "lazy:0" }
func (d *lazy) Describe() string { return "a queue in Go" }
func (d *lazy) Alloc(n int) (Memory, error) {
	if n > d.room {
		return 0, &DriverError{Call: "alloc", Code: 2, Text: "out of memory", Cause: tensor.ErrOutOfMemory}
	}
	d.room -= n
	m := d.next
	d.next++
	d.memory[m] = slices.Repeat([]byte{0xff}, n)
	return m, nil
}
func (d *lazy) Free(m Memory) error {
	if d.memory[m] == nil {
		return errors.New("freed twice")
	}
	d.room += len(d.memory[m])
	delete(d.memory, m)
	return nil
}
func (d *lazy) Pin(n int) (Pinned, error) { return Pinned{Bytes: make([]byte, n)}, nil }
func (d *lazy) Unpin(Pinned) error        { return nil }
func (d *lazy) Write(dst Memory, at int, src unsafe.Pointer, n int) error {
	d.queue = append(d.queue, func() { copy(d.memory[dst][at:at+n], unsafe.Slice((*byte)(src), n)) })
	return nil
}
func (d *lazy) Read(dst unsafe.Pointer, src Memory, at, n int) error {
	d.queue = append(d.queue, func() { copy(unsafe.Slice((*byte)(dst), n), d.memory[src][at:at+n]) })
	return nil
}
func (d *lazy) Copy(dst Memory, dstAt int, src Memory, srcAt, n int) error {
	d.queue = append(d.queue, func() { copy(d.memory[dst][dstAt:dstAt+n], d.memory[src][srcAt:srcAt+n]) })
	return nil
}
func (d *lazy) Fill(dst Memory, at int, word uint32, n int) error {
	d.queue = append(d.queue, func() {
		for i := range n {
			copy(d.memory[dst][at+4*i:], unsafe.Slice((*byte)(unsafe.Pointer(&word)), 4))
		}
	})
	return nil
}
func (d *lazy) Kernel(name string) (Kernel, error) {
	if name == "missing" {
		return 0, &DriverError{Call: "kernel", Code: 500, Text: "named symbol not found"}
	}
	return 1, nil
}
func (d *lazy) Launch(Kernel, [3]int, int, int, *Args) error { d.launches++; return nil }
func (d *lazy) Mark(i int) error                             { d.marks[i] = d.ran + len(d.queue); return nil }
func (d *lazy) WaitMark(i int) error                         { d.run(d.marks[i] - d.ran); return nil }
func (d *lazy) Sync() error                                  { d.run(len(d.queue)); return d.syncErr }
func (d *lazy) Multiplier() Multiplier                       { return nil }
func (d *lazy) Close()                                       { d.closed++ }

func (d *lazy) run(n int) {
	for range max(n, 0) {
		d.queue[0]()
		d.queue = d.queue[1:]
		d.ran++
	}
}

func backendOn(t testing.TB, d *lazy, o tensor.Options) *Backend {
	t.Helper()
	return New(d, o)
}

// TestTransfers writes and reads in pieces that fill the ring of pinned memory
// several times.
func TestTransfers(t *testing.T) {
	d := newLazy()
	b := backendOn(t, d, tensor.Options{})
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 3*marks*blockSize/4 + 12345
	want := make([]float32, n)
	x := b.Alloc(n)
	for at := 0; at < n; {
		size := min(n-at, rng.IntN(2*blockSize/4))
		src := make([]float32, size)
		for i := range src {
			src[i] = rng.Float32()
		}
		copy(want[at:], src)
		b.Write(b.Slice(x, at, at+size), src)
		clear(src)
		at += size
	}
	got := make([]float32, n)
	require.NoError(t, b.Read(got, x))
	assert.True(t, slices.Equal(want, got))
	for at := 0; at < n; {
		size := min(n-at, rng.IntN(3*blockSize/4))
		part := make([]float32, size)
		require.NoError(t, b.Read(part, b.Slice(x, at, at+size)))
		require.True(t, slices.Equal(want[at:at+size], part), "%d elements from %d", size, at)
		at += size
	}
	b.Free(x)
	require.NoError(t, b.Close())
	assert.Empty(t, d.memory, "what Close leaves allocated")
}

// TestClass: a size class holds what asked for it and wastes little.
func TestClass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 1<<40).Draw(t, "bytes")
		c := class(n)
		if c < n || c > n+min(n/8, 32<<20)+512 || class(c) != c || c%512 != 0 {
			t.Fatalf("class of %d is %d", n, c)
		}
	})
	assert.Equal(t, 512, class(1))
	assert.Equal(t, 9<<20, class(8<<20+1))
}

// TestPool: memory is reused, the limit holds for what is kept too, and a
// request that would not fit has it given back.
func TestPool(t *testing.T) {
	const kb = 1 << 10
	d := newLazy()
	b := backendOn(t, d, tensor.Options{MemoryLimit: 100 * kb})
	x := b.Alloc(40 * kb / 4)
	first := x.(*buffer).of.m
	b.Free(x)
	assert.Equal(t, int64(40*kb), b.Stats().Held, "kept")
	assert.Zero(t, b.Stats().InUse)
	x = b.Alloc(40 * kb / 4)
	assert.Equal(t, first, x.(*buffer).of.m, "the same memory again")
	b.Free(x)
	y := b.Alloc(80 * kb / 4) // fits only without what is kept
	require.NoError(t, b.Sync())
	assert.Equal(t, int64(80*kb), b.Stats().Held)
	assert.Equal(t, int64(80*kb), b.Stats().Peak)
	assert.Len(t, d.memory, 1)

	z := b.Alloc(40 * kb / 4)
	err := b.Read(make([]float32, 1), b.Slice(y, 0, 1))
	require.ErrorIs(t, err, tensor.ErrOutOfMemory)
	for _, part := range []string{"lazy:0", "Alloc of 10240 elements", "40960 bytes", "81920 in use", "limit 102400"} {
		assert.ErrorContains(t, err, part)
	}
	require.ErrorIs(t, b.Sync(), tensor.ErrOutOfMemory)
	require.NoError(t, b.Sync(), "cleared")
	b.Fill(z, 1) // has no memory
	require.ErrorIs(t, b.Sync(), tensor.ErrOutOfMemory)
	b.Free(z)
	b.Free(y)
	b.Free(b.Alloc(96 * kb / 4))
	require.NoError(t, b.Sync())

	d.room = 0 // of the device, 96 KB of which are kept
	b.Alloc(90 * kb / 4)
	require.NoError(t, b.Sync())
	require.NoError(t, b.Close())
}

// TestTables: a table that comes again is not uploaded again.
func TestTables(t *testing.T) {
	b := backendOn(t, newLazy(), tensor.Options{})
	v := []int32{1, 2, 3}
	m := upload(b, tableIndices, v)
	assert.Equal(t, m, upload(b, tableIndices, v))
	upload(b, tableTargets, v)
	assert.Equal(t, m, upload(b, tableIndices, slices.Clone(v)))
	v[2] = 4
	assert.Equal(t, m, upload(b, tableIndices, v), "in the same place")
	assert.NotEqual(t, m, upload(b, tableIndices, make([]int32, 1000)), "which is too small")
	assert.Equal(t, 4, b.Stats().Tables)
	assert.Equal(t, 2, b.Stats().Reused)
	require.NoError(t, b.Close())
}

// TestLost: the error of a lost device comes from every call, and Sync does not
// clear it.
func TestLost(t *testing.T) {
	d := newLazy()
	b := backendOn(t, d, tensor.Options{})
	x := b.Alloc(4)
	d.syncErr = &DriverError{Call: "cuStreamSynchronize", Code: 700, Text: "an illegal memory access was encountered", Cause: tensor.ErrDeviceLost}
	for range 3 {
		err := b.Sync()
		require.ErrorIs(t, err, tensor.ErrDeviceLost)
		assert.EqualError(t, err, "lazy:0: cuStreamSynchronize: error 700: an illegal memory access was encountered")
	}
	assert.ErrorIs(t, b.Read(make([]float32, 4), x), tensor.ErrDeviceLost)
	assert.NotPanics(t, func() { b.Fill(b.Alloc(3), 1); b.Free(x) })
	require.NoError(t, b.Close())
}

// TestClosed: what is called after Close is an error and does not reach the driver,
// which has nothing any more.
func TestClosed(t *testing.T) {
	d := newLazy()
	b := backendOn(t, d, tensor.Options{})
	x := b.Alloc(4)
	b.Free(b.Alloc(4)) // its memory was kept for the next
	require.NoError(t, b.Close())
	b.Write(x, []float32{1, 2, 3, 4})
	y := b.Alloc(4)
	b.Axpy(y, 1, x)
	for range 2 {
		assert.EqualError(t, b.Sync(), "lazy:0: the backend is closed")
	}
	assert.ErrorIs(t, b.Read(make([]float32, 4), x), errClosed)
	b.Free(x)
	require.NoError(t, b.Close())
	assert.Equal(t, 1, d.closed)
	assert.Zero(t, d.launches)
	assert.Empty(t, d.queue)
}

func TestMissingKernel(t *testing.T) {
	b := backendOn(t, newLazy(), tensor.Options{})
	b.call()
	b.launch("missing", 1, 1, 1)
	assert.EqualError(t, b.Sync(), "lazy:0: kernel missing: kernel: error 500: named symbol not found")
}

// TestNoAllocation: a steady launch allocates nothing in Go, with a table or
// without.
func TestNoAllocation(t *testing.T) {
	b := backendOn(t, newLazy(), tensor.Options{})
	x, table := b.Alloc(64), []int32{1, 2, 3}
	var asTensor tensor.Buffer = x
	run := func() {
		c := b.call()
		c.buf(asTensor)
		c.tab(upload(b, tableIndices, table))
		c.i32(3)
		c.f32(0.5)
		b.launch("kernel", 1, 1, 128)
	}
	run()
	assert.Zero(t, testing.AllocsPerRun(100, run))
}

func ExampleDriverError() {
	fmt.Println(&DriverError{Call: "cuMemAlloc", Code: 2, Text: "out of memory"})
	// Output: cuMemAlloc: error 2: out of memory
}
