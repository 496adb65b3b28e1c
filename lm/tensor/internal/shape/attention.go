package shape

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// Attend checks the arguments of Backend.Attend.
func Attend(out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	attend("Attend", out, lse, q, k, v, a)
}

// AttendGrad checks the arguments of Backend.AttendGrad.
func AttendGrad(dq, dk, dv, dout, out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	const op = "AttendGrad"
	attend(op, out, lse, q, k, v, a)
	length(op, "dq", dq, q.Len())
	length(op, "dk", dk, k.Len())
	length(op, "dv", dv, v.Len())
	length(op, "dout", dout, out.Len())
}

func attend(op string, out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	heads(op, a.Heads, a.KVHeads, a.HeadDim)
	n := rows(op, "q", q, a.Heads*a.HeadDim)
	length(op, "out", out, n*a.Heads*a.HeadDim)
	length(op, "lse", lse, n*a.Heads)
	length(op, "k", k, n*a.KVHeads*a.HeadDim)
	length(op, "v", v, n*a.KVHeads*a.HeadDim)
	scale(op, a.Scale)
	atLeast(op, "Window", a.Window, 0)
	end := 0
	for i, s := range a.Segments {
		if s.Start < end || s.End < s.Start || s.End > n {
			panic(fmt.Sprintf("tensor: %s: segment %d is [%d, %d); want it after row %d and within %d rows",
				op, i, s.Start, s.End, end, n))
		}
		end = s.End
		if s.Prefix == -1 {
			continue
		}
		if s.Prefix < -1 || s.Prefix >= i {
			panic(fmt.Sprintf("tensor: %s: segment %d has prefix %d, want an earlier segment or -1", op, i, s.Prefix))
		}
		if a.Window > 0 {
			panic(fmt.Sprintf("tensor: %s: segment %d has prefix %d, but with a Window none may", op, i, s.Prefix))
		}
		if a.Segments[s.Prefix].Prefix != -1 {
			panic(fmt.Sprintf("tensor: %s: segment %d has prefix %d, which has a prefix of its own", op, i, s.Prefix))
		}
	}
}

// CacheLen checks the arguments of Cacher.CacheLen.
func CacheLen(s tensor.CacheShape) { cache("CacheLen", s) }

func cache(op string, s tensor.CacheShape) {
	atLeast(op, "Rows", s.Rows, 0)
	atLeast(op, "KVHeads", s.KVHeads, 1)
	atLeast(op, "HeadDim", s.HeadDim, 1)
}

// StoreCache checks the arguments of Cacher.StoreCache, repeats aside; size is
// what CacheLen says.
func StoreCache(size int, kCache, vCache, k, v tensor.Buffer, slots []int32, s tensor.CacheShape) {
	const op = "StoreCache"
	cache(op, s)
	length(op, "kCache", kCache, size)
	length(op, "vCache", vCache, size)
	length(op, "k", k, len(slots)*s.KVHeads*s.HeadDim)
	length(op, "v", v, k.Len())
	indices(op, "slots", slots, s.Rows)
}

// AttendCache checks the arguments of Cacher.AttendCache; size is what
// CacheLen says.
func AttendCache(size int, out, q, kCache, vCache tensor.Buffer, d *tensor.Decode) {
	const op = "AttendCache"
	cache(op, d.Cache)
	heads(op, d.Heads, d.Cache.KVHeads, d.Cache.HeadDim)
	scale(op, d.Scale)
	length(op, "q", q, len(d.Ranges)*d.Heads*d.Cache.HeadDim)
	length(op, "out", out, q.Len())
	length(op, "kCache", kCache, size)
	length(op, "vCache", vCache, size)
	for i, ranges := range d.Ranges {
		seen := 0
		for _, s := range ranges {
			if s.Start < 0 || s.End < s.Start || s.End > d.Cache.Rows {
				panic(fmt.Sprintf("tensor: AttendCache: row %d has the range [%d, %d), want it within %d cache rows",
					i, s.Start, s.End, d.Cache.Rows))
			}
			seen += s.End - s.Start
		}
		if seen == 0 {
			panic(fmt.Sprintf("tensor: AttendCache: row %d attends to no cache row", i))
		}
	}
}

func scale(op string, s float32) {
	if s < 0 {
		panic(fmt.Sprintf("tensor: %s: Scale is %g, want at least 0", op, s))
	}
}

func heads(op string, heads, kvHeads, headDim int) {
	atLeast(op, "HeadDim", headDim, 1)
	atLeast(op, "KVHeads", kvHeads, 1)
	if heads < kvHeads || heads%kvHeads != 0 {
		panic(fmt.Sprintf("tensor: %s: Heads is %d, want a multiple of KVHeads = %d", op, heads, kvHeads))
	}
}
