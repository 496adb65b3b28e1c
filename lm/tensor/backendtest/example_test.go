package backendtest_test

import (
	"errors"
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// How does code behave on a device that fails in the middle?
func ExampleAsync_FailAfter() {
	b := backendtest.NewAsync(reference.New())
	x := b.Alloc(2)
	b.FailAfter(1, errors.New("device lost"))
	b.Fill(x, 1)
	b.Fill(x, 2) // fails, which nobody knows yet
	b.Fill(x, 3)
	fmt.Println(b.Sync())
	fmt.Println(b.Sync())
	// Output:
	// device lost
	// <nil>
}
