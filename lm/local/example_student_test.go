package local_test

import (
	"context"
	"fmt"
	"os"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
)

// An encoder learns which of two tokens comes first, and is then served from
// its checkpoint.
func ExampleStudent() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "student")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	encoder, err := model.NewEncoder(reference.New(), model.EncoderConfig{
		Config:  model.Config{Vocab: 4, Dim: 16, Layers: 1, Heads: 2, KVHeads: 2, FF: 24, MaxSeq: 8},
		Classes: 2,
	}, 1)
	if err != nil {
		panic(err)
	}
	student, err := local.NewStudent(local.StudentConfig{Encoder: encoder, Dir: dir})
	if err != nil {
		panic(err)
	}
	defer student.Free() // the encoder, too

	const first, second = 1, 2
	fit := distill.Fit{
		Student: student,
		Examples: []distill.Example{
			{Input: []int32{first, second}, Label: 0},
			{Input: []int32{first, 3, second}, Label: 0},
			{Input: []int32{second, first, 3}, Label: 1},
			{Input: []int32{second, 3, first}, Belief: []float64{0.02, 0.98}, Label: -1},
		},
		Classes: 2,
		Loss:    distill.Loss{Soft: 0.5, Temperature: 2},
		Batch:   4, Epochs: 60,
		MaxNorm: 1,
	}
	fit.LR = rl.WarmupCosine{LR: 0.01, Warmup: 5, Total: int64(fit.Steps())}
	for i := range fit.Steps() {
		if _, err := fit.Step(ctx, i); err != nil {
			panic(err)
		}
	}
	checkpoint, err := student.Save(ctx, "done")
	if err != nil {
		panic(err)
	}

	served, err := model.LoadEncoder(reference.New(), checkpoint)
	if err != nil {
		panic(err)
	}
	defer served.Free()
	var pack model.Pack
	pack.Add([]int32{first, second}, -1)
	pack.Add([]int32{second, first, 3}, -1)
	logits := make([]float32, 4) // [sequences×classes]
	if err := served.Predict(&pack, logits); err != nil {
		panic(err)
	}
	for i := range pack.Segments {
		z := logits[2*i : 2*i+2]
		fmt.Println("class 1:", z[1] > z[0])
	}
	// Output:
	// class 1: false
	// class 1: true
}
