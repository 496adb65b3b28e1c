package mirror_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/mirror"
	"github.com/stepwise-rl/stepwise/mirror/kernel"
)

var (
	euclidean = kernel.Each(kernel.Euclidean{})
	sumKernel = func() kernel.Kernel {
		k, err := kernel.Sum(kernel.Each(kernel.Entropy{}), kernel.Each(kernel.Burg{}))
		if err != nil {
			panic(err)
		}
		return k
	}()
)

// The step of every penalty with every kernel that has one is the minimiser: no
// random point that satisfies the constraint does better.
func TestProximalStepsAreMinima(t *testing.T) {
	box := mirror.Box{Lower: []float64{.2, .1, -1}, Upper: []float64{.9, 2, .5}}
	type subject struct {
		name string
		p    mirror.Penalty
		k    kernel.Kernel
	}
	var subjects []subject
	for _, k := range []kernel.Kernel{
		euclidean, kernel.Each(kernel.Entropy{}), kernel.Each(kernel.Burg{}), kernel.Each(kernel.Tsallis{Q: .5}), kernel.Each(kernel.FermiDirac{Lower: -1, Upper: 2}),
		kernel.Each(kernel.Hellinger{}), kernel.Each(kernel.Exponential{}), kernel.Each(kernel.Cosh{}), sumKernel,
	} {
		subjects = append(subjects, subject{"L1", mirror.L1{Weight: .7}, k}, subject{"box", box, k}, subject{"total", mirror.Total{Sum: 1.3}, k})
	}
	for _, k := range []kernel.Kernel{kernel.Polynomial{Quadratic: 1, Quartic: 1}, kernel.PNorm{P: 1.5}, kernel.Simplex{}} {
		subjects = append(subjects, subject{"L1", mirror.L1{Weight: .7}, k})
	}
	for _, s := range subjects {
		t.Run(s.name+", "+s.k.String(), func(t *testing.T) {
			require.NoError(t, s.p.Check(s.k, 3))
			rapid.Check(t, func(t *rapid.T) {
				z := rapid.SliceOfN(rapid.Float64Range(-3, 3), 3, 3).Draw(t, "z")
				a := rapid.Float64Range(.1, 2).Draw(t, "a")
				dual, x := append([]float64(nil), z...), make([]float64, 3)
				if !s.p.Prox(s.k, x, dual, a) {
					t.Skip("no minimum: beyond the dual range")
				}
				back := make([]float64, 3)
				require.True(t, s.k.Inverse(back, dual))
				require.InDeltaSlice(t, x, back, 1e-12*(1+math.Abs(x[0])+math.Abs(x[1])+math.Abs(x[2])), "the dual point is that of x")
				value := func(x []float64) float64 {
					v := a*s.p.Value(x) + s.k.Value(x)
					for i := range x {
						v -= z[i] * x[i]
					}
					return v
				}
				other := make([]float64, 3)
				for i := range other { // near x, in the domain and within the constraint
					step := rapid.Float64Range(-.5, .5).Draw(t, "point")
					other[i] = x[i] + step*step*step*8
					if s.name == "box" {
						require.LessOrEqual(t, x[i], box.Upper[i])
						require.GreaterOrEqual(t, x[i], box.Lower[i])
						other[i] = min(max(other[i], box.Lower[i]), box.Upper[i])
					}
				}
				_, simplex := s.k.(kernel.Simplex)
				if total := 1.3; s.name == "total" || simplex {
					if simplex {
						total = 1
					}
					sum, sumX := 0.0, 0.0
					for i := range other {
						other[i] = math.Abs(other[i])
						sum, sumX = sum+other[i], sumX+x[i]
					}
					require.InDelta(t, total, sumX, 1e-12)
					for i := range other {
						require.GreaterOrEqual(t, x[i], 0.0)
						other[i] *= total / sum
					}
				}
				if !s.k.Contains(other) {
					t.Skip("the other point is outside the domain")
				}
				best := value(x)
				assert.LessOrEqual(t, best, value(other)+1e-9*(1+math.Abs(best)))
			})
		})
	}
}

// By hand: soft thresholding, projection onto a box, projection onto a simplex.
func TestProximalStepsByHand(t *testing.T) {
	prox := func(p mirror.Penalty, k kernel.Kernel, a float64, z ...float64) []float64 {
		require.NoError(t, p.Check(k, len(z)))
		x := make([]float64, len(z))
		require.True(t, p.Prox(k, x, z, a))
		return x
	}
	assert.InDeltaSlice(t, []float64{1, 0, -2}, prox(mirror.L1{Weight: 2}, euclidean, .5, 2, .5, -3), 1e-15)
	assert.InDeltaSlice(t, []float64{1, 0}, prox(mirror.Box{Lower: []float64{-1, 0}, Upper: []float64{1, 1}}, euclidean, 1, 5, -5), 1e-15)
	assert.InDeltaSlice(t, []float64{.75, .25, 0}, prox(mirror.Total{Sum: 1}, euclidean, 1, 1, .5, -1), 1e-15)
	third := 1. / 3
	assert.InDeltaSlice(t, []float64{third, third, third}, prox(mirror.Total{Sum: 1}, kernel.Each(kernel.Burg{}), 1, 7, 7, 7), 1e-15)

	z := []float64{.3, -1, 2}
	soft := make([]float64, 3)
	kernel.Simplex{}.Inverse(soft, z)
	assert.InDeltaSlice(t, soft, prox(mirror.Total{Sum: 1}, kernel.Each(kernel.Entropy{}), 1, z...), 1e-14, "the softmax")
	// The upper bound of a box saves a step that leaves Burg's dual range.
	assert.InDeltaSlice(t, []float64{4}, prox(mirror.Box{Upper: []float64{4}}, kernel.Each(kernel.Burg{}), 1, 3), 1e-15)
}

// The lasso of two coordinates in closed form, and the same minimum over the
// simplex by Total with three kernels.
func TestPenalisedProblems(t *testing.T) {
	quadratic := func(c ...float64) mirror.Problem { // |x−c|²/2
		return mirror.Problem{
			Func: func(x []float64) (f float64) {
				for i := range x {
					f += (x[i] - c[i]) * (x[i] - c[i]) / 2
				}
				return f
			},
			Grad: func(dst, x []float64) {
				for i := range x {
					dst[i] = x[i] - c[i]
				}
			},
		}
	}
	solve := func(p mirror.Problem, k kernel.Kernel, psi mirror.Penalty, m mirror.Method, x0 ...float64) []float64 {
		p.Kernel, p.Penalty = k, psi
		r, err := mirror.Minimize(ctx, p, x0, mirror.Settings{Iterations: 20000, PointTol: 1e-14}, m)
		require.NoError(t, err)
		return r.X
	}
	search := mirror.Descent{StepSize: mirror.Backtracking{Initial: 1}}
	for _, k := range []kernel.Kernel{euclidean, kernel.Polynomial{Quadratic: 1, Quartic: 1}, kernel.Each(kernel.Cosh{})} {
		x := solve(quadratic(3, -.5), k, mirror.L1{Weight: 1}, search, 1, 1)
		assert.InDeltaSlice(t, []float64{2, 0}, x, 1e-10, k.String())
		assert.Zero(t, x[1], "exactly")
	}
	for _, k := range []kernel.Kernel{euclidean, kernel.Each(kernel.Entropy{}), sumKernel, kernel.Each(kernel.Tsallis{Q: .5})} {
		x := solve(quadratic(.5, .8, .3), k, mirror.Total{Sum: 1}, search, .3, .3, .4)
		assert.InDeltaSlice(t, []float64{.3, .6, .1}, x, 1e-9, k.String())
	}
	for _, m := range []mirror.Method{search, mirror.Accelerated{L: 1, Exponent: 2}} {
		x := solve(quadratic(.5, 3), euclidean, mirror.Box{Upper: []float64{1, 1}}, m, 0, 0)
		assert.InDeltaSlice(t, []float64{.5, 1}, x, 1e-9)
	}
}

func TestPenaltyErrors(t *testing.T) {
	burg := kernel.Each(kernel.Burg{})
	for want, err := range map[string]error{
		"L1.Weight is -1": mirror.L1{Weight: -1}.Check(burg, 1),
		"the proximal step of Box with simplex entropy is not known":    mirror.Box{}.Check(kernel.Simplex{}, 2),
		"the proximal step of Total with p-norm(2) is not known":        mirror.Total{Sum: 1}.Check(kernel.PNorm{P: 2}, 2),
		"Box.Lower has 1 numbers, want 2":                               mirror.Box{Lower: []float64{0}}.Check(burg, 2),
		"Box of coordinate 0 is from -Inf to -1, want bounds in order ": mirror.Box{Upper: []float64{-1}}.Check(burg, 1),
		"Box of coordinate 0 is from 2 to 1":                            mirror.Box{Lower: []float64{2}, Upper: []float64{1}}.Check(burg, 1),
		"Total.Sum is 0":                                                mirror.Total{}.Check(burg, 1),
		"Total.Sum is 4, but the domain of coordinate 0, (0, 1)":        mirror.Total{Sum: 4}.Check(kernel.Each(kernel.FermiDirac{Upper: 1}), 2),
	} {
		assert.ErrorContains(t, err, want)
	}
	affine, err := kernel.Affine(euclidean, [][]float64{{1, 1}, {0, 1}}, []float64{0, 0})
	require.NoError(t, err)
	assert.ErrorContains(t, mirror.L1{}.Check(affine, 2), "the proximal step of L1 with Euclidean of an affine map is not known")
	in := instances()[1]
	p := in.problem()
	p.Penalty = mirror.Box{}
	_, err = mirror.Minimize(ctx, p, in.start, mirror.Settings{Iterations: 1}, mirror.Descent{StepSize: mirror.Fixed{Size: 1}})
	assert.ErrorContains(t, err, "Box with simplex entropy")
}
