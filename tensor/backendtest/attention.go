package backendtest

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/tensor"
)

// layouts are packed batches: how many rows, and the segments in them.
var layouts = []struct {
	name     string
	rows     int
	segments []tensor.Segment
}{
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
	{"a long prompt", 180, []tensor.Segment{
		{Start: 0, End: 100, Prefix: -1}, {Start: 100, End: 133, Prefix: 0}, {Start: 133, End: 180, Prefix: 0},
	}},
}

// headings are heads, kvHeads and headDim.
var headings = [][3]int{{1, 1, 8}, {2, 2, 3}, {4, 2, 16}, {6, 1, 5}, {3, 3, 64}}

// attend multiplies queries by spread: scores have that standard deviation.
func attend(e *env, spread float64) {
	for _, l := range layouts {
		for _, h := range headings {
			for _, causal := range []bool{true, false} {
				heads, kvHeads, dim := h[0], h[1], h[2]
				name := fmt.Sprintf(": %s, heads %d/%d of %d, causal=%v", l.name, heads, kvHeads, dim, causal)
				attention := func() *tensor.Attention {
					return &tensor.Attention{
						Segments: append([]tensor.Segment(nil), l.segments...),
						Heads:    heads, KVHeads: kvHeads, HeadDim: dim,
						Causal: causal, Scale: invSqrt(dim),
					}
				}
				q := e.buffer(e.normal(l.rows*heads*dim, spread))
				k, v := e.random(l.rows*kvHeads*dim), e.random(l.rows*kvHeads*dim)
				out, lse := e.random(l.rows*heads*dim), e.random(l.rows*heads)
				a := attention()
				e.Attend(out, lse, q, k, v, a)
				clear(a.Segments)
				e.keep("Attend out"+name, out)
				e.keep("Attend lse"+name, lse)

				dout := e.random(l.rows * heads * dim)
				dq, dk, dv := e.random(l.rows*heads*dim), e.random(l.rows*kvHeads*dim), e.random(l.rows*kvHeads*dim)
				a = attention()
				e.AttendGrad(dq, dk, dv, dout, out, lse, q, k, v, a)
				clear(a.Segments)
				e.keep("AttendGrad dq"+name, dq)
				e.keep("AttendGrad dk"+name, dk)
				e.keep("AttendGrad dv"+name, dv)
			}
		}
	}
}

// attendCache decodes rows with spans of different kinds over a cache whose
// other rows are NaN.
func attendCache(e *env) {
	const cacheRows = 90
	spans := func() [][]tensor.Span {
		return [][]tensor.Span{
			{{Start: 3, End: 4}},
			{{Start: 3, End: 30}, {Start: 40, End: 52}},
			{{Start: 3, End: 30}, {Start: 52, End: 53}},
			{{Start: 60, End: 60}, {Start: 61, End: 87}},
			{{Start: 70, End: 80}, {Start: 5, End: 9}, {Start: 29, End: 30}},
		}
	}
	for _, h := range headings {
		heads, kvHeads, dim := h[0], h[1], h[2]
		for rows := range len(spans()) + 1 {
			k, v := e.nan(cacheRows*kvHeads*dim), e.nan(cacheRows*kvHeads*dim)
			var idx []int32
			live := make([]bool, cacheRows)
			d := &tensor.Decode{Spans: spans()[:rows], Heads: heads, KVHeads: kvHeads, HeadDim: dim, Scale: invSqrt(dim)}
			for _, s := range d.Spans {
				for _, span := range s {
					for r := span.Start; r < span.End; r++ {
						if !live[r] {
							live[r] = true
							idx = append(idx, int32(r))
						}
					}
				}
			}
			e.Scatter(k, e.random(len(idx)*kvHeads*dim), idx, kvHeads*dim)
			e.Scatter(v, e.random(len(idx)*kvHeads*dim), idx, kvHeads*dim)
			out := e.nan(rows * heads * dim)
			e.AttendCache(out, e.random(rows*heads*dim), k, v, d)
			for _, s := range d.Spans {
				clear(s)
			}
			e.keep(fmt.Sprintf("AttendCache of %d rows, heads %d/%d of %d", rows, heads, kvHeads, dim), out)
		}
	}
}

func invSqrt(n int) float32 { return float32(1 / math.Sqrt(float64(n))) }
