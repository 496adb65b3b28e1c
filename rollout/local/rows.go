package local

import (
	"slices"

	"github.com/stepwise-rl/stepwise/tensor"
)

// rows hands out ranges of cache rows, first fit.
type rows struct {
	free []tensor.Span // ascending, never adjacent, never empty
}

func newRows(n int) rows { return rows{free: []tensor.Span{{Start: 0, End: n}}} }

// take returns n consecutive rows; false if there are none. No rows are always
// there.
func (r *rows) take(n int) (tensor.Span, bool) {
	if n == 0 {
		return tensor.Span{}, true
	}
	for i := range r.free {
		f := &r.free[i]
		if f.End-f.Start < n {
			continue
		}
		s := tensor.Span{Start: f.Start, End: f.Start + n}
		if f.Start = s.End; f.Start == f.End {
			r.free = slices.Delete(r.free, i, i+1)
		}
		return s, true
	}
	return tensor.Span{}, false
}

// give takes rows back.
func (r *rows) give(s tensor.Span) {
	if s.Start == s.End {
		return
	}
	i, _ := slices.BinarySearchFunc(r.free, s, func(f, s tensor.Span) int { return f.Start - s.Start })
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
