package cpu

import "time"

// PeakGFLOPS measures what the machine could reach at best: multiply-adds
// that stay in registers, on all workers, in units of 10⁹ floating-point
// operations a second. It takes about 30 ms. Kernels are judged by the
// fraction of it that they reach; with [Go] it is merely a plain loop.
func (b *Backend) PeakGFLOPS() float64 {
	const n = 1 << 14
	best := 0.0
	for start := time.Now(); time.Since(start) < 30*time.Millisecond; {
		tasks := b.maxWorkers()
		t := time.Now()
		b.run(tasks*grain, tasks, func(*scratch, int) { b.kern.peak(n) })
		best = max(best, float64(tasks*n*b.kern.peakFlops)/float64(time.Since(t).Nanoseconds()))
	}
	return best
}
