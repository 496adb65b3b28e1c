package gpu

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// pool is a caching allocator. What is put back is kept and given to the next
// request of the same size class, without a call of the driver: in steady work
// nothing is allocated. All work is in one queue, so memory may be given away
// while the last user's work is still queued.
type pool struct {
	d     Driver
	limit int64 // 0 = none
	free  map[int][]Memory
	size  map[Memory]int // of every allocation, kept or in use
	inUse int64
	held  int64
	peak  int64
}

func (p *pool) init(d Driver, limit int64) {
	*p = pool{d: d, limit: limit, free: map[int][]Memory{}, size: map[Memory]int{}}
}

// class rounds a size up, so that requests of about the same size can use the
// same memory: to a multiple of 512, and to one of eight sizes between a power of
// two and the next, but never by more than 32 MiB.
func class(bytes int) int {
	const least, most = 512, 32 << 20
	bytes = max(bytes, 1)
	step := min(max(1<<bits.Len(uint(bytes-1))/16, least), most)
	return (bytes + step - 1) / step * step
}

// get returns memory of at least so many bytes, with any contents.
func (p *pool) get(bytes int) (Memory, error) {
	size := class(bytes)
	if kept := p.free[size]; len(kept) > 0 {
		m := kept[len(kept)-1]
		p.free[size] = kept[:len(kept)-1]
		p.inUse += int64(size)
		return m, nil
	}
	if p.limit > 0 && p.held+int64(size) > p.limit {
		if err := p.release(); err != nil {
			return 0, err
		}
		if p.held+int64(size) > p.limit {
			return 0, p.short(size, tensor.ErrOutOfMemory)
		}
	}
	m, err := p.d.Alloc(size)
	if errors.Is(err, tensor.ErrOutOfMemory) {
		if err := p.release(); err != nil {
			return 0, err
		}
		m, err = p.d.Alloc(size)
	}
	if err != nil {
		return 0, p.short(size, err)
	}
	p.size[m] = size
	p.inUse += int64(size)
	p.held += int64(size)
	p.peak = max(p.peak, p.held)
	return m, nil
}

func (p *pool) short(size int, err error) error {
	limit := "no limit set"
	if p.limit > 0 {
		limit = fmt.Sprintf("limit %d", p.limit)
	}
	return fmt.Errorf("%w: %d bytes asked for, %d in use, %s", err, size, p.inUse, limit)
}

// put takes m back.
func (p *pool) put(m Memory) {
	size := p.size[m]
	p.free[size] = append(p.free[size], m)
	p.inUse -= int64(size)
}

// release gives what is kept back to the device, when its last users are done.
func (p *pool) release() error {
	if p.held == p.inUse {
		return nil
	}
	errs := []error{p.d.Sync()}
	for size, kept := range p.free {
		for _, m := range kept {
			errs = append(errs, p.d.Free(m))
			delete(p.size, m)
			p.held -= int64(size)
		}
	}
	clear(p.free)
	return errors.Join(errs...)
}

// close gives everything back.
func (p *pool) close() error {
	var errs []error
	for m := range p.size {
		errs = append(errs, p.d.Free(m))
	}
	return errors.Join(errs...)
}
