package cpu

import (
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// angles holds the cosines and sines of the positions seen so far, for some
// frequencies. A backend keeps those of the last two that differ: the layers of most
// models share theirs, those of ModernBERT take turns.
type angles struct {
	freq []float32
	// cos and sin hold len(freq) values for each position.
	cos, sin []float32
}

// maxPosition is the last position that angles holds; the angles of later ones
// are computed for every row.
const maxPosition = 1 << 16

// anglesOf returns the angles of the positions up to last.
func (b *Backend) anglesOf(freq []float32, last int) angles {
	a := &b.angles[0]
	if !slices.Equal(a.freq, freq) {
		b.angles[0], b.angles[1] = b.angles[1], b.angles[0]
	}
	if !slices.Equal(a.freq, freq) {
		a.freq = append(a.freq[:0], freq...)
		a.cos, a.sin = a.cos[:0], a.sin[:0]
	}
	for pos := len(a.cos) / len(freq); pos <= last; pos++ {
		a.cos, a.sin = appendAngles(a.cos, a.sin, pos, freq)
	}
	return *a
}

// appendAngles appends the cosines and sines of one position, computed in
// float64.
func appendAngles(cos, sin []float32, pos int, freq []float32) (c, s []float32) {
	for _, f := range freq {
		sn, cs := math.Sincos(float64(pos) * float64(f))
		cos, sin = append(cos, float32(cs)), append(sin, float32(sn))
	}
	return cos, sin
}

// RoPE rotates the heads of each row of x by its position.
func (b *Backend) RoPE(x tensor.Buffer, pos []int32, freq []float32, heads, headDim int, inverse bool) {
	shape.RoPE(x, pos, freq, heads, headDim)
	v, half, cols := b.data(x), headDim/2, heads*headDim
	last := 0
	for _, p := range pos {
		if p <= maxPosition {
			last = max(last, int(p))
		}
	}
	table := b.anglesOf(freq, last)
	sign := float32(1)
	if inverse {
		sign = -1
	}
	b.sweep(len(pos), rowsPerTask(cols), normCost*cols, func(s *scratch, from, to int) {
		for i := from; i < to; i++ {
			p := int(pos[i])
			var cos, sin []float32
			if p >= 0 && p <= maxPosition {
				cos, sin = table.cos[p*half:(p+1)*half], table.sin[p*half:(p+1)*half]
			} else {
				mem := s.reset().take(2 * half)
				cos, sin = appendAngles(mem[:0:half], mem[half:half:2*half], p, freq)
			}
			b.kern.rotate(v[i*cols:(i+1)*cols], cos, sin, sign)
		}
	})
}
