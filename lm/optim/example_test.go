package optim_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// Minimise ½(x−3)², whose gradient is x−3.
func Example() {
	b := reference.New()
	x := &tensor.Param{Name: "x", Shape: []int{1}, Value: b.Alloc(1), Grad: b.Alloc(1), NoDecay: true}
	opt, err := optim.NewAdamW(b, []*tensor.Param{x}, optim.DefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	const steps = 200
	value := make([]float32, 1)
	for step := range int64(steps) {
		if err := b.Read(value, x.Value); err != nil {
			fmt.Println(err)
			return
		}
		b.Write(x.Grad, []float32{value[0] - 3})
		info, err := opt.Step(0.1*float64(steps-step)/steps, 1)
		if err != nil {
			fmt.Println(err)
			return
		}
		if step == 0 {
			fmt.Printf("gradient norm before clipping: %.1f\n", info.GradNorm)
		}
	}
	fmt.Printf("x = %.2f\n", value[0])
	// Output:
	// gradient norm before clipping: 3.0
	// x = 3.00
}
