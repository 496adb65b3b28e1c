package cpu

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// A cache is laid out as the products of a decoding step read it, head after
// head: keys transposed, in panels, and values row by row.

// cacheLayout finds the rows of a cache.
type cacheLayout struct {
	tensor.CacheShape
	// tile is the number of keys of a panel, panels that of a head's panels.
	tile, panels int
}

func (b *Backend) layout(s tensor.CacheShape) cacheLayout {
	t := b.kern.cacheKeys.tile
	return cacheLayout{CacheShape: s, tile: t, panels: (s.Rows + t - 1) / t}
}

// len is the size of either cache. Kernels read whole vectors, so there is
// room for a tile after the last row.
func (l *cacheLayout) len() int { return (l.KVHeads*l.panels*l.HeadDim + 1) * l.tile }

// key is where the key of a row begins; its elements are a tile apart.
func (l *cacheLayout) key(head, row int) int {
	return (head*l.panels+row/l.tile)*l.HeadDim*l.tile + row%l.tile
}

// value is where the value of a row begins.
func (l *cacheLayout) value(head, row int) int { return (head*l.panels*l.tile + row) * l.HeadDim }

// CacheLen is the size of a cache: its rows fill whole panels.
func (b *Backend) CacheLen(s tensor.CacheShape) int {
	shape.CacheLen(s)
	l := b.layout(s)
	return l.len()
}

// StoreCache stores the keys and values of rows.
func (b *Backend) StoreCache(kCache, vCache, k, v tensor.Buffer, slots []int32, s tensor.CacheShape) {
	l := b.layout(s)
	shape.StoreCache(l.len(), kCache, vCache, k, v, slots, s)
	keys, values, kd, vd := b.data(kCache), b.data(vCache), b.data(k), b.data(v)
	dim := s.HeadDim
	// Each element of a key is in a line of its own.
	cols := s.KVHeads * dim
	b.sweep(len(slots), rowsPerTask(lineFloats*cols), 2*expCost*cols, func(_ *scratch, from, to int) {
		for i := from; i < to; i++ {
			for h := range s.KVHeads {
				at := (i*s.KVHeads + h) * dim
				copy(values[l.value(h, int(slots[i])):][:dim], vd[at:])
				to := keys[l.key(h, int(slots[i])):][:(dim-1)*l.tile+1]
				for j, x := range kd[at : at+dim] {
					to[j*l.tile] = x
				}
			}
		}
	})
}
