package rl_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/rl"
)

func ExampleWarmupLinear() {
	rate := rl.WarmupLinear{LR: 1e-3, Warmup: 2, Total: 6}
	for step := range int64(6) {
		fmt.Printf("%.2e\n", rate.At(step))
	}
	// Output:
	// 5.00e-04
	// 1.00e-03
	// 7.50e-04
	// 5.00e-04
	// 2.50e-04
	// 0.00e+00
}
