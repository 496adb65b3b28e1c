package reference_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// Check a gradient by central differences: d/dx of silu(x)·u at x = 0.5.
func ExampleNew64() {
	b := reference.New64()
	gate, up, y := b.Alloc(1), b.Alloc(1), b.Alloc(1)
	b.Write64(up, []float64{2})
	value := func(x float64) float64 {
		b.Write64(gate, []float64{x})
		b.SwiGLU(y, gate, up)
		return read(b, y)[0]
	}
	const x, h = 0.5, 1e-5
	difference := (value(x+h) - value(x-h)) / (2 * h)

	dgate, dup, dy := b.Alloc(1), b.Alloc(1), b.Alloc(1)
	b.Write64(gate, []float64{x})
	b.Fill(dy, 1)
	b.SwiGLUGrad(dgate, dup, dy, gate, up)
	fmt.Printf("%.8f %.8f\n", difference, read(b, dgate)[0])
	// Output: 1.47992237 1.47992237
}
