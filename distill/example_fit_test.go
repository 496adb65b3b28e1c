package distill_test

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/rl"
)

// bag is a custom classifier: its logits are the sums of its tokens'
// rows. It is trained by plain gradient descent.
type bag struct {
	w, grad [3][2]float64 // [token][class]
	inputs  [][]int32
	saved   map[string][3][2]float64
}

func (s *bag) Logits(_ context.Context, inputs [][]int32, dst [][]float64, train bool) error {
	for i, tokens := range inputs {
		clear(dst[i])
		for _, t := range tokens {
			for c := range dst[i] {
				dst[i][c] += s.w[t][c]
			}
		}
	}
	if train {
		s.inputs = inputs
	}
	return nil
}

func (s *bag) Backward(_ context.Context, dlogits [][]float64) error {
	for i, tokens := range s.inputs {
		for _, t := range tokens {
			for c, d := range dlogits[i] {
				s.grad[t][c] += d
			}
		}
	}
	return nil
}

func (s *bag) OptimStep(_ context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	for t := range s.w {
		for c := range s.w[t] {
			s.w[t][c] -= o.LR * s.grad[t][c]
		}
	}
	s.grad = [3][2]float64{}
	return rl.OptimInfo{}, nil
}

func (s *bag) Save(_ context.Context, name string) (string, error) {
	s.saved[name] = s.w
	return name, nil
}

func (s *bag) Load(_ context.Context, ref string) error {
	w, ok := s.saved[ref]
	if !ok {
		return errors.New("nothing was saved as " + ref)
	}
	s.w, s.grad = w, [3][2]float64{}
	return nil
}

// A custom student learns a belief, a label, and a belief beside a label
// that it doubts.
func ExampleFit() {
	student := &bag{}
	fit := distill.Fit{
		Student: student,
		Examples: []distill.Example{
			{Input: []int32{0}, Belief: []float64{0.9, 0.1}, Label: -1},
			{Input: []int32{1, 1}, Label: 1},
			{Input: []int32{2}, Belief: []float64{0.6, 0.4}, Label: 1},
		},
		Classes: 2,
		Loss:    distill.Loss{Soft: 0.5},
		Batch:   2, Epochs: 300,
		LR: rl.Constant{LR: 0.5},
	}
	for i := range fit.Steps() {
		if _, err := fit.Step(context.Background(), i); err != nil {
			panic(err)
		}
	}
	logits := [][]float64{make([]float64, 2), make([]float64, 2), make([]float64, 2)}
	if err := student.Logits(context.Background(), [][]int32{{0}, {1, 1}, {2}}, logits, false); err != nil {
		panic(err)
	}
	for i, z := range logits {
		fmt.Printf("input %d: class 1 with probability %.2f\n", i, 1/(1+math.Exp(z[0]-z[1])))
	}
	// Output:
	// input 0: class 1 with probability 0.10
	// input 1: class 1 with probability 1.00
	// input 2: class 1 with probability 0.70
}
