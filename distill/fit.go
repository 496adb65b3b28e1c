package distill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/rl"
)

// Student is a classifier that can be trained. One goroutine uses it at a time.
type Student interface {
	// Logits classifies inputs (token ids); it writes [input][class] into
	// dst and, if train, keeps what Backward needs. Calls that do not train
	// may come between.
	Logits(ctx context.Context, inputs [][]int32, dst [][]float64, train bool) error
	// Backward adds the gradient of the last training Logits call, given
	// d(loss)/d(logits). After an error of any method the accumulated
	// gradient is cleared.
	Backward(ctx context.Context, dlogits [][]float64) error
	// Step applies the accumulated gradient and clears it.
	OptimStep(ctx context.Context, o rl.OptimOptions) (rl.OptimInfo, error)
	// Save and Load store and restore weights and optimiser state, as
	// rl.Policy's do.
	Save(ctx context.Context, name string) (ref string, err error)
	Load(ctx context.Context, ref string) error
}

// Example is what a student learns from.
type Example struct {
	// Input holds the token ids to classify.
	Input []int32
	// Belief is the teacher's distribution; nil = unknown.
	Belief []float64
	// Label is the true class; -1 = unknown.
	Label int
}

// Fit trains a student on a fixed list of examples, Epochs times in another
// order. Step i depends on the fields and i alone, so a loop that saved the
// student after step i goes on with step i+1.
type Fit struct {
	Student  Student
	Examples []Example
	Classes  int
	Loss     Loss
	// Batch is the number of examples per step; the last of an epoch may be
	// smaller.
	Batch, Epochs int
	Seed          uint64
	// LR is the learning rate of each step.
	LR rl.Schedule
	// MaxNorm clips the global gradient norm; 0 = no clipping.
	MaxNorm float64

	checked bool
	epoch   int
	order   []int
}

// Validate returns an error that names the field that cannot be.
func (f *Fit) Validate() error {
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
	for i, e := range f.Examples {
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
	}
	if !(f.MaxNorm >= 0) {
		return fmt.Errorf("distill: Fit.MaxNorm is %v, want 0 (no clipping) or a positive number", f.MaxNorm)
	}
	if err := f.LR.Validate(); err != nil {
		return fmt.Errorf("distill: Fit.LR: %w", err)
	}
	return f.Loss.Validate()
}

// Steps is the number of steps in all epochs.
func (f *Fit) Steps() int { return f.Epochs * f.perEpoch() }

func (f *Fit) perEpoch() int { return (len(f.Examples) + f.Batch - 1) / f.Batch }

// Step takes step i, from 0 to Steps()-1, and returns the mean loss of its
// examples. It panics on an i outside. The first call validates the fields,
// which must not change afterwards.
func (f *Fit) Step(ctx context.Context, i int) (float64, error) {
	if !f.checked {
		if err := f.Validate(); err != nil {
			return 0, err
		}
		f.checked = true
	}
	if i < 0 || i >= f.Steps() {
		panic(fmt.Sprintf("distill: step %d of %d", i, f.Steps()))
	}
	batch := f.batch(i)
	inputs, logits, grad := make([][]int32, len(batch)), make([][]float64, len(batch)), make([][]float64, len(batch))
	for k, e := range batch {
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

// batch returns the indices of step i's examples.
func (f *Fit) batch(i int) []int {
	epoch, k := i/f.perEpoch(), i%f.perEpoch()
	if f.order == nil || epoch != f.epoch {
		f.epoch = epoch
		f.order = rand.New(rand.NewPCG(f.Seed, uint64(epoch))).Perm(len(f.Examples))
	}
	return f.order[k*f.Batch : min((k+1)*f.Batch, len(f.order))]
}
