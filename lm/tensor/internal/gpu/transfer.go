package gpu

import (
	"errors"
	"math"
	"unsafe"
)

// ring is pinned memory through which all transfers go: the device reads and
// writes it by itself, and the caller's slice is free when a call returns.
// Blocks are filled one after the other; one that is needed again is waited for
// until the device is done with it.
type ring struct {
	d      Driver
	blocks [marks]Pinned
	at     int // the block that is being filled
	used   int // bytes of it
	waits  int
}

// blockSize is a trade: a copy of so many bytes takes a bus of 32 GB/s about
// 60 µs, several times what it costs to queue it.
const blockSize = 2 << 20

func (r *ring) init(d Driver) { *r = ring{d: d} }

// block returns the block that is being filled, of which at least n bytes are
// free, or all of another one.
func (r *ring) block(n int) ([]byte, error) {
	if r.used+n > blockSize {
		if err := r.next(); err != nil {
			return nil, err
		}
	}
	if r.blocks[r.at].Bytes == nil {
		p, err := r.d.Pin(blockSize)
		if err != nil {
			return nil, err
		}
		r.blocks[r.at] = p
	}
	return r.blocks[r.at].Bytes[r.used:], nil
}

// next turns to the following block.
func (r *ring) next() error {
	if err := r.d.Mark(r.at); err != nil {
		return err
	}
	r.at, r.used = (r.at+1)%marks, 0
	if r.blocks[r.at].Bytes == nil {
		return nil
	}
	r.waits++
	return r.d.WaitMark(r.at)
}

// write queues a copy of src, which may change when write has returned.
func (r *ring) write(dst Memory, at int, src []byte) error {
	for len(src) > 0 {
		n := min(len(src), blockSize)
		to, err := r.block(n)
		if err != nil {
			return err
		}
		copy(to, src[:n])
		if err := r.d.Write(dst, at, unsafe.Pointer(&to[0]), n); err != nil {
			return err
		}
		r.used += (n + 63) &^ 63
		src, at = src[n:], at+n
	}
	return nil
}

// read waits and copies to dst. While one block is copied from, the device
// fills the next.
func (r *ring) read(dst []byte, src Memory, at int) error {
	type part struct{ from, to []byte }
	var before part
	for len(dst) > 0 {
		n := min(len(dst), blockSize)
		if before.from != nil { // the next part needs a block of its own
			if err := r.next(); err != nil {
				return err
			}
		}
		from, err := r.block(n)
		if err != nil {
			return err
		}
		if err := r.d.Read(unsafe.Pointer(&from[0]), src, at, n); err != nil {
			return err
		}
		was := (r.at + marks - 1) % marks
		if before.from != nil {
			if err := r.d.WaitMark(was); err != nil {
				return err
			}
			copy(before.to, before.from)
		}
		r.used += (n + 63) &^ 63
		before = part{from[:n], dst[:n]}
		dst, at = dst[n:], at+n
	}
	if err := r.d.Sync(); err != nil {
		return err
	}
	copy(before.to, before.from)
	r.used = 0 // nothing is queued any more
	return nil
}

func (r *ring) close() error {
	var errs []error
	for _, p := range r.blocks {
		if p.Bytes != nil {
			errs = append(errs, r.d.Unpin(p))
		}
	}
	return errors.Join(errs...)
}

// bytesOf returns the memory of v.
func bytesOf[E float32 | int32](v []E) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}

func word(v float32) uint32 { return math.Float32bits(v) }
