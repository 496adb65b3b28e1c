package distill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/rl"
)

// Student is a classifier that can be trained. One goroutine uses it at a time.
// After an error of any method the accumulated gradient is cleared. If it has a method
// Outputs() int, Fit and Grader check that this is how many outputs they need.
type Student interface {
	// Logits classifies inputs, each a list of token ids, and writes the outputs, of
	// which a Head makes log-probs, into dst[input][output]. If train is set it keeps
	// the state for Backward; calls without train may come in between.
	Logits(ctx context.Context, inputs [][]int32, dst [][]float64, train bool) error
	// Backward adds the gradient of the last Logits call with train set, given
	// d(loss)/d(outputs), to the accumulated gradient.
	Backward(ctx context.Context, dlogits [][]float64) error
	Weights
}

// Weights are a model's, as they are trained and kept.
type Weights interface {
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
	// Steps holds the teacher's distribution over the answers of each step of its
	// reasoning, in the order of Fit.Answers; a step that is nil is unknown, and so are
	// all if Steps is nil.
	Steps [][]float64
}

// Fit trains a student on a fixed list of examples for Epochs epochs, each in
// another order. Training step i depends on the fields and i alone, so a loop
// that saved the student after step i can continue with step i+1: checkpoint.Loop does
// that. The fields must not change between steps.
type Fit struct {
	Student  Student
	Examples []Example
	// Classes is the number of classes, at least 2, and Head makes their log-probs of
	// the student's outputs. A student with a single score has 2 classes and HeadOrdinal.
	Classes int
	Head    Head
	Loss    Loss
	// Answers is how many answers each step of the teacher's reasoning has; nil leaves
	// the steps out. The student has an output for each of them after those of Head,
	// and the loss has StepWeight times the cross-entropy with Example.Steps, summed
	// over the steps. So it is shown what to look for, not only what follows from it
	// ("distilling step by step", Hsieh et al., arXiv:2305.02301, with classes in place
	// of texts). Who only wants the class ignores these outputs.
	Answers    []int
	StepWeight float64
	// Batch is the number of examples per training step; the last one of an
	// epoch may have fewer.
	Batch, Epochs int
	// Seed determines the orders.
	Seed uint64
	// LR is the learning rate of each training step, counted from 0.
	LR rl.Schedule
	// MaxNorm clips the global gradient norm; 0 = no clipping.
	MaxNorm float64

	shuffle shuffle
}

// Outputs is the number of the student's outputs.
func (f *Fit) Outputs() int {
	n := f.Head.Outputs(f.Classes)
	for _, a := range f.Answers {
		n += a
	}
	return n
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
	case f.Classes == 1:
		return errors.New("distill: Fit.Classes is 1, want at least 2; a student with a single score has 2, with Head: HeadOrdinal")
	case f.Classes < 2 || f.Batch < 1 || f.Epochs < 1:
		return fmt.Errorf("distill: Fit has %d classes, batches of %d, %d epochs; need at least 2, 1, 1", f.Classes, f.Batch, f.Epochs)
	}
	if !(f.MaxNorm >= 0) {
		return fmt.Errorf("distill: Fit.MaxNorm is %v, want 0 (no clipping) or a positive number", f.MaxNorm)
	}
	if !(f.StepWeight >= 0) {
		return fmt.Errorf("distill: Fit.StepWeight is %v, want 0 or a positive number", f.StepWeight)
	}
	for k, a := range f.Answers {
		if a < 2 {
			return fmt.Errorf("distill: Fit.Answers[%d] is %d, want at least 2", k, a)
		}
	}
	if err := f.LR.Validate(); err != nil {
		return fmt.Errorf("distill: Fit.LR: %w", err)
	}
	if err := f.Head.Validate(f.Classes); err != nil {
		return err
	}
	if err := checkOutputs(f.Student, f.Outputs()); err != nil {
		return fmt.Errorf("distill: Fit has %d classes with the head %q: %w", f.Classes, f.Head, err)
	}
	return f.Loss.Validate()
}

// checkOutputs returns an error if it is known that the student has not so many outputs.
func checkOutputs(s Student, want int) error {
	if known, ok := s.(interface{ Outputs() int }); ok && known.Outputs() != want {
		return fmt.Errorf("the student has outputs: %d, want %d (with HeadOrdinal one fewer than classes)", known.Outputs(), want)
	}
	return nil
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
	case e.Steps != nil && len(e.Steps) != len(f.Answers):
		return fmt.Errorf("distill: Fit.Examples[%d] has %d steps, want %d", i, len(e.Steps), len(f.Answers))
	}
	if e.Belief != nil {
		if err := checkDistribution(e.Belief); err != nil {
			return fmt.Errorf("distill: Fit.Examples[%d].Belief: %w", i, err)
		}
	}
	for k, p := range e.Steps {
		if p == nil {
			continue
		}
		if len(p) != f.Answers[k] {
			return fmt.Errorf("distill: Fit.Examples[%d].Steps[%d] has %d answers, want %d", i, k, len(p), f.Answers[k])
		}
		if err := checkDistribution(p); err != nil {
			return fmt.Errorf("distill: Fit.Examples[%d].Steps[%d]: %w", i, k, err)
		}
	}
	return nil
}

// Steps is the number of training steps in all epochs.
func (f *Fit) Steps() int { return steps(len(f.Examples), f.Batch, f.Epochs) }

// Step takes training step i, from 0 to Steps()-1, and returns the mean loss of
// its examples. It panics if i is outside that range.
func (f *Fit) Step(ctx context.Context, i int) (float64, error) {
	if err := f.validateSettings(); err != nil {
		return 0, err
	}
	if i < 0 || i >= f.Steps() {
		panic(fmt.Sprintf("distill: training step %d of %d", i, f.Steps()))
	}
	batch := f.shuffle.batch(i, len(f.Examples), f.Batch, f.Seed)
	inputs, logits, grad := make([][]int32, len(batch)), make([][]float64, len(batch)), make([][]float64, len(batch))
	for k, e := range batch {
		if err := f.validateExample(e); err != nil {
			return 0, err
		}
		inputs[k] = f.Examples[e].Input
		logits[k], grad[k] = make([]float64, f.Outputs()), make([]float64, f.Outputs())
	}
	if err := f.Student.Logits(ctx, inputs, logits, true); err != nil {
		return 0, err
	}
	mean, scale := 0.0, 1/float64(len(batch))
	for k, e := range batch {
		l, err := f.Eval(&f.Examples[e], logits[k], grad[k])
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

// Eval returns the loss of an example and writes d(loss)/d(outputs) into grad. Step
// takes the mean of it over a batch.
func (f *Fit) Eval(e *Example, outputs, grad []float64) (float64, error) {
	n := f.Head.Outputs(f.Classes)
	clear(grad[n:]) // of the steps, if any is known
	loss, err := f.Loss.evalHead(f.Head, outputs[:n], e.Belief, e.Label, grad[:n])
	if err != nil || f.StepWeight == 0 {
		return loss, err
	}
	for k, p := range e.Steps {
		z, g := outputs[n:n+f.Answers[k]], grad[n:n+f.Answers[k]]
		n += f.Answers[k]
		if p == nil {
			continue
		}
		l, err := Loss{Soft: 1}.Eval(z, p, -1, g)
		if err != nil {
			return 0, fmt.Errorf("step %d: %w", k, err)
		}
		loss += f.StepWeight * l
		for c := range g {
			g[c] *= f.StepWeight
		}
	}
	return loss, nil
}

// steps is the number of training steps over n examples.
func steps(n, batch, epochs int) int { return epochs * ((n + batch - 1) / batch) }

// shuffle is the order of examples in an epoch.
type shuffle struct {
	epoch int
	order []int
}

// batch returns the indices of the examples of training step i, of n.
func (s *shuffle) batch(i, n, batch int, seed uint64) []int {
	per := steps(n, batch, 1)
	epoch, k := i/per, i%per
	if s.order == nil || epoch != s.epoch {
		s.epoch = epoch
		s.order = rand.New(rand.NewPCG(seed, uint64(epoch))).Perm(n)
	}
	return s.order[k*batch : min((k+1)*batch, n)]
}
