package mirror_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/mirror"
	"github.com/stepwise-rl/stepwise/mirror/distributed"
	"github.com/stepwise-rl/stepwise/mirror/kernel"
	"github.com/stepwise-rl/stepwise/mirror/problem"
)

// stream is the generator of testdata/loops.py.
type stream struct{ state uint64 }

func (s *stream) vector(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		s.state = (s.state*1103515245 + 12345) % (1 << 31)
		out[i] = float64(s.state) / (1 << 31)
	}
	return out
}

func (s *stream) matrix(m, d int) [][]float64 {
	out := make([][]float64, m)
	for i := range out {
		out[i] = s.vector(d)
	}
	return out
}

func full(d int, v float64) []float64 {
	x := make([]float64, d)
	for i := range x {
		x[i] = v
	}
	return x
}

func constant(v float64) func(int) float64 { return func(int) float64 { return v } }

// central makes a loop of mirror descent with m rows of data in d dimensions.
func central(loss problem.Loss, k kernel.Kernel, start, size func(d int) float64) func(testing.TB, int, int) func(int) []float64 {
	return func(t testing.TB, m, d int) func(int) []float64 {
		s := &stream{1}
		fit := problem.Fit{Loss: loss, A: s.matrix(m, d), B: s.vector(m)}
		step := mirror.StepSize(mirror.Fixed{Size: size(d)})
		if (loss == problem.Poisson{}) {
			for i := range fit.B {
				fit.B[i]++
			}
			l, err := fit.Smoothness(k)
			require.NoError(t, err)
			step = mirror.RelativeSmoothness{L: l}
		}
		return func(rounds int) []float64 {
			r, err := mirror.Minimize(ctx, mirror.Problem{Grad: fit.Grad, Kernel: k}, full(d, start(d)), mirror.Settings{Iterations: rounds}, mirror.Descent{StepSize: step})
			require.NoError(t, err)
			return r.X
		}
	}
}

// tracking is the loop over 16 nodes.
func tracking(t testing.TB, m, d int) func(int) []float64 {
	const n = 16
	s := &stream{1}
	a, b := s.matrix(n*m, d), s.vector(n*m)
	p := distributed.Problem{Kernel: kernel.Each(kernel.FermiDirac{Upper: 1})}
	for i := range b {
		b[i] *= float64(d) / 2
	}
	for i := range n {
		p.Grads = append(p.Grads, problem.Fit{Loss: problem.Square{}, A: a[i*m : (i+1)*m], B: b[i*m : (i+1)*m]}.Grad)
	}
	w, err := distributed.Metropolis(distributed.Ring(n))
	require.NoError(t, err)
	return func(rounds int) (x []float64) {
		r, err := distributed.Run(ctx, p, full(d, .5), distributed.Settings{
			Mixing: w, StepSize: .1, Tracking: true, Space: distributed.SpaceDual, Rounds: rounds,
		}, &distributed.Local{})
		require.NoError(t, err)
		for _, node := range r.Nodes {
			x = append(x, node.X...)
		}
		return x
	}
}

var loops = []struct {
	name string
	make func(t testing.TB, m, d int) func(rounds int) []float64
	m, d int // of the larger benchmark
}{
	{"simplex", central(problem.Square{}, kernel.Simplex{}, func(d int) float64 { return 1 / float64(d) }, constant(.5)), 200, 500},
	{"burg", central(problem.Poisson{}, kernel.Each(kernel.Burg{}), constant(1), constant(1)), 200, 500},
	{"polynomial", central(problem.Magnitude{}, kernel.Polynomial{Quadratic: 1, Quartic: 1}, constant(.5), func(d int) float64 { return .5 / float64(d*d) }), 200, 500},
	{"tracking", tracking, 20, 50},
}

// The same loops in numpy end at the same points.
func TestGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	var want map[string][]float64
	require.NoError(t, json.Unmarshal(text, &want))
	require.Len(t, want, len(loops))
	for _, l := range loops {
		assert.InDeltaSlice(t, want[l.name], l.make(t, 8, 5)(100), 1e-12, l.name)
	}
}

// One operation is a round, as in "python testdata/loops.py bench".
func BenchmarkLoops(b *testing.B) {
	for _, l := range loops {
		for _, size := range [][2]int{{8, 5}, {l.m, l.d}} {
			b.Run(fmt.Sprintf("%s/m=%d,d=%d", l.name, size[0], size[1]), func(b *testing.B) {
				loop := l.make(b, size[0], size[1])
				b.ReportAllocs()
				b.ResetTimer()
				loop(b.N)
			})
		}
	}
}
