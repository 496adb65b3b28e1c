package cpu_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// near fails if an element of got is further from want than tol times the
// largest magnitude of want.
func near(t *rapid.T, what string, want, got []float32, tol float64) {
	largest := 1.0
	for _, w := range want {
		largest = max(largest, math.Abs(float64(w)))
	}
	for i, w := range want {
		if d := math.Abs(float64(w) - float64(got[i])); !(d <= tol*largest) {
			t.Fatalf("%s[%d] is %v, the reference says %v", what, i, got[i], w)
		}
	}
}

func read(t *rapid.T, b tensor.Backend, buf tensor.Buffer) []float32 {
	x := make([]float32, buf.Len())
	require.NoError(t, b.Read(x, buf))
	return x
}

// Products of any shape agree with the reference.
func TestMatMulProperty(t *testing.T) {
	each(t, func(t *testing.T, o cpu.Options) {
		o.Workers = 2
		b, ref := open(t, o), reference.New64()
		rapid.Check(t, func(t *rapid.T) {
			size := rapid.IntRange(0, 70)
			m, n, k := size.Draw(t, "m"), size.Draw(t, "n"), size.Draw(t, "k")
			opA, opB := tensor.Op(rapid.Bool().Draw(t, "opA")), tensor.Op(rapid.Bool().Draw(t, "opB"))
			factor := rapid.SampledFrom([]float32{0, 1, -0.5})
			alpha, beta := factor.Draw(t, "alpha"), factor.Draw(t, "beta")
			product := func(b tensor.Backend) []float32 {
				c := upload(b, uniform(m*n))
				b.MatMul(opA, opB, m, n, k, alpha, upload(b, uniform(m*k)), upload(b, uniform(k*n)), beta, c)
				return read(t, b, c)
			}
			near(t, "c", product(ref), product(b), 2*o.Precision.Tolerance())
		})
	})
}

// attended returns what attention and its gradient compute.
func attended(t require.TestingT, b tensor.Backend, a *tensor.Attention, rows int) (list [][]float32) {
	wide, narrow := rows*a.Heads*a.HeadDim, rows*a.KVHeads*a.HeadDim
	out, lse := b.Alloc(wide), b.Alloc(rows*a.Heads)
	q, k, v := upload(b, uniform(wide)), upload(b, uniform(narrow)), upload(b, uniform(narrow + 1)[1:])
	b.Attend(out, lse, q, k, v, a)
	dq, dk, dv := b.Alloc(wide), b.Alloc(narrow), b.Alloc(narrow)
	b.AttendGrad(dq, dk, dv, upload(b, uniform(wide + 1)[1:]), out, lse, q, k, v, a)
	for _, x := range []tensor.Buffer{out, lse, dq, dk, dv} {
		list = append(list, make([]float32, x.Len()))
		require.NoError(t, b.Read(list[len(list)-1], x))
	}
	return list
}

// Attention over any packed batch agrees with the reference, forward and
// backward.
func TestAttendProperty(t *testing.T) {
	eachISA(t, func(t *testing.T, isa cpu.ISA) {
		b, ref := open(t, cpu.Options{ISA: isa, Workers: 2}), reference.New64()
		rapid.Check(t, func(t *rapid.T) {
			a := &tensor.Attention{
				KVHeads: rapid.IntRange(1, 2).Draw(t, "kvHeads"),
				HeadDim: rapid.SampledFrom([]int{1, 5, 8, 16, 20}).Draw(t, "headDim"),
				Causal:  rapid.Bool().Draw(t, "causal"),
				Scale:   0.3,
			}
			a.Heads = a.KVHeads * rapid.IntRange(1, 2).Draw(t, "group")
			rows := 0
			var roots []int
			for i := range rapid.IntRange(0, 5).Draw(t, "segments") {
				s := tensor.Segment{Start: rows + rapid.IntRange(0, 2).Draw(t, "gap"), Prefix: -1}
				s.End = s.Start + rapid.IntRange(0, 60).Draw(t, "length")
				if len(roots) > 0 && rapid.Bool().Draw(t, "hasPrefix") {
					s.Prefix = rapid.SampledFrom(roots).Draw(t, "prefix")
				} else {
					roots = append(roots, i)
				}
				a.Segments = append(a.Segments, s)
				rows = s.End
			}
			want, got := attended(t, ref, a, rows), attended(t, b, a, rows)
			for i, name := range []string{"out", "lse", "dq", "dk", "dv"} {
				near(t, name, want[i], got[i], 2e-5)
			}
		})
	})
}

// Workers that share a family compute the bits of one worker.
func TestAttendSpread(t *testing.T) {
	for _, c := range []struct{ kvHeads, group, headDim int }{{1, 3, 16}, {2, 1, 20}, {1, 1, 128}} {
		for _, segments := range [][]tensor.Segment{
			{{Start: 1, End: 500, Prefix: -1}},
			{{Start: 0, End: 190, Prefix: -1}, {Start: 190, End: 390, Prefix: -1}},
			{{Start: 0, End: 301, Prefix: -1}, {Start: 301, End: 301, Prefix: 0}, {Start: 303, End: 420, Prefix: 0}, {Start: 420, End: 451, Prefix: -1}, {Start: 451, End: 640, Prefix: 0}},
		} {
			for _, causal := range []bool{true, false} {
				a := &tensor.Attention{
					Segments: segments, Heads: c.kvHeads * c.group, KVHeads: c.kvHeads, HeadDim: c.headDim, Causal: causal, Scale: 0.3,
				}
				rows := segments[len(segments)-1].End
				eachISA(t, func(t *testing.T, isa cpu.ISA) {
					want := attended(t, open(t, cpu.Options{ISA: isa, Workers: 1}), a, rows)
					for _, workers := range []int{2, 16} {
						require.Equal(t, want, attended(t, open(t, cpu.Options{ISA: isa, Workers: workers}), a, rows), "%d workers, %+v", workers, a)
					}
					// Attention's products are no matrix products of the model: bf16 leaves them.
					if o := (cpu.Options{ISA: isa, Workers: 2, Precision: tensor.PrecisionBFloat16}); o.Validate() == nil {
						require.Equal(t, want, attended(t, open(t, o), a, rows), "bf16, %+v", a)
					}
				})
			}
		}
	}
}
