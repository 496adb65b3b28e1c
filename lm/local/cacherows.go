package local

import (
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// cacheRows hands out ranges of cache rows, first fit.
type cacheRows struct {
	free []tensor.Range // ascending, never adjacent, never empty
}

func newCacheRows(n int) cacheRows { return cacheRows{free: []tensor.Range{{Start: 0, End: n}}} }

// blockRows is the number of rows of the largest blocks in which backends keep
// keys. Ranges begin at a multiple of it if there is room.
const blockRows = 32

// wholeBlocks rounds n rows up to whole blocks.
func wholeBlocks(n int) int { return roundUp(n, blockRows) }

// roundUp returns the smallest multiple of m that is at least n.
func roundUp(n, m int) int { return (n + m - 1) / m * m }

// take returns n consecutive rows, or false if no range is long enough. Taking
// 0 rows always succeeds.
func (r *cacheRows) take(n int) (tensor.Range, bool) {
	if n == 0 {
		return tensor.Range{}, true
	}
	for _, block := range [...]int{blockRows, 1} {
		for i, f := range r.free {
			start := roundUp(f.Start, block)
			if f.End-start < n {
				continue
			}
			s := tensor.Range{Start: start, End: start + n}
			var rest []tensor.Range
			for _, part := range [...]tensor.Range{{Start: f.Start, End: s.Start}, {Start: s.End, End: f.End}} {
				if part.Start < part.End {
					rest = append(rest, part)
				}
			}
			r.free = slices.Replace(r.free, i, i+1, rest...)
			return s, true
		}
	}
	return tensor.Range{}, false
}

// give takes back what take returned.
func (r *cacheRows) give(s tensor.Range) {
	if s.Start == s.End {
		return
	}
	i, _ := slices.BinarySearchFunc(r.free, s, func(f, s tensor.Range) int { return f.Start - s.Start })
	r.free = slices.Insert(r.free, i, s)
	if i+1 < len(r.free) && r.free[i].End == r.free[i+1].Start {
		r.free[i].End = r.free[i+1].End
		r.free = slices.Delete(r.free, i+1, i+2)
	}
	if i > 0 && r.free[i-1].End == r.free[i].Start {
		r.free[i-1].End = r.free[i].End
		r.free = slices.Delete(r.free, i, i+1)
	}
}
