package tensor_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

func Example() {
	b, err := tensor.Open("reference")
	if err != nil {
		fmt.Println(err)
		return
	}
	x, w, y := b.Alloc(3), b.Alloc(6), b.Alloc(2)
	b.Write(x, []float32{1, 2, 3})          // [1×3]
	b.Write(w, []float32{1, 0, 1, 0, 1, 0}) // [2×3], used transposed
	b.MatMul(tensor.OpN, tensor.OpT, 1, 2, 3, 1, x, w, 0, y)
	got := make([]float32, 2)
	if err := b.Read(got, y); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(got)
	// Output: [4 2]
}

func ExampleBackend_attend() {
	b, err := tensor.Open("reference")
	if err != nil {
		fmt.Println(err)
		return
	}
	// A prompt of two rows that two completions of one row share; one head
	// of one element. Equal scores: each row averages the values it sees.
	attention := &tensor.Attention{
		Segments: []tensor.Segment{
			{Start: 0, End: 2, Prefix: -1},
			{Start: 2, End: 3, Prefix: 0},
			{Start: 3, End: 4, Prefix: 0},
		},
		Heads: 1, KVHeads: 1, HeadDim: 1, Causal: true, Scale: 1,
	}
	q, k, v := b.Alloc(4), b.Alloc(4), b.Alloc(4)
	out, lse := b.Alloc(4), b.Alloc(4)
	b.Write(v, []float32{1, 2, 30, 300})
	b.Attend(out, lse, q, k, v, attention)
	got := make([]float32, 4)
	if err := b.Read(got, out); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(got)
	// Output: [1 1.5 11 101]
}
