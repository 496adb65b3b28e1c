package backendtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// Faulty is implemented by backends that can be made to fail, so that Run can
// check what happens then.
type Faulty interface {
	// FailAfter lets n more operations succeed and makes the one after them
	// fail with err.
	FailAfter(n int, err error)
}

// Run checks that the backends that open returns behave as tensor.Backend says,
// and as those of the optional interfaces that they implement; for the others it
// tests what package tensor does instead. open is called many times. Results may
// differ from the reference by what the backend's precision allows
// (tensor.PrecisionOf). Run changes GOMAXPROCS for a while, so the
// calling test must not be parallel. It does not look for goroutines that are
// left behind: go.uber.org/goleak does, in the caller's TestMain.
func Run(t *testing.T, open func() tensor.Backend) {
	b := open()
	if err := tensor.Close(b); err != nil {
		t.Fatalf("Close: %v", err)
	}
	for _, w := range workloads() {
		t.Run(w.name, func(t *testing.T) {
			if w.needs != nil && !w.needs(b) {
				t.Skip("the backend does without")
			}
			for _, err := range check(open, w) {
				t.Error(err)
			}
		})
	}
	t.Run("Sample", func(t *testing.T) {
		if _, ok := b.(tensor.Sampler); !ok {
			t.Skip("the backend is no tensor.Sampler")
		}
		for _, err := range checkSample(open) {
			t.Error(err)
		}
	})
	t.Run("packed", func(t *testing.T) { testPacked(t, open) })
	t.Run("memory", func(t *testing.T) { testMemory(t, open) })
	t.Run("close", func(t *testing.T) { testClose(t, open) })
	t.Run("misuse", func(t *testing.T) { testMisuse(t, open) })
	t.Run("errors", func(t *testing.T) { testErrors(t, open) })
}

// A workload runs operations on inputs that depend on its name alone, and keeps
// the results for comparison between backends.
type workload struct {
	name string
	// tol bounds the error of an element, as a share of the largest magnitude in
	// its result, in float32. rounded does in tensor.PrecisionTF32 and
	// PrecisionBFloat16, if the operations round their inputs then.
	tol     float64
	run     func(e *env)
	rounded [2]float64
	// needs says whether a backend has the operations; nil = all have.
	needs func(b tensor.Backend) bool
}

// tolerance returns the bound for a precision, and the least magnitude that it is a
// share of: if inputs are rounded, the error of what cancels is that of its terms,
// which are about 1.
func (w workload) tolerance(p tensor.Precision) (tol, least float64) {
	if p == tensor.PrecisionFloat32 || w.rounded[p-tensor.PrecisionTF32] == 0 {
		return w.tol, 0
	}
	return w.rounded[p-tensor.PrecisionTF32], 1
}

// check compares w's results with the reference, and their bits for several
// GOMAXPROCS.
func check(open func() tensor.Backend, w workload) []error {
	want, err := expected(w)
	if err != nil {
		return []error{err}
	}
	b := open()
	tol, least := w.tolerance(tensor.PrecisionOf(b))
	got, err := execute(b, w)
	if err != nil {
		return []error{err}
	}
	var errs []error
	for i, r := range want {
		if err := near(got[i].values, r.values, tol, least); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.name, err))
		}
	}
	for _, procs := range []int{1, 3} {
		old := runtime.GOMAXPROCS(procs)
		again, err := execute(open(), w)
		runtime.GOMAXPROCS(old)
		if err != nil {
			return append(errs, err)
		}
		for i, r := range got {
			if j := firstDifference(r.values, again[i].values); j >= 0 {
				errs = append(errs, fmt.Errorf("%s: element %d is %v with GOMAXPROCS %d, %v before: the bits differ",
					r.name, j, again[i].values[j], procs, r.values[j]))
			}
		}
	}
	return errs
}

// expectations are the reference's results by the name of the workload, which they
// depend on alone: a program that tests several backends computes them once.
var expectations sync.Map

func expected(w workload) ([]result, error) {
	if want, ok := expectations.Load(w.name); ok {
		return want.([]result), nil
	}
	want, err := execute(reference.New64(), w)
	if err == nil {
		expectations.Store(w.name, want)
	}
	return want, err
}

// near returns an error at the first element of got that is further from
// want than tol times the largest magnitude of want, or least if that is more.
func near(got, want []float32, tol, least float64) error {
	scale := least
	for _, v := range want {
		scale = max(scale, math.Abs(float64(v))) // NaN if any is
	}
	for i, v := range want {
		diff := math.Abs(float64(got[i]) - float64(v))
		if math.IsNaN(diff) || diff > tol*scale {
			return fmt.Errorf("element %d of %d is %v, the reference says %v (largest %v, tolerance %v)",
				i, len(want), got[i], v, scale, tol)
		}
	}
	return nil
}

func firstDifference(a, b []float32) int {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

// guard is how many NaNs stand on each side of a buffer of env: odd, so that
// buffers are not aligned.
const guard = 5

// env is what a workload runs on.
type env struct {
	tensor.Backend
	rng     *rand.Rand
	wholes  []tensor.Buffer
	results []result
	err     error // the first of Read
}

type result struct {
	name   string
	values []float32
}

// execute runs w on b, which it closes, and returns the results. It is an
// error if an operation failed or wrote into a guard.
func execute(b tensor.Backend, w workload) ([]result, error) {
	e := &env{Backend: b, rng: rand.New(rand.NewPCG(uint64(len(w.name)), 7))}
	w.run(e)
	if err := b.Sync(); err != nil {
		return nil, fmt.Errorf("sync: %w", err)
	}
	for _, whole := range e.wholes {
		x := e.read(whole)
		for i := range guard {
			if !math.IsNaN(float64(x[i])) || !math.IsNaN(float64(x[len(x)-1-i])) {
				return nil, fmt.Errorf("an operation wrote outside its buffer of %d elements", len(x)-2*guard)
			}
		}
		b.Free(whole)
	}
	if e.err != nil {
		return nil, fmt.Errorf("read: %w", e.err)
	}
	return e.results, tensor.Close(b)
}

// buffer returns a buffer that holds x, between guards.
func (e *env) buffer(x []float32) tensor.Buffer { return e.guarded(x, e.Alloc) }

// half is buffer with elements of 16 bits.
func (e *env) half(x []float32) tensor.Buffer {
	return e.guarded(x, func(n int) tensor.Buffer { return tensor.Alloc16(e.Backend, n) })
}

func (e *env) guarded(x []float32, alloc func(n int) tensor.Buffer) tensor.Buffer {
	whole := alloc(len(x) + 2*guard)
	e.Fill(whole, float32(math.NaN()))
	e.wholes = append(e.wholes, whole)
	b := e.Slice(whole, guard, guard+len(x))
	e.Write(b, x)
	return b
}

// normal returns n values with the given standard deviation.
func (e *env) normal(n int, std float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(e.rng.NormFloat64() * std)
	}
	return x
}

// random returns a buffer of n standard normal values.
func (e *env) random(n int) tensor.Buffer { return e.buffer(e.normal(n, 1)) }

// nan returns a buffer of n NaNs: what must be overwritten or not be read.
func (e *env) nan(n int) tensor.Buffer {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(math.NaN())
	}
	return e.buffer(x)
}

// indices returns n random indices below limit.
func (e *env) indices(n, limit int) []int32 {
	idx := make([]int32, n)
	for i := range idx {
		idx[i] = int32(e.rng.IntN(limit))
	}
	return idx
}

func (e *env) read(b tensor.Buffer) []float32 {
	x := make([]float32, b.Len())
	if err := e.Read(x, b); err != nil && e.err == nil {
		e.err = err
	}
	return x
}

// keep records b as a result.
func (e *env) keep(name string, b tensor.Buffer) {
	e.results = append(e.results, result{name, e.read(b)})
}
