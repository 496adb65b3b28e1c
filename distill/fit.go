package distill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/rl"
)

// Student is a classifier that can be trained. One goroutine uses it at a time.
// After an error of any method the accumulated gradient is cleared.
type Student interface {
	// Logits classifies inputs, each a list of token ids, and writes the logits
	// into dst[input][class]. If train is set it keeps the state for Backward;
	// calls without train may come in between.
	Logits(ctx context.Context, inputs [][]int32, dst [][]float64, train bool) error
	// Backward adds the gradient of the last Logits call with train set, given
	// d(loss)/d(logits), to the accumulated gradient.
	Backward(ctx context.Context, dlogits [][]float64) error
	// OptimStep applies the accumulated gradient and clears it.
	OptimStep(ctx context.Context, o rl.OptimOptions) (rl.OptimInfo, error)
	// Save and Load store and restore weights and optimiser state, as
	// rl.Policy's do.
	Save(ctx context.Context, name string) (ref string, err error)
	Load(ctx context.Context, ref string) error
}

// Example is one training example of a student.
type Example struct {
	// Input holds the token ids to classify.
	Input []int32
	// Belief is the teacher's distribution over the classes; nil = unknown.
	Belief []float64
	// Label is the true class; -1 = unknown.
	Label int
}

// Fit trains a student on a fixed list of examples for Epochs epochs, each in
// another order. Training step i depends on the fields and i alone, so a loop
// that saved the student after step i can continue with step i+1. The fields must
// not change between steps.
type Fit struct {
	Student  Student
	Examples []Example
	// Classes is the number of classes, at least 2.
	Classes int
	Loss    Loss
	// Batch is the number of examples per training step; the last one of an
	// epoch may have fewer.
	Batch, Epochs int
	// Seed determines the orders.
	Seed uint64
	// LR is the learning rate of each training step, counted from 0.
	LR rl.Schedule
	// MaxNorm clips the global gradient norm; 0 = no clipping.
	MaxNorm float64

	epoch int
	order []int // of the examples in that epoch
}

// Validate returns an error that names the first invalid field or example. Step
// checks the settings and its own examples again.
func (f *Fit) Validate() error {
	if err := f.validateSettings(); err != nil {
		return err
	}
	for i := range f.Examples {
		if err := f.validateExample(i); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fit) validateSettings() error {
	switch {
	case f.Student == nil:
		return errors.New("distill: Fit.Student is missing")
	case f.LR == nil:
		return errors.New("distill: Fit.LR is missing")
	case len(f.Examples) == 0:
		return errors.New("distill: Fit.Examples is empty")
	case f.Classes < 2 || f.Batch < 1 || f.Epochs < 1:
		return fmt.Errorf("distill: Fit has %d classes, batches of %d, %d epochs; need at least 2, 1, 1", f.Classes, f.Batch, f.Epochs)
	}
	if !(f.MaxNorm >= 0) {
		return fmt.Errorf("distill: Fit.MaxNorm is %v, want 0 (no clipping) or a positive number", f.MaxNorm)
	}
	if err := f.LR.Validate(); err != nil {
		return fmt.Errorf("distill: Fit.LR: %w", err)
	}
	return f.Loss.Validate()
}

func (f *Fit) validateExample(i int) error {
	e := &f.Examples[i]
	switch {
	case len(e.Input) == 0:
		return fmt.Errorf("distill: Fit.Examples[%d] has no input", i)
	case e.Belief == nil && e.Label < 0:
		return fmt.Errorf("distill: Fit.Examples[%d] has neither a belief nor a label", i)
	case e.Belief != nil && len(e.Belief) != f.Classes:
		return fmt.Errorf("distill: Fit.Examples[%d] has a belief over %d classes, want %d", i, len(e.Belief), f.Classes)
	case e.Label >= f.Classes:
		return fmt.Errorf("distill: Fit.Examples[%d] has label %d of %d classes", i, e.Label, f.Classes)
	}
	return nil
}

// Steps is the number of training steps in all epochs.
func (f *Fit) Steps() int { return f.Epochs * f.perEpoch() }

func (f *Fit) perEpoch() int { return (len(f.Examples) + f.Batch - 1) / f.Batch }

// Step takes training step i, from 0 to Steps()-1, and returns the mean loss of
// its examples. It panics if i is outside that range.
func (f *Fit) Step(ctx context.Context, i int) (float64, error) {
	if err := f.validateSettings(); err != nil {
		return 0, err
	}
	if i < 0 || i >= f.Steps() {
		panic(fmt.Sprintf("distill: training step %d of %d", i, f.Steps()))
	}
	batch := f.batch(i)
	inputs, logits, grad := make([][]int32, len(batch)), make([][]float64, len(batch)), make([][]float64, len(batch))
	for k, e := range batch {
		if err := f.validateExample(e); err != nil {
			return 0, err
		}
		inputs[k] = f.Examples[e].Input
		logits[k], grad[k] = make([]float64, f.Classes), make([]float64, f.Classes)
	}
	if err := f.Student.Logits(ctx, inputs, logits, true); err != nil {
		return 0, err
	}
	mean, scale := 0.0, 1/float64(len(batch))
	for k, e := range batch {
		l, err := f.Loss.Eval(logits[k], f.Examples[e].Belief, f.Examples[e].Label, grad[k])
		if err != nil {
			return 0, fmt.Errorf("distill: example %d: %w", e, err)
		}
		mean += scale * l
		for c := range grad[k] {
			grad[k][c] *= scale
		}
	}
	if err := f.Student.Backward(ctx, grad); err != nil {
		return 0, err
	}
	_, err := f.Student.OptimStep(ctx, rl.OptimOptions{LR: f.LR.At(int64(i)), MaxNorm: f.MaxNorm})
	return mean, err
}

// batch returns the indices of the examples of training step i.
func (f *Fit) batch(i int) []int {
	epoch, k := i/f.perEpoch(), i%f.perEpoch()
	if f.order == nil || epoch != f.epoch {
		f.epoch = epoch
		f.order = rand.New(rand.NewPCG(f.Seed, uint64(epoch))).Perm(len(f.Examples))
	}
	return f.order[k*f.Batch : min((k+1)*f.Batch, len(f.order))]
}
