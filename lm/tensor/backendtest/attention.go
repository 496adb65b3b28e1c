package backendtest

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// layout is a packed batch: how many rows, and the segments in them.
type layout struct {
	name     string
	rows     int
	segments []tensor.Segment
}

var layouts = []layout{
	{"no rows", 0, nil},
	{"one row", 1, []tensor.Segment{{Start: 0, End: 1, Prefix: -1}}},
	{"one sequence", 37, []tensor.Segment{{Start: 0, End: 37, Prefix: -1}}},
	{"two sequences", 20, []tensor.Segment{{Start: 0, End: 13, Prefix: -1}, {Start: 13, End: 20, Prefix: -1}}},
	{"rows outside every segment", 12, []tensor.Segment{{Start: 2, End: 5, Prefix: -1}, {Start: 6, End: 11, Prefix: -1}}},
	{"empty segments", 5, []tensor.Segment{
		{Start: 0, End: 0, Prefix: -1}, {Start: 0, End: 3, Prefix: 0}, {Start: 3, End: 3, Prefix: -1}, {Start: 3, End: 5, Prefix: -1},
	}},
	{"a prompt shared by completions, twice", 60, []tensor.Segment{
		{Start: 0, End: 17, Prefix: -1}, {Start: 17, End: 18, Prefix: 0}, {Start: 18, End: 18, Prefix: 0}, {Start: 18, End: 34, Prefix: 0},
		{Start: 34, End: 39, Prefix: -1}, {Start: 39, End: 50, Prefix: 4}, {Start: 50, End: 60, Prefix: 4},
	}},
	{"long sequences", 333, []tensor.Segment{{Start: 0, End: 200, Prefix: -1}, {Start: 200, End: 333, Prefix: -1}}},
	{"a long prompt", 180, []tensor.Segment{
		{Start: 0, End: 100, Prefix: -1}, {Start: 100, End: 133, Prefix: 0}, {Start: 133, End: 180, Prefix: 0},
	}},
}

// headings are heads, kvHeads and headDim.
var headings = [][3]int{{1, 1, 8}, {2, 2, 3}, {4, 2, 16}, {6, 1, 5}, {3, 3, 64}}

// attend multiplies queries by spread: scores have that standard deviation.
func attend(e *env, spread float64) {
	for _, l := range layouts {
		for i, h := range headings {
			if l.rows > 200 && i != 2 {
				continue // it takes long
			}
			for _, causal := range []bool{true, false} {
				attendOnce(e, spread, l, tensor.Attention{Heads: h[0], KVHeads: h[1], HeadDim: h[2], Causal: causal})
			}
		}
	}
}

// attendWindow lets windows reach less far than a block of a kernel, further, and
// beyond every sequence.
func attendWindow(e *env) {
	for _, l := range layouts {
		if l.rows < 2 || slices.ContainsFunc(l.segments, func(s tensor.Segment) bool { return s.Prefix >= 0 }) {
			continue
		}
		for i, h := range headings[1:4] {
			if l.rows > 200 && i != 1 {
				continue // it takes long
			}
			for _, causal := range []bool{true, false} {
				for _, window := range []int{1, 7, 40, math.MaxInt} {
					attendOnce(e, 1, l, tensor.Attention{Heads: h[0], KVHeads: h[1], HeadDim: h[2], Causal: causal, Window: window})
				}
			}
		}
	}
}

// attendOnce completes a, computes it forward and back, and keeps the results.
func attendOnce(e *env, spread float64, l layout, a tensor.Attention) {
	a.Segments, a.Scale = l.segments, invSqrt(a.HeadDim)
	queries, keys := l.rows*a.Heads*a.HeadDim, l.rows*a.KVHeads*a.HeadDim
	name := fmt.Sprintf(": %s, heads %d/%d of %d, causal=%v, window=%d", l.name, a.Heads, a.KVHeads, a.HeadDim, a.Causal, a.Window)
	attention := func() *tensor.Attention {
		c := a
		c.Segments = slices.Clone(a.Segments)
		return &c
	}
	q := e.buffer(e.normal(queries, spread))
	k, v := e.random(keys), e.random(keys)
	out, lse := e.random(queries), e.random(l.rows*a.Heads)
	given := attention()
	e.Attend(out, lse, q, k, v, given)
	clear(given.Segments)
	e.keep("Attend out"+name, out)
	e.keep("Attend lse"+name, lse)

	dout := e.random(queries)
	dq, dk, dv := e.random(queries), e.random(keys), e.random(keys)
	given = attention()
	e.AttendGrad(dq, dk, dv, dout, out, lse, q, k, v, given)
	clear(given.Segments)
	e.keep("AttendGrad dq"+name, dq)
	e.keep("AttendGrad dk"+name, dk)
	e.keep("AttendGrad dv"+name, dv)
}

// decodings are the ranges of queries: alone, of completions that share
// prompts, of prompts' rows that see those before them, and of long contexts.
func decodings() map[string][][]tensor.Range {
	d := map[string][][]tensor.Range{
		"no rows":   {},
		"one row":   {{{Start: 3, End: 4}}},
		"a context": {{{Start: 5, End: 88}}},
		"of all kinds": {
			{{Start: 3, End: 4}},
			{{Start: 3, End: 30}, {Start: 40, End: 52}},
			{{Start: 3, End: 30}, {Start: 52, End: 53}},
			{{Start: 60, End: 60}, {Start: 61, End: 87}},
			{{Start: 70, End: 80}, {Start: 5, End: 9}, {Start: 29, End: 30}},
			{{Start: 70, End: 80}, {Start: 5, End: 9}, {Start: 31, End: 31}},
		},
		"a long context": {{{Start: 1, End: 700}}, {{Start: 1, End: 300}, {Start: 301, End: 600}}},
	}
	for i := range 40 {
		d["completions of a prompt"] = append(d["completions of a prompt"], []tensor.Range{{Start: 7, End: 50}, {Start: 60 + 9*i, End: 61 + 10*i}})
		d["rows of a prompt"] = append(d["rows of a prompt"], []tensor.Range{{Start: 290, End: 530 + i}})
	}
	return d
}

// attendCache decodes rows over a cache whose other rows are NaN.
func attendCache(e *env) {
	names := slices.Sorted(maps.Keys(decodings()))
	for _, h := range headings {
		for _, name := range names {
			ranges := decodings()[name]
			heads := h[0]
			cache := tensor.CacheShape{KVHeads: h[1], HeadDim: h[2]}
			for _, list := range ranges {
				for _, s := range list {
					cache.Rows = max(cache.Rows, s.End)
				}
			}
			live := make([]bool, cache.Rows)
			for _, list := range ranges {
				for _, s := range list {
					for r := s.Start; r < s.End; r++ {
						live[r] = true
					}
				}
			}
			var slots []int32
			for r := range live {
				if live[r] {
					slots = append(slots, int32(r))
				}
			}
			size, row := tensor.CacheLen(e.Backend, cache), cache.KVHeads*cache.HeadDim
			k, v := e.nan(size), e.nan(size)
			// In two parts, the second of which begins in the middle.
			for _, part := range [][]int32{slots[:len(slots)/3], slots[len(slots)/3:]} {
				kept := slices.Clone(part)
				tensor.StoreCache(e.Backend, k, v, e.random(len(part)*row), e.random(len(part)*row), kept, cache)
				clear(kept)
			}
			out := e.nan(len(ranges) * heads * cache.HeadDim)
			tensor.AttendCache(e.Backend, out, e.random(out.Len()), k, v, &tensor.Decode{Cache: cache, Ranges: ranges, Heads: heads, Scale: invSqrt(cache.HeadDim)})
			for _, s := range ranges {
				clear(s)
			}
			e.keep(fmt.Sprintf("AttendCache of %s, heads %d/%d of %d", name, heads, cache.KVHeads, cache.HeadDim), out)
		}
	}
}

func invSqrt(n int) float32 { return float32(1 / math.Sqrt(float64(n))) }
