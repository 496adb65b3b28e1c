package cpu

import (
	"runtime"
	"sync/atomic"
	"time"
)

// crew runs the tasks of one operation on several goroutines. Tasks are
// independent of each other and of who runs them; what needs a fixed order (a
// sum over all rows) is cut into tasks by the operation's shape alone and put
// together afterwards. That is what makes results independent of GOMAXPROCS.
//
// Starting a goroutine on an idle processor takes 5 to 50 µs, as long as many
// operations of a small model. So helpers stay for the next operation: they
// poll state for as long as patience, and end when nothing came. No goroutine
// outlives a quiet backend, and an operation never waits for a helper that has
// not joined it.
type crew struct {
	// state is the operation's number (from bit epochBit on), its number of
	// workers (from widthBit on, 0: nobody may join any more), whether the
	// caller sleeps until the last helper has left, and how many helpers are at
	// work.
	state atomic.Uint64
	_     [lineBytes]byte // helpers poll state; keep it apart from what is written
	next  atomic.Int64
	_     [lineBytes]byte
	tasks int
	task  func(s *scratch, i int)
	// sweep is what sweepTask, the task of every sweep, does.
	sweep     sweep
	sweepTask func(s *scratch, i int)
	// left is sent to by the last helper if the caller sleeps.
	left    chan struct{}
	helpers []*helper
	// own is the caller's memory, shared that of the whole operation.
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

// helper is a goroutine, or the place of one that comes when it is needed.
type helper struct {
	index   int // from 1: the caller is worker 0
	alive   atomic.Bool
	joined  uint64 // the number of the last operation it took part in
	scratch scratch
}

// Work is counted in multiply-adds of a matrix product. An element costs about
// so many of them:
const (
	moveCost = 4  // copied or added
	normCost = 8  // normalised or rotated
	expCost  = 20 // with an exponential, a division or a root

	streamCost = 8 // read from memory, as the weights of a product with few rows
)

// grain is the least work for which a second worker is worth asking, some
// microseconds on one core.
const grain = 1 << 18

// patience is how long a helper polls for the next operation before it ends,
// and the caller for the helpers' last tasks before it sleeps.
const patience = 50 * time.Microsecond

// maxWorkers is how many goroutines an operation may use.
func (b *Backend) maxWorkers() int {
	if b.workers > 0 {
		return b.workers
	}
	return runtime.GOMAXPROCS(0)
}

// run calls task(s, i) once for every i in [0, tasks), the calling goroutine
// being one of the workers, and returns when all are done. work is the whole
// operation's amount of work; little of it runs on few goroutines. s is the
// worker's own memory. task must not panic: arguments are checked before.
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

// close lets nobody join any more, and waits for those who have.
func (c *crew) close() {
	c.state.And(^uint64(width))
	if poll(func() bool { return c.state.Load()&inside == 0 }) {
		return
	}
	if c.state.Or(asleep)&inside > 0 {
		<-c.left
	}
}

// help takes part in operations until none comes.
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
		// An operation may have begun, and counted on h, just before.
		if !h.wanted(c.state.Load(), joined) || !h.alive.CompareAndSwap(false, true) {
			return
		}
	}
}

// wanted reports whether the operation of a state has a place for h, which
// joined another one last.
func (h *helper) wanted(state, joined uint64) bool {
	return int(state&width>>widthBit) > h.index && state>>epochBit != joined
}

// join makes h a worker of the operation, if it is wanted there.
func (c *crew) join(h *helper) bool {
	state := c.state.Load()
	if !h.wanted(state, h.joined) || !c.state.CompareAndSwap(state, state+1) {
		return false
	}
	h.joined = state >> epochBit
	return true
}

// poll calls ready until it is true or patience is at an end, and tells which.
// Goroutines that wait for a processor get this one in between.
func poll(ready func() bool) bool {
	const calls = 5000 // about 10 µs: whoever gets the processor may make its caches cold
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

// work does tasks until there are no more.
func (c *crew) work(s *scratch) {
	for {
		i := int(c.next.Add(1)) - 1
		if i >= c.tasks {
			return
		}
		c.task(s.reset(), i)
	}
}

// sweep calls f for consecutive ranges that cover [0, n), each of size
// elements but the last; cost is the work of one element.
func (b *Backend) sweep(n, size, cost int, f func(s *scratch, from, to int)) {
	c := &b.crew
	c.sweep = sweep{f, n, size}
	if c.sweepTask == nil {
		c.sweepTask = func(s *scratch, i int) { c.sweep.run(s, i) }
	}
	b.run(n*cost, (n+size-1)/size, c.sweepTask)
	c.sweep = sweep{}
}

// sweep is an operation that goes over [0, n) in ranges of a size. It is kept
// with the crew, so that every operation makes one function only.
type sweep struct {
	f       func(s *scratch, from, to int)
	n, size int
}

func (p *sweep) run(s *scratch, i int) { p.f(s, i*p.size, min((i+1)*p.size, p.n)) }

// rowsPerTask is a number of rows of cols elements that makes a task.
func rowsPerTask(cols int) int { return max(1, (1<<14)/max(cols, 1)) }

// scratch hands out memory that lives until its reset.
type scratch struct {
	mem   []float32
	used  int
	mem64 []float64
	// attender is here so that a task of attention need not allocate it.
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
		// What was taken since the reset stays valid in the old memory.
		s.mem = aligned(max(2*len(s.mem), s.used+size))
		s.used = 0
	}
	from := s.used
	s.used += size
	return s.mem[from : from+n : from+n]
}

// take64 returns n float64s with undefined contents; one such block lives at
// a time.
func (s *scratch) take64(n int) []float64 {
	if len(s.mem64) < n {
		s.mem64 = make([]float64, max(n, 2*len(s.mem64)))
	}
	return s.mem64[:n]
}

// roundUp returns the smallest multiple of m that is at least n.
func roundUp(n, m int) int { return (n + m - 1) / m * m }
