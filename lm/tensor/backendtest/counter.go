package backendtest

import "github.com/stepwise-rl/stepwise/lm/tensor"

// Counter is an [Async] that counts the calls, so that a model calls what it would call
// of a device.
type Counter struct{ *Async }

// NewCounter returns a backend that computes on inner, as NewAsync does.
func NewCounter(inner tensor.Backend) *Counter { return &Counter{NewAsync(inner)} }

// Counts are calls since the last [Counter.Take].
type Counts struct {
	// Calls are the operations, without the following.
	Calls int
	// Reads and Writes copy between host and device. A Read waits, and so does a
	// Sync.
	Reads, Writes, Syncs int
	// Allocs and Frees manage memory; Slice is not counted.
	Allocs, Frees int
	// ReadElements and WriteElements are how many values were copied.
	ReadElements, WriteElements int
}

// Take returns the counts, and begins again with 0.
func (c *Counter) Take() Counts {
	taken := c.counts
	c.counts = Counts{}
	return taken
}
