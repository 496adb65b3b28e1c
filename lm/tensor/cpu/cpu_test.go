package cpu_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/d4l3k/go-bfloat16"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/lm/internal/float16"
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

// each runs f with every instruction set of the machine, in every precision that it has.
func each(t *testing.T, f func(t *testing.T, o cpu.Options)) {
	eachISA(t, func(t *testing.T, isa cpu.ISA) {
		for _, p := range []tensor.Precision{tensor.PrecisionFloat32, tensor.PrecisionBFloat16} {
			if o := (cpu.Options{ISA: isa, Precision: p}); o.Validate() == nil {
				t.Run(p.String(), func(t *testing.T) { f(t, o) })
			}
		}
	})
}

func open(t testing.TB, o cpu.Options) *cpu.Backend {
	b, err := cpu.New(o)
	require.NoError(t, err)
	return b
}

func TestConformance(t *testing.T) {
	each(t, func(t *testing.T, o cpu.Options) {
		backendtest.Run(t, func() tensor.Backend { return open(t, o) })
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

// The default opens in bf16 where the processor has it, and else says what is missing;
// plain Go is never chosen for it, but can be asked for.
func TestPrecision(t *testing.T) {
	b, err := tensor.Open("cpu,precision=bf16")
	if err != nil {
		assert.Regexp(t, `cpu: precision bf16 needs a processor with .*BF16; this one runs \w+ kernels without it`, err)
	} else {
		assert.Equal(t, tensor.PrecisionBFloat16, tensor.PrecisionOf(b))
		assert.NotEqual(t, cpu.ISAGo, b.(*cpu.Backend).ISA())
		assert.Positive(t, b.(*cpu.Backend).PeakGFLOPS())
	}
	assert.Equal(t, tensor.PrecisionBFloat16, open(t, cpu.Options{ISA: cpu.ISAGo, Precision: tensor.PrecisionBFloat16}).Precision())
	assert.Equal(t, tensor.PrecisionFloat32, open(t, cpu.Options{}).Precision())
	_, err = tensor.Open("cpu,precision=tf32")
	assert.ErrorContains(t, err, "cpu: Precision is tf32, want float32 or bf16")
	_, err = tensor.Open("cpu,foo=1")
	assert.ErrorContains(t, err, `unknown setting "foo"`)
	_, err = tensor.Open("cpu:1")
	assert.ErrorContains(t, err, "it takes no options but the precision")
	for _, isa := range cpu.Available() {
		if isa == cpu.ISAAVX2 {
			assert.ErrorContains(t, cpu.Options{ISA: isa, Precision: tensor.PrecisionBFloat16}.Validate(), "this one runs avx2 kernels without it")
		}
	}
}

// In bf16 both operands of a product are rounded to nearest, ties to even, however they are
// stored, and nothing else is: x·1 is x rounded, exactly, and so is 1·x.
func TestBF16Rounds(t *testing.T) {
	var x []float32
	for _, upper := range []uint32{0x0080, 0x3f80, 0x3f81, 0x7f7e, 0x7f7f} {
		for _, lower := range []uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0xffff} {
			if upper == 0x7f7f && lower >= 0x8000 {
				continue // rounds to an infinity
			}
			for _, sign := range []uint32{0, 1 << 31} {
				x = append(x, math.Float32frombits(sign|upper<<16|lower))
			}
		}
	}
	const cols = 7
	x = x[:len(x)/cols*cols]
	rows := len(x) / cols
	want := make([]float32, len(x))
	turned := make([]float32, len(x))
	for i, v := range x {
		want[i] = bfloat16.ToFloat32(float16.ToBF16(v))
		turned[i%cols*rows+i/cols] = v
	}
	one := func(n int) []float32 {
		m := make([]float32, n*n)
		for i := range n {
			m[i*n+i] = 1
		}
		return m
	}
	each(t, func(t *testing.T, o cpu.Options) {
		b := open(t, o)
		if o.Precision == tensor.PrecisionFloat32 {
			want := x
			c := b.Alloc(len(x))
			b.MatMul(tensor.OpN, tensor.OpN, rows, cols, cols, 1, upload(b, x), upload(b, one(cols)), 0, c)
			assert.Equal(t, want, values(t, b, c))
			return
		}
		for _, op := range []tensor.Op{tensor.OpN, tensor.OpT} {
			stored := x
			if op == tensor.OpT {
				stored = turned
			}
			c := b.Alloc(len(x))
			b.MatMul(op, tensor.OpN, rows, cols, cols, 1, upload(b, stored), upload(b, one(cols)), 0, c)
			assert.Equal(t, want, values(t, b, c), "left, %v", op)
			b.MatMul(tensor.OpN, op, rows, cols, rows, 1, upload(b, one(rows)), upload(b, stored), 0, c)
			assert.Equal(t, want, values(t, b, c), "right, %v", op)
		}
	})
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
			each(t, func(t *testing.T, o cpu.Options) {
				got := product(open(t, o))
				tol := 2 * o.Precision.Tolerance()
				for j := range want {
					require.InDelta(t, want[j], got[j], tol*math.Sqrt(float64(k)), "%v %v %v element %d", s, opA, opB, j)
				}
			})
		}
	}
}

// A row of a product, and a query of a decoding step, have the same bits
// whatever is computed with them: a sequence does not depend on its batch.
func TestRowsDoNotDependOnTheBatch(t *testing.T) {
	each(t, func(t *testing.T, o cpu.Options) {
		b := open(t, o)
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
	each(t, func(t *testing.T, o cpu.Options) {
		var want []float32
		for _, workers := range []int{1, 2, 7} {
			o.Workers = workers
			b := open(t, o)
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
