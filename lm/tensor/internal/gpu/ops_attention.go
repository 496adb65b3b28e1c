package gpu

import (
	"fmt"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// headTile is a size of heads that the attention kernels are built for, with the
// rows of a tile, and the keys of one whose gradients are computed.
type headTile struct {
	attend, dq, dkv string // kernels
	dim             int
	rows, keys      int
}

var (
	headTiles = []headTile{
		{"attend64", "attend_dq64", "attend_dkv64", 64, 32, 32},
		{"attend128", "attend_dq128", "attend_dkv128", 128, 16, 16},
		{"attend256", "attend_dq256", "attend_dkv256", 256, 8, 8},
	}
	headTilesBF16 = []headTile{
		{"attend_bf16_64", "attend_dq_bf16_64", "attend_dkv_bf16_64", 64, 64, 64},
		{"attend_bf16_128", "attend_dq_bf16_128", "attend_dkv_bf16_128", 128, 64, 64},
	}
)

const attentionThreads = 128

// headTile returns the smallest tile that a head fits; if none does, that is an
// error of op, which sticks.
func (b *Backend) headTile(op string, dim int) headTile {
	if b.prec == tensor.PrecisionBFloat16 {
		for _, t := range headTilesBF16 {
			if dim <= t.dim {
				return t
			}
		}
	}
	for _, t := range headTiles {
		if dim <= t.dim {
			return t
		}
	}
	b.fail(fmt.Errorf("%s: HeadDim is %d, the kernels go to %d", op, dim, headTiles[len(headTiles)-1].dim))
	return headTiles[0]
}

// unlimited is further than any row sees.
const unlimited = 1 << 30

// reach returns how many rows back and ahead a row sees in its segment.
func reach(a *tensor.Attention) (left, right int) {
	left, right = unlimited, unlimited
	if a.Window > 0 {
		left = min(a.Window, unlimited)
		right = left
	}
	if a.Causal {
		right = 0
	}
	return left, right
}

// tiles uploads a table of tiles of up to so many rows, and returns how many.
func (b *Backend) tiles(a *tensor.Attention, rows int) (Memory, int) {
	b.ints = b.ints[:0]
	for _, s := range a.Segments {
		var prefix tensor.Segment
		if s.Prefix >= 0 {
			prefix = a.Segments[s.Prefix]
		}
		for from := s.Start; from < s.End; from += rows {
			b.ints = append(b.ints, int32(from), int32(min(from+rows, s.End)), int32(s.Start), int32(s.End), int32(prefix.Start), int32(prefix.End))
		}
	}
	return upload(b, tableTiles, b.ints), len(b.ints) / 6
}

// keyTiles uploads a table of tiles of up to so many keys, each with the range
// of its users, the segments whose prefix it is part of; their rows follow the
// tiles.
func (b *Backend) keyTiles(a *tensor.Attention, keys int) (m Memory, tiles int) {
	// groups[i] is how many users the prefixes before i have.
	groups := zeros(&b.groups, len(a.Segments)+1)
	for _, s := range a.Segments {
		if s.Prefix >= 0 && s.End > s.Start {
			groups[s.Prefix+1]++
		}
	}
	b.ints = b.ints[:0]
	for i, s := range a.Segments {
		groups[i+1] += groups[i]
		for from := s.Start; from < s.End; from += keys {
			b.ints = append(b.ints, int32(from), int32(min(from+keys, s.End)), int32(s.Start), int32(s.End), groups[i], groups[i+1])
		}
	}
	tiles = len(b.ints) / 6
	for range groups[len(a.Segments)] {
		b.ints = append(b.ints, 0, 0)
	}
	users := b.ints[6*tiles:]
	for _, s := range a.Segments {
		if s.Prefix >= 0 && s.End > s.Start {
			at := groups[s.Prefix]
			groups[s.Prefix]++
			users[2*at], users[2*at+1] = int32(s.Start), int32(s.End)
		}
	}
	return upload(b, tableGradTiles, b.ints), tiles
}

// zeros returns n zeros in the memory of buf.
func zeros(buf *[]int32, n int) []int32 {
	*buf = slices.Grow((*buf)[:0], n)[:n]
	clear(*buf)
	return *buf
}

// attention adds what the attention kernels have in common.
func (c *call) attention(a *tensor.Attention) {
	left, right := reach(a)
	c.i32(a.Heads)
	c.i32(a.KVHeads)
	c.i32(a.HeadDim)
	c.i32(left)
	c.i32(right)
	c.f32(a.Scale)
}

// Attend computes softmax(scale·q·kᵀ)·v per head, over a packed batch.
func (b *Backend) Attend(out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	shape.Attend(out, lse, q, k, v, a)
	t := b.headTile("Attend", a.HeadDim)
	m, tiles := b.tiles(a, t.rows)
	c := b.call()
	c.act(out)
	c.buf(lse)
	c.act(q)
	c.act(k)
	c.act(v)
	c.tab(m)
	c.attention(a)
	b.launch(t.attend, tiles, a.Heads, attentionThreads)
}

// AttendGrad computes dq +=, dk += and dv += from dout. Each tile of queries,
// then each tile of keys, belongs to one block, so that no sum has two writers.
func (b *Backend) AttendGrad(dq, dk, dv, dout, out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	shape.AttendGrad(dq, dk, dv, dout, out, lse, q, k, v, a)
	t := b.headTile("AttendGrad", a.HeadDim)
	delta := b.scratch(lse.Len())
	defer b.release(delta)
	c := b.call()
	c.tab(delta)
	c.act(dout)
	c.act(out)
	c.size(lse.Len())
	c.i32(a.HeadDim)
	b.launch("attend_delta", blocks(lse.Len(), attentionThreads), 1, attentionThreads)

	m, tiles := b.tiles(a, t.rows)
	c = b.call()
	c.act(dq)
	c.act(dout)
	c.tab(delta)
	c.buf(lse)
	c.act(q)
	c.act(k)
	c.act(v)
	c.tab(m)
	c.attention(a)
	b.launch(t.dq, tiles, a.Heads, attentionThreads)

	m, tiles = b.keyTiles(a, t.keys)
	c = b.call()
	c.act(dk)
	c.act(dv)
	c.act(dout)
	c.tab(delta)
	c.buf(lse)
	c.act(q)
	c.act(k)
	c.act(v)
	c.tab(m)
	c.memory(m, 6*tiles)
	c.attention(a)
	b.launch(t.dkv, tiles, a.KVHeads, attentionThreads)
}

// CacheLen is the number of elements of a cache [rows×kvHeads·headDim].
func (b *Backend) CacheLen(s tensor.CacheShape) int {
	shape.CacheLen(s)
	return s.Rows * s.KVHeads * s.HeadDim
}

// StoreCache stores row i of k and v in row slots[i] of the caches.
func (b *Backend) StoreCache(kCache, vCache, k, v tensor.Buffer, slots []int32, s tensor.CacheShape) {
	shape.StoreCache(b.CacheLen(s), kCache, vCache, k, v, slots, s)
	c := b.call()
	c.act(kCache)
	c.act(vCache)
	c.act(k)
	c.act(v)
	c.tab(upload(b, tableSlots, slots))
	c.i32(s.KVHeads * s.HeadDim)
	b.launch("store_cache", len(slots), 1, attentionThreads)
}

// decodeKeys is how many cache rows a block does.
const decodeKeys = 128

// AttendCache computes attention of q to the rows of the caches in d.Ranges:
// first of parts of them, then the parts of each row together.
func (b *Backend) AttendCache(out, q, kCache, vCache tensor.Buffer, d *tensor.Decode) {
	shape.AttendCache(b.CacheLen(d.Cache), out, q, kCache, vCache, d)
	dim, rows := d.Cache.HeadDim, len(d.Ranges)
	b.headTile("AttendCache", dim)
	// The table is where the parts of each row start, then the parts.
	zeros(&b.ints, rows+1)
	parts := 0
	for i, ranges := range d.Ranges {
		for _, r := range ranges {
			for from := r.Start; from < r.End; from += decodeKeys {
				b.ints = append(b.ints, int32(i), int32(from), int32(min(from+decodeKeys, r.End)))
				parts++
			}
		}
		b.ints[i+1] = int32(parts)
	}
	m := upload(b, tableRanges, b.ints)
	partial := b.scratch(parts * d.Heads * (dim + 2))
	defer b.release(partial)
	c := b.call()
	c.tab(partial)
	c.act(q)
	c.act(kCache)
	c.act(vCache)
	c.memory(m, rows+1)
	c.i32(d.Heads)
	c.i32(d.Cache.KVHeads)
	c.i32(dim)
	c.f32(d.Scale)
	b.launch("decode_part", parts, d.Cache.KVHeads, attentionThreads)
	c = b.call()
	c.act(out)
	c.tab(partial)
	c.tab(m)
	c.i32(d.Heads)
	c.i32(dim)
	b.launch("decode_join", rows, d.Heads, attentionThreads)
}
