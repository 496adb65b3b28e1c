package reference

import (
	"math"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// RoPE rotates each head of row i by the angles pos[i]·freq, in the pairs
// (j, j+headDim/2) of Hugging Face Llama (Su et al., arXiv:2104.09864).
func (b *Backend[E]) RoPE(x tensor.Buffer, pos []int32, freq []float32, heads, headDim int, inverse bool) {
	shape.RoPE(x, pos, freq, heads, headDim)
	xs := b.data(x)
	half := headDim / 2
	for i, p := range pos {
		for h := range heads {
			head := row(xs, i*heads+h, headDim)
			for j, f := range freq {
				sin, cos := math.Sincos(float64(p) * float64(f))
				if inverse {
					sin = -sin
				}
				x0, x1 := float64(head[j]), float64(head[j+half])
				head[j] = E(x0*cos - x1*sin)
				head[j+half] = E(x1*cos + x0*sin)
			}
		}
	}
}
