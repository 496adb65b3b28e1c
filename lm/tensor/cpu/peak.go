package cpu

import (
	"time"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// PeakGFLOPS measures what the machine could reach at best: multiply-adds
// that stay in registers, on all workers, in units of 10⁹ floating-point
// operations a second. It takes about 30 ms, each loop a millisecond, beside
// which waking a worker counts for little. Kernels are judged by the
// fraction of it that they reach; with [ISAGo] it is merely a plain loop.
func (b *Backend) PeakGFLOPS() float64 {
	const n = 1 << 17
	best := 0.0
	for start := time.Now(); time.Since(start) < 30*time.Millisecond; {
		tasks := b.maxWorkers()
		t := time.Now()
		b.run(tasks*grain, tasks, func(*scratch, int) { b.kern.peak(n) })
		best = max(best, float64(tasks*n*b.kern.peakFlops)/float64(time.Since(t).Nanoseconds()))
	}
	return best
}

// ReadGBps measures how fast all workers together read x once, in units of 10⁹
// bytes a second. Of a buffer larger than the caches that is the bandwidth of
// memory, which bounds products with few rows.
func (b *Backend) ReadGBps(x tensor.Buffer) float64 {
	v := b.data(x)
	tasks := (len(v) + readPart - 1) / readPart
	sums := b.crew.shared.reset().take(tasks)
	t := time.Now()
	b.run(tasks*grain, tasks, func(_ *scratch, i int) {
		sums[i] = b.kern.total(v[i*readPart : min((i+1)*readPart, len(v))])
	})
	return float64(4*len(v)) / float64(time.Since(t).Nanoseconds())
}

// readPart is how many elements a task of ReadGBps takes, 2 MiB.
const readPart = 1 << 19
