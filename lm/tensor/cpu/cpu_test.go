package cpu_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eachISA runs f on every instruction set of the machine.
func eachISA(t *testing.T, f func(t *testing.T, isa cpu.ISA)) {
	for _, isa := range cpu.Available() {
		t.Run(isa.String(), func(t *testing.T) { f(t, isa) })
	}
}

// eachBF16 runs f on every instruction set of the machine that multiplies bfloat16s.
func eachBF16(t *testing.T, f func(t *testing.T, isa cpu.ISA)) {
	eachISA(t, func(t *testing.T, isa cpu.ISA) {
		if err := (cpu.Options{ISA: isa, Precision: tensor.PrecisionBFloat16}).Validate(); err != nil {
			t.Skip(err)
		}
		f(t, isa)
	})
}

func open(t testing.TB, o cpu.Options) *cpu.Backend {
	b, err := cpu.New(o)
	require.NoError(t, err)
	return b
}

func TestConformance(t *testing.T) {
	eachISA(t, func(t *testing.T, isa cpu.ISA) {
		backendtest.Run(t, func() tensor.Backend { return open(t, cpu.Options{ISA: isa}) })
	})
}

// Products of bfloat16s pass the suite within the tolerance of their precision.
func TestConformanceBF16(t *testing.T) {
	eachBF16(t, func(t *testing.T, isa cpu.ISA) {
		backendtest.Run(t, func() tensor.Backend {
			return open(t, cpu.Options{ISA: isa, Precision: tensor.PrecisionBFloat16})
		})
	})
}

func TestOptions(t *testing.T) {
	_, err := cpu.New(cpu.Options{Workers: -1})
	assert.EqualError(t, err, "cpu: Workers is -1, want at least 0")
	_, err = cpu.New(cpu.Options{ISA: 99})
	assert.ErrorContains(t, err, "cannot run ISA(99) kernels")
	assert.Equal(t, err, cpu.Options{ISA: 99}.Validate())
	assert.NoError(t, cpu.Options{}.Validate())

	b, err := tensor.Open("cpu")
	require.NoError(t, err)
	assert.Equal(t, "cpu", b.Name())
	available := cpu.Available()
	assert.Equal(t, available[len(available)-1], b.(*cpu.Backend).ISA(), "the default is the best")
	assert.Equal(t, cpu.ISAGo, available[0])
	assert.Positive(t, b.(*cpu.Backend).PeakGFLOPS())
	assert.Positive(t, b.(*cpu.Backend).ReadGBps(b.Alloc(1<<20)))
}

func values(t *testing.T, b tensor.Backend, buf tensor.Buffer) []float32 {
	x := make([]float32, buf.Len())
	require.NoError(t, b.Read(x, buf))
	return x
}

// Products larger than one block in each dimension agree with the reference.
func TestMatMulBlocks(t *testing.T) {
	for _, s := range [][3]int{{201, 70, 530}, {13, 4133, 40}, {300, 170, 300}} {
		m, n, k := s[0], s[1], s[2]
		x, y, z := uniform(m*k), uniform(k*n), uniform(m*n)
		for i := range 4 {
			opA, opB := tensor.Op(i&1 != 0), tensor.Op(i&2 != 0)
			product := func(b tensor.Backend) []float32 {
				c := upload(b, z)
				b.MatMul(opA, opB, m, n, k, 0.5, upload(b, x), upload(b, y), 2, c)
				return values(t, b, c)
			}
			want := product(reference.New64())
			eachISA(t, func(t *testing.T, isa cpu.ISA) {
				got := product(open(t, cpu.Options{ISA: isa}))
				for j := range want {
					require.InDelta(t, want[j], got[j], 1e-5*math.Sqrt(float64(k)), "%v %v %v element %d", s, opA, opB, j)
				}
			})
		}
	}
}

// A row of a product, and a query of a decoding step, have the same bits
// whatever is computed with them: a sequence does not depend on its batch.
func TestRowsDoNotDependOnTheBatch(t *testing.T) {
	eachISA(t, func(t *testing.T, isa cpu.ISA) {
		b := open(t, cpu.Options{ISA: isa})
		const m, k = 70, 300
		for i := range 4 {
			n, opB := []int{45, 300}[i/2], tensor.Op(i%2 == 1)
			x, y := uniform(m*k), uniform(k*n)
			product := func(from, to int) []float32 {
				c := b.Alloc((to - from) * n)
				b.MatMul(tensor.OpN, opB, to-from, n, k, 1, upload(b, x[from*k:to*k]), upload(b, y), 0, c)
				return values(t, b, c)
			}
			all := product(0, m)
			for _, r := range [][2]int{{0, 1}, {5, 9}, {7, 30}, {40, 42}, {50, 53}, {69, 70}} {
				assert.Equal(t, all[r[0]*n:r[1]*n], product(r[0], r[1]), "rows %v, %d columns, opB %v", r, n, opB)
			}
		}

		// Completions that share a prompt, then rows of a prompt.
		const queries, heads, kvHeads, dim = 40, 4, 2, 24
		d := &tensor.Decode{Cache: tensor.CacheShape{Rows: 1000, KVHeads: kvHeads, HeadDim: dim}, Heads: heads, Scale: 0.2}
		for i := range queries / 2 {
			prompt := i / 9 * 30
			d.Ranges = append(d.Ranges, []tensor.Range{{Start: prompt, End: prompt + 29}, {Start: 90 + 10*i, End: 90 + 10*i + 1 + i%9}})
		}
		for i := range queries / 2 {
			d.Ranges = append(d.Ranges, []tensor.Range{{Start: 301, End: 800 + i}})
		}
		q, keys, vals := uniform(queries*heads*dim), b.Alloc(b.CacheLen(d.Cache)), b.Alloc(b.CacheLen(d.Cache))
		slots := make([]int32, d.Cache.Rows)
		for i := range slots {
			slots[i] = int32(i)
		}
		b.StoreCache(keys, vals, upload(b, uniform(1000*kvHeads*dim)), upload(b, uniform(1000*kvHeads*dim + 1)[1:]), slots, d.Cache)
		step := func(from, to int) []float32 {
			part := *d
			part.Ranges = d.Ranges[from:to]
			out := b.Alloc((to - from) * heads * dim)
			b.AttendCache(out, upload(b, q[from*heads*dim:to*heads*dim]), keys, vals, &part)
			return values(t, b, out)
		}
		all := step(0, queries)
		for i := range queries {
			assert.Equal(t, all[i*heads*dim:(i+1)*heads*dim], step(i, i+1), "query %d", i)
		}
	})
}

// Results do not depend on the number of workers.
func TestWorkers(t *testing.T) {
	const rows, cols = 3001, 65
	eachISA(t, func(t *testing.T, isa cpu.ISA) {
		var want []float32
		for _, workers := range []int{1, 2, 7} {
			b := open(t, cpu.Options{ISA: isa, Workers: workers})
			x, y, w := upload(b, uniform(rows*cols)), upload(b, uniform(rows*cols)), upload(b, uniform(cols))
			dw, norm, inv := b.Alloc(cols*cols+cols+1), b.Alloc(rows*cols), b.Alloc(rows)
			b.MatMul(tensor.OpT, tensor.OpN, cols, cols, rows, 1, x, y, 0, b.Slice(dw, 0, cols*cols))
			b.RMSNorm(norm, inv, x, w, rows, cols, 1e-5)
			b.RMSNormGrad(y, b.Slice(dw, cols*cols, cols*cols+cols), norm, x, w, inv, rows, cols)
			b.SumSquares(b.Slice(dw, cols*cols+cols, cols*cols+cols+1), y)
			got := values(t, b, dw)
			if want == nil {
				want = got
			}
			assert.Equal(t, want, got, "%d workers", workers)
		}
	})
}

// In a steady state an operation allocates a few hundred bytes at most.
func TestGarbage(t *testing.T) {
	b := open(t, cpu.Options{Workers: 2})
	const n = 1 << 16
	x, y := b.Alloc(n), b.Alloc(n)
	a := &tensor.Attention{Heads: 4, KVHeads: 2, HeadDim: 16, Causal: true, Scale: 1}
	for i := range 8 {
		a.Segments = append(a.Segments, tensor.Segment{Start: 64 * i, End: 64 * (i + 1), Prefix: -1})
	}
	q, k, v, out, lse := b.Alloc(512*64), b.Alloc(512*32), b.Alloc(512*32), b.Alloc(512*64), b.Alloc(512*4)
	for name, op := range map[string]func(){
		"Alloc and Free": func() { b.Free(b.Alloc(n)) },
		"Axpy":           func() { b.Axpy(x, 1, y) },
		"MatMul":         func() { b.MatMul(tensor.OpN, tensor.OpT, 256, 256, 256, 1, x, y, 0, b.Slice(x, 0, n)) },
		"Attend":         func() { b.Attend(out, lse, q, k, v, a) },
		"AttendGrad":     func() { b.AttendGrad(q, k, v, out, out, lse, q, k, v, a) },
	} {
		assert.LessOrEqual(t, testing.AllocsPerRun(20, op), 8.0, name)
	}
}

func Example() {
	b, err := cpu.New(cpu.Options{ISA: cpu.ISAGo}) // Options{} takes the best instruction set
	if err != nil {
		panic(err)
	}
	x, y := b.Alloc(4), b.Alloc(4)
	b.Write(x, []float32{1, 2, 3, 4})
	b.MatMul(tensor.OpN, tensor.OpT, 2, 2, 2, 1, x, x, 0, y) // y = x·xᵀ
	out := make([]float32, 4)
	if err := b.Read(out, y); err != nil {
		panic(err)
	}
	fmt.Println(b.Name(), b.ISA(), out)
	// Output: cpu go [5 11 11 25]
}
