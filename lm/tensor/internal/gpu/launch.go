package gpu

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// call gathers the arguments of a kernel for launch:
//
//	c := b.call()
//	c.buf(y)
//	c.i32(cols)
//	b.launch("rmsnorm", rows, 1, 128)
//
// Each buf and each tab is a base and an offset (IN or OUT in the kernel).
func (b *Backend) call() *call {
	b.c.b, b.c.N = b, 0
	return &b.c
}

// call is the kernel call that is being prepared.
type call struct {
	b *Backend
	Args
}

// buf adds a buffer. It panics unless it is this backend's, of float32.
func (c *call) buf(buf tensor.Buffer) {
	x := c.b.own(buf)
	if x.of.half {
		panic("gpu: a buffer of 16 bits, where the operation wants float32")
	}
	x.of.written()
	c.b.usable(x)
	c.memory(x.of.m, x.from)
}

// opt adds a buffer that may be nil, and instead of which a kernel gets other,
// which it is told not to touch: OpenCL refuses null pointers in places.
func (c *call) opt(buf, other tensor.Buffer) {
	if buf == nil {
		buf = other
	}
	c.buf(buf)
}

// tab adds memory from its start, such as an uploaded table.
func (c *call) tab(m Memory) { c.memory(m, 0) }

// launch queues the kernel with the arguments of the last call, unless an error
// sticks or the grid is empty.
func (b *Backend) launch(name string, gridX, gridY, threads int) {
	b.launchGrid(name, [3]int{gridX, gridY, 1}, threads, 0)
}

// launchGrid is launch with a grid of three dimensions and dynamic shared
// memory.
func (b *Backend) launchGrid(name string, grid [3]int, threads, shared int) {
	if grid[0] == 0 || grid[1] == 0 || grid[2] == 0 || !b.ready() {
		return
	}
	k, err := b.d.Kernel(name)
	if err == nil {
		err = b.d.Launch(k, grid, threads, shared, &b.c.Args)
	}
	if err != nil {
		b.fail(fmt.Errorf("kernel %s: %w", name, err))
		return
	}
	b.stats.Launches++
	b.stats.Kernels[name]++
}
