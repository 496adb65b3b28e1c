package optim

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// Config holds the settings of AdamW that stay the same over all optimiser steps.
type Config struct {
	// Beta1 and Beta2 are the decay rates of the first and second moment,
	// in [0, 1).
	Beta1, Beta2 float64
	// Eps > 0 is added to the root of the second moment.
	Eps float64
	// WeightDecay ≥ 0 is decoupled from the gradient: each optimiser step first
	// multiplies the weights by 1 − lr·WeightDecay.
	WeightDecay float64
}

// DefaultConfig returns torch.optim.AdamW's defaults.
func DefaultConfig() Config {
	return Config{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01}
}

// Validate returns an error that names the first field outside its range.
func (c Config) Validate() error {
	for _, f := range []struct {
		name, want string
		v          float64
		ok         bool
	}{
		{"Beta1", "in [0, 1)", c.Beta1, c.Beta1 >= 0 && c.Beta1 < 1},
		{"Beta2", "in [0, 1)", c.Beta2, c.Beta2 >= 0 && c.Beta2 < 1},
		{"Eps", "> 0", c.Eps, c.Eps > 0 && !math.IsInf(c.Eps, 1)},
		{"WeightDecay", "≥ 0", c.WeightDecay, c.WeightDecay >= 0 && !math.IsInf(c.WeightDecay, 1)},
	} {
		if !f.ok {
			return fmt.Errorf("optim: Config.%s is %v, want it %s", f.name, f.v, f.want)
		}
	}
	return nil
}

// AdamW is Adam with decoupled weight decay (Loshchilov & Hutter,
// arXiv:1711.05101), with the formulas of torch.optim.AdamW. It holds the state of
// a set of parameters. A tensor.Updater takes the optimiser step over all of them in
// two operations, and the host waits for it once; with other backends it is two
// operations for each parameter, and two waits. One goroutine uses it at a time.
type AdamW struct {
	backend tensor.Backend
	config  Config
	params  []*tensor.Param // without the frozen ones
	first   []tensor.Buffer // moments, one for each of params
	second  []tensor.Buffer
	norms   tensor.Buffer   // [len(params)] squared gradient norms, or [1] the norm of all
	norm    []tensor.Buffer // the elements of norms
	squares []float32       // norms, read
	steps   int

	// For a backend that updates all tensors at once.
	updater tensor.Updater // nil if the backend is not one
	tensors []tensor.AdamWTensor
	grads   []tensor.Buffer
}

// NewAdamW returns an optimiser of params, whose buffers are b's; it leaves those
// without a gradient alone. It holds two moments for each of the others until
// Free. The error is c.Validate's, or the backend's as far as it is known by then, such
// as tensor.ErrOutOfMemory. It panics if two parameters share a name or if
// a shape does not fit its buffers.
func NewAdamW(b tensor.Backend, params []*tensor.Param, c Config) (*AdamW, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	a := &AdamW{backend: b, config: c}
	names := make(map[string]bool)
	for _, p := range params {
		if p.Grad == nil {
			continue
		}
		if names[p.Name] {
			panic("optim: two parameters are named " + p.Name)
		}
		names[p.Name] = true
		if p.Value.Len() != p.Len() || p.Grad.Len() != p.Len() {
			panic(fmt.Sprintf("optim: %s has shape %v, but %d values and %d gradients",
				p.Name, p.Shape, p.Value.Len(), p.Grad.Len()))
		}
		a.params = append(a.params, p)
	}
	for _, p := range a.params {
		a.first = append(a.first, b.Alloc(p.Len()))
		a.second = append(a.second, b.Alloc(p.Len()))
	}
	norms := len(a.params)
	if a.updater, _ = b.(tensor.Updater); a.updater != nil {
		norms = 1
	}
	a.norms, a.squares = b.Alloc(norms), make([]float32, norms)
	if err := tensor.Err(b); err != nil {
		a.Free()
		_ = b.Sync() // clears the error
		return nil, fmt.Errorf("optim: moments of %d tensors: %w", len(a.params), err)
	}
	if a.updater != nil {
		for i, p := range a.params {
			a.tensors = append(a.tensors, tensor.AdamWTensor{P: p.Value, G: p.Grad, M: a.first[i], V: a.second[i], NoDecay: p.NoDecay})
			a.grads = append(a.grads, p.Grad)
		}
		return a, nil
	}
	for i := range a.params {
		a.norm = append(a.norm, b.Slice(a.norms, i, i+1))
	}
	return a, nil
}

// Info says what an optimiser step did.
type Info struct {
	// GradNorm is the global norm of the gradient before clipping: the square
	// root of the sum of the squares of all elements.
	GradNorm float64
	// Skipped says that GradNorm was not finite, so nothing was changed.
	Skipped bool
}

// Step takes an optimiser step: it updates the parameters from their gradients
// with learning rate lr. If maxNorm > 0, the gradient is first scaled by
// min(1, maxNorm/(norm+10⁻⁶)), as torch.nn.utils.clip_grad_norm_ does; 0 means no
// clipping. The gradient buffers stay as they are.
//
// An error is either an invalid lr or maxNorm, after which nothing has changed,
// or a failure of the backend in this or an earlier operation, such as one of a
// backward pass, after which parameters and state may be half updated.
func (a *AdamW) Step(lr, maxNorm float64) (Info, error) {
	if !(lr >= 0) || math.IsInf(lr, 1) {
		return Info{}, fmt.Errorf("optim: learning rate of step %d is %v, want it finite and ≥ 0", a.steps, lr)
	}
	if !(maxNorm >= 0) {
		return Info{}, fmt.Errorf("optim: maximal gradient norm of step %d is %v, want it ≥ 0", a.steps, maxNorm)
	}
	update := tensor.AdamW{
		LR: lr, Beta1: a.config.Beta1, Beta2: a.config.Beta2, Eps: a.config.Eps, WeightDecay: a.config.WeightDecay,
		Step: a.steps + 1, Scale: 1,
	}
	step := a.stepEach
	if a.updater != nil {
		step = a.stepAll
	}
	norm, err := step(&update, maxNorm)
	if err != nil {
		return Info{}, fmt.Errorf("optim: step %d: %w", update.Step, err)
	}
	if !finite(norm) {
		return Info{GradNorm: norm, Skipped: true}, nil
	}
	a.steps++
	return Info{GradNorm: norm}, nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// stepAll takes a step that clips on the backend's side, which the host waits for
// once. It returns the gradient's norm; the backend has skipped one that is not
// finite.
func (a *AdamW) stepAll(update *tensor.AdamW, maxNorm float64) (float64, error) {
	a.updater.Norm(a.norms, a.grads)
	a.updater.UpdateAll(a.tensors, update, a.norms, maxNorm)
	err := a.backend.Read(a.squares, a.norms)
	return float64(a.squares[0]), err
}

// stepEach takes a step tensor by tensor.
func (a *AdamW) stepEach(update *tensor.AdamW, maxNorm float64) (float64, error) {
	norm, err := a.gradNorm()
	if err != nil || !finite(norm) {
		return norm, err
	}
	if maxNorm > 0 {
		update.Scale = min(1, maxNorm/(norm+1e-6))
	}
	for i, p := range a.params {
		update.WeightDecay = a.config.WeightDecay
		if p.NoDecay {
			update.WeightDecay = 0
		}
		a.backend.AdamW(p.Value, p.Grad, a.first[i], a.second[i], update)
	}
	return norm, a.backend.Sync()
}

// gradNorm returns the global norm. The backend gives each parameter's sum of
// squares as a float32, so a norm above 1.8·10¹⁹ counts as infinite.
func (a *AdamW) gradNorm() (float64, error) {
	for i, p := range a.params {
		a.backend.SumSquares(a.norm[i], p.Grad)
	}
	if err := a.backend.Read(a.squares, a.norms); err != nil {
		return 0, err
	}
	sum := 0.0
	for _, s := range a.squares {
		sum += float64(s)
	}
	return math.Sqrt(sum), nil
}

// ZeroGrad sets the gradients to 0.
func (a *AdamW) ZeroGrad() {
	for _, p := range a.params {
		a.backend.Fill(p.Grad, 0)
	}
}

// Free releases the moments. The optimiser must not be used afterwards.
func (a *AdamW) Free() {
	for i := range a.params {
		a.backend.Free(a.first[i])
		a.backend.Free(a.second[i])
	}
	a.backend.Free(a.norms)
}

// State is what AdamW remembers between optimiser steps, in host memory, for
// checkpoints.
type State struct {
	// Steps is the number of optimiser steps taken, without the skipped ones.
	Steps int
	// Moments has an entry for each parameter with a gradient, in the order of
	// NewAdamW's params.
	Moments []Moments
}

// Moments holds the running means of a parameter's gradient and of its square.
type Moments struct {
	// Name is the name of the parameter.
	Name string
	// First and Second are as long as the parameter.
	First, Second []float32
}

// Export copies the state to host memory, bit for bit. An error is the backend's.
func (a *AdamW) Export() (State, error) {
	s := State{Steps: a.steps, Moments: make([]Moments, len(a.params))}
	for i, p := range a.params {
		m := Moments{Name: p.Name, First: make([]float32, p.Len()), Second: make([]float32, p.Len())}
		if err := a.backend.Read(m.First, a.first[i]); err != nil {
			return State{}, fmt.Errorf("optim: first moment of %s: %w", p.Name, err)
		}
		if err := a.backend.Read(m.Second, a.second[i]); err != nil {
			return State{}, fmt.Errorf("optim: second moment of %s: %w", p.Name, err)
		}
		s.Moments[i] = m
	}
	return s, nil
}

// Import replaces the state by one that Export returned for the same parameters,
// in any order. If a parameter does not fit, the error names it and nothing is
// changed.
func (a *AdamW) Import(s State) error {
	if s.Steps < 0 {
		return fmt.Errorf("optim: state after %d steps", s.Steps)
	}
	byName := make(map[string]Moments, len(s.Moments))
	for _, m := range s.Moments {
		if _, twice := byName[m.Name]; twice {
			return fmt.Errorf("optim: state has %s twice", m.Name)
		}
		byName[m.Name] = m
	}
	for _, p := range a.params {
		m, ok := byName[p.Name]
		if !ok {
			return fmt.Errorf("optim: state lacks parameter %s", p.Name)
		}
		if len(m.First) != p.Len() || len(m.Second) != p.Len() {
			return fmt.Errorf("optim: state of %s has %d and %d elements, want %d for shape %v",
				p.Name, len(m.First), len(m.Second), p.Len(), p.Shape)
		}
	}
	if len(byName) != len(a.params) {
		return fmt.Errorf("optim: state of %d parameters, want %d", len(byName), len(a.params))
	}
	for i, p := range a.params {
		a.backend.Write(a.first[i], byName[p.Name].First)
		a.backend.Write(a.second[i], byName[p.Name].Second)
	}
	a.steps = s.Steps
	return nil
}
