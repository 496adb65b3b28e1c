package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// crew runs the tasks of one operation on several goroutines. Tasks are
// independent of each other and of who runs them; what needs a fixed order (a
// sum over all rows) is cut into tasks by the operation's shape alone and put
// together afterwards. That is what makes results independent of GOMAXPROCS.
type crew struct {
	wg      sync.WaitGroup
	next    atomic.Int64
	tasks   int
	task    func(s *scratch, i int)
	scratch []*scratch
	// shared is scratch memory of the whole operation.
	shared scratch
}

// Work is counted in multiply-adds of a matrix product. An element costs about
// so many of them:
const (
	moveCost = 4  // copied or added
	normCost = 8  // normalised or rotated
	expCost  = 20 // with an exponential, a division or a root

	streamCost = 8 // read from memory, as the weights of a product with few rows
)

// grain is the least work for which a goroutine is worth starting, about 10 µs
// on one core.
const grain = 1 << 19

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
	n := max(1, min(b.maxWorkers(), tasks, work/grain))
	for len(c.scratch) < n {
		c.scratch = append(c.scratch, new(scratch))
	}
	if n == 1 {
		for i := range tasks {
			task(c.scratch[0].reset(), i)
		}
		return
	}
	c.tasks, c.task = tasks, task
	c.next.Store(0)
	c.wg.Add(n - 1)
	for w := 1; w < n; w++ {
		go c.help(c.scratch[w])
	}
	c.work(c.scratch[0])
	c.wg.Wait()
	c.task = nil
}

func (c *crew) help(s *scratch) {
	c.work(s)
	c.wg.Done()
}

func (c *crew) work(s *scratch) {
	for {
		i := int(c.next.Add(1)) - 1
		if i >= c.tasks {
			return
		}
		c.task(s.reset(), i)
	}
}

// spans calls f for consecutive ranges that cover [0, n), each of size
// elements but the last; cost is the work of one element.
func (b *Backend) spans(n, size, cost int, f func(s *scratch, from, to int)) {
	b.run(n*cost, (n+size-1)/size, func(s *scratch, i int) {
		f(s, i*size, min((i+1)*size, n))
	})
}

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
