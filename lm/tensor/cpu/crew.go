package cpu

import (
	"runtime"
	"sync/atomic"
	"time"
)

// crew runs the tasks of an operation on several goroutines. Tasks depend neither
// on each other nor on who runs them. What needs a fixed order, such as a sum
// over all rows, is cut into tasks by the operation's shape alone and put
// together afterwards. So results do not depend on GOMAXPROCS.
//
// Starting a goroutine on an idle processor takes 5 to 50 µs, as long as many
// operations of a small model. So helpers stay for the next operation: they poll
// state until patience has passed, and end if nothing came. An idle backend
// therefore has no goroutines, and an operation never waits for a helper that has
// not joined it.
type crew struct {
	// state holds, from its upper bits down, the number of the operation (from
	// epochBit on), the number of its workers (from widthBit on; 0 means that no
	// more may join), whether the caller sleeps until the last helper has left,
	// and how many helpers are at work.
	state atomic.Uint64
	_     [lineBytes]byte // helpers poll state: what is written often must lie in other cache lines
	next  atomic.Int64
	_     [lineBytes]byte
	tasks int
	task  func(s *scratch, i int)
	// sweep is what sweepTask, the task of every sweep, does.
	sweep     sweep
	sweepTask func(s *scratch, i int)
	// left receives a value from the last helper if the caller sleeps.
	left    chan struct{}
	helpers []*helper
	// own is the calling goroutine's memory, shared that of the operation.
	own, shared scratch
}

// The parts of crew.state.
const (
	epochBit = 32
	widthBit = 16
	asleep   = 1 << 15
	inside   = asleep - 1
	width    = 1<<epochBit - 1<<widthBit
)

// helper is a goroutine, or the place of one that is started when needed.
type helper struct {
	index   int // from 1: the caller is worker 0
	alive   atomic.Bool
	joined  uint64 // the number of the last operation it took part in
	scratch scratch
}

// Work is counted in multiply-adds of a matrix product. For each element, this is
// about how many of them the other kinds of work cost:
const (
	moveCost = 4  // to copy or add it
	normCost = 8  // to normalise or rotate it
	expCost  = 20 // an exponential, a division or a root

	streamCost = 8 // to read it from memory, like the weights of a product with few rows
)

// grain is the least work, some microseconds on one core, for which it pays to
// have a second worker.
const grain = 1 << 18

// patience is how long a helper polls for the next operation before it ends, and
// how long the caller polls for the helpers' last tasks before it sleeps.
const patience = 50 * time.Microsecond

// maxWorkers is how many goroutines an operation may use.
func (b *Backend) maxWorkers() int {
	if b.workers > 0 {
		return b.workers
	}
	return runtime.GOMAXPROCS(0)
}

// run calls task(s, i) once for every i in [0, tasks) and returns when all calls
// have. The calling goroutine is one of the workers. work is that of the whole
// operation: if it is little, few goroutines share it. s is the worker's memory.
// task must not panic: arguments are checked before.
func (b *Backend) run(work, tasks int, task func(s *scratch, i int)) {
	c := &b.crew
	n := max(1, min(b.maxWorkers(), tasks, work/grain, inside))
	if n == 1 {
		for i := range tasks {
			task(c.own.reset(), i)
		}
		return
	}
	c.tasks, c.task = tasks, task
	c.next.Store(0)
	c.open(n)
	c.work(&c.own)
	c.close()
	c.task = nil
}

// open lets n−1 helpers join, and starts those that are not there.
func (c *crew) open(n int) {
	c.state.Store((c.state.Load()>>epochBit+1)<<epochBit | uint64(n)<<widthBit)
	for len(c.helpers) < n-1 {
		c.helpers = append(c.helpers, &helper{index: len(c.helpers) + 1})
	}
	for _, h := range c.helpers[:n-1] {
		if h.alive.CompareAndSwap(false, true) {
			go c.help(h)
		}
	}
}

// close lets no more helpers join and waits for those that have.
func (c *crew) close() {
	c.state.And(^uint64(width))
	if poll(func() bool { return c.state.Load()&inside == 0 }) {
		return
	}
	if c.state.Or(asleep)&inside > 0 {
		<-c.left
	}
}

// help takes part in operations until none comes any more.
func (c *crew) help(h *helper) {
	for {
		if poll(func() bool { return c.join(h) }) {
			c.work(&h.scratch)
			if c.state.Add(^uint64(0))&(asleep|inside) == asleep {
				c.left <- struct{}{}
			}
			continue
		}
		joined := h.joined // another goroutine's from here on
		h.alive.Store(false)
		// Just before, an operation may have begun that counts on h.
		if !h.wanted(c.state.Load(), joined) || !h.alive.CompareAndSwap(false, true) {
			return
		}
	}
}

// wanted reports whether the operation in state has a place for h, which last
// took part in operation joined.
func (h *helper) wanted(state, joined uint64) bool {
	return int(state&width>>widthBit) > h.index && state>>epochBit != joined
}

// join makes h a worker of the current operation, if it is wanted.
func (c *crew) join(h *helper) bool {
	state := c.state.Load()
	if !h.wanted(state, h.joined) || !c.state.CompareAndSwap(state, state+1) {
		return false
	}
	h.joined = state >> epochBit
	return true
}

// poll calls ready until it returns true or patience has passed, and returns
// whether it did. In between, it yields the processor to other goroutines.
func poll(ready func() bool) bool {
	const calls = 5000 // about 10 µs; yielding more often may leave the caches cold
	for start := time.Now(); ; runtime.Gosched() {
		for range calls {
			if ready() {
				return true
			}
		}
		if time.Since(start) > patience {
			return false
		}
	}
}

// work runs tasks until none is left.
func (c *crew) work(s *scratch) {
	for {
		i := int(c.next.Add(1)) - 1
		if i >= c.tasks {
			return
		}
		c.task(s.reset(), i)
	}
}

// sweep calls f for consecutive ranges that together are [0, n), each of size
// elements but the last. cost is the work of one element.
func (b *Backend) sweep(n, size, cost int, f func(s *scratch, from, to int)) {
	c := &b.crew
	c.sweep = sweep{f, n, size}
	if c.sweepTask == nil {
		c.sweepTask = func(s *scratch, i int) { c.sweep.run(s, i) }
	}
	b.run(n*cost, (n+size-1)/size, c.sweepTask)
	c.sweep = sweep{}
}

// sweep is an operation that goes over [0, n) in ranges of size elements. It is
// kept with the crew so that an operation allocates no function but its own.
type sweep struct {
	f       func(s *scratch, from, to int)
	n, size int
}

func (p *sweep) run(s *scratch, i int) { p.f(s, i*p.size, min((i+1)*p.size, p.n)) }

// rowsPerTask is the number of rows of cols elements that make a task.
func rowsPerTask(cols int) int { return max(1, (1<<14)/max(cols, 1)) }

// scratch hands out memory that lives until its reset.
type scratch struct {
	mem   []float32
	used  int
	mem64 []float64
	// attender is here so that tasks of attention do not allocate it.
	attender attender
}

func (s *scratch) reset() *scratch {
	s.used = 0
	return s
}

// take returns n elements with undefined contents, at a cache line.
func (s *scratch) take(n int) []float32 {
	size := roundUp(n, lineFloats)
	if s.used+size > len(s.mem) {
		// What was taken since the reset stays valid, in the old memory.
		s.mem = aligned(max(2*len(s.mem), s.used+size))
		s.used = 0
	}
	from := s.used
	s.used += size
	return s.mem[from : from+n : from+n]
}

// take64 returns n float64s with undefined contents, which live until its next
// call.
func (s *scratch) take64(n int) []float64 {
	if len(s.mem64) < n {
		s.mem64 = make([]float64, max(n, 2*len(s.mem64)))
	}
	return s.mem64[:n]
}

// roundUp returns the smallest multiple of m that is at least n.
func roundUp(n, m int) int { return (n + m - 1) / m * m }
