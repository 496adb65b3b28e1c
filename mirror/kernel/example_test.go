package kernel_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/mirror/kernel"
)

// A mirror step by hand: entropy on the simplex, gradient (1, 0, 0).
func Example() {
	k := kernel.Simplex{}
	x := []float64{0.5, 0.25, 0.25}
	z := make([]float64, 3)
	k.Grad(z, x)
	z[0] -= 0.5 * 1 // step size 0.5
	k.Inverse(x, z)
	fmt.Printf("%.4f\n", x)
	// Output:
	// [0.3775 0.3112 0.3112]
}

// A sum of separable kernels is inverted by Newton's method.
func ExampleSum() {
	k, err := kernel.Sum(kernel.Each(kernel.Entropy{}), kernel.Each(kernel.Burg{}))
	if err != nil {
		panic(err)
	}
	z, x := []float64{0, 0}, []float64{1, 3}
	k.Grad(z, x)
	k.Inverse(x, z)
	fmt.Printf("%v: z = %.4f, x = %.4f\n", k, z, x)

	_, err = kernel.Sum(kernel.Simplex{}, kernel.Each(kernel.Burg{}))
	fmt.Println(err)
	// Output:
	// entropy + Burg: z = [-1.0000 0.7653], x = [1.0000 3.0000]
	// kernel: the sum of simplex entropy and Burg has no inverse that can be computed
}

// Burg is self-concordant with the constant 2: in the local metric its Hessian
// changes alike everywhere, in the primal metric ever faster towards 0.
func ExampleProbe() {
	burg := kernel.Each(kernel.Burg{})
	for _, m := range []kernel.Metric{kernel.MetricLocal, kernel.MetricPrimal} {
		p := kernel.Probe{Metric: m, Radius: 1e-6}
		for _, x := range []float64{1, 0.001} {
			found, err := p.Measure(burg, []float64{x})
			if err != nil {
				panic(err)
			}
			fmt.Printf("%v metric at %v: %.1f\n", m, x, found.PerRadius)
		}
	}
	// Output:
	// local metric at 1: 2.0
	// local metric at 0.001: 2.0
	// primal metric at 1: 2.0
	// primal metric at 0.001: 2001.0
}
