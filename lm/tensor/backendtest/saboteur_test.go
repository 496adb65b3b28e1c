package backendtest

import (
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// base is a correct backend to which each saboteur adds a bug that a real
// backend could have.
type base struct{ *reference.Backend[float32] }

// TestSuiteFindsBugs: the suite is worth something only if it rejects
// backends that are wrong.
func TestSuiteFindsBugs(t *testing.T) {
	for name, sabotage := range map[string]func(b base) tensor.Backend{
		"MatMul":                 func(b base) tensor.Backend { return readsC{b} },
		"Fill Copy Axpy":         func(b base) tensor.Backend { return &outOfBounds{base: b} },
		"SumSquares":             func(b base) tensor.Backend { return narrowSum{b} },
		"AddBias SumRows":        func(b base) tensor.Backend { return dependsOnProcs{b} },
		"Gather ScatterAdd":      func(b base) tensor.Backend { return losesRepeats{b} },
		"RMSNorm":                func(b base) tensor.Backend { return overwritesGradient{b} },
		"LayerNorm":              func(b base) tensor.Backend { return sampleVariance{b} },
		"GELU":                   func(b base) tensor.Backend { return tanhGELU{b} },
		"GeGLU":                  func(b base) tensor.Backend { return ungated{b} },
		"Tanh":                   func(b base) tensor.Backend { return slopeOfInput{b} },
		"RoPE":                   func(b base) tensor.Backend { return &retains{base: b} },
		"Attend":                 func(b base) tensor.Backend { return noPrefix{b} },
		"Attend with a window":   func(b base) tensor.Backend { return noWindow{b} },
		"StoreCache AttendCache": func(b base) tensor.Backend { return wrongHead{b} },
		"LogProb":                func(b base) tensor.Backend { return noTemperature{b} },
		"TopK":                   func(b base) tensor.Backend { return lastOfEqual{b} },
		"Linear":                 func(b base) tensor.Backend { return forgetsBias{b} },
		"AdamW":                  func(b base) tensor.Backend { return noClipping{b} },
		"KeepWeight":             func(b base) tensor.Backend { return &staleWeight{base: b} },
		"Norm UpdateAll":         func(b base) tensor.Backend { return normOfLast{b} },
		"Alloc16":                func(b base) tensor.Backend { return truncates{b} },
	} {
		t.Run(name, func(t *testing.T) {
			ws := workloads()
			i := slices.IndexFunc(ws, func(w workload) bool { return w.name == name })
			if i < 0 {
				t.Fatal("no such workload")
			}
			errs := check(func() tensor.Backend { return sabotage(base{reference.New()}) }, ws[i])
			if len(errs) == 0 {
				t.Fatal("the bug is not found")
			}
			t.Log(errs[0])
		})
	}
}

// TestSuiteKnowsPrecisions: products that round to bfloat16 pass in a backend that
// says so, and in no other.
func TestSuiteKnowsPrecisions(t *testing.T) {
	ws := workloads()
	w := ws[slices.IndexFunc(ws, func(w workload) bool { return w.name == "MatMul" })]
	for p, fails := range map[tensor.Precision]bool{tensor.PrecisionFloat32: true, tensor.PrecisionTF32: true, tensor.PrecisionBFloat16: false} {
		errs := check(func() tensor.Backend { return rounds{base{reference.New()}, p} }, w)
		if (len(errs) > 0) != fails {
			t.Errorf("%v: %d errors: %v", p, len(errs), errs)
		}
	}
}

// rounds multiplies what is rounded to bfloat16.
type rounds struct {
	base
	precision tensor.Precision
}

func (b rounds) Precision() tensor.Precision { return b.precision }

func (b rounds) MatMul(opA, opB tensor.Op, m, n, k int, alpha float32, x, y tensor.Buffer, beta float32, c tensor.Buffer) {
	rx, ry := b.Alloc16(x.Len()), b.Alloc16(y.Len())
	b.Copy(rx, x)
	b.Copy(ry, y)
	b.base.MatMul(opA, opB, m, n, k, alpha, rx, ry, beta, c)
}

// TestSuiteFindsWrongDraws does for checkSample what TestSuiteFindsBugs does for
// workloads.
func TestSuiteFindsWrongDraws(t *testing.T) {
	for name, change := range map[string]func(d *tensor.Draws){
		"no temperature": func(d *tensor.Draws) {
			for i := range d.Temperature {
				if d.Temperature[i] != 0 {
					d.Temperature[i] = 1
				}
			}
		},
		"no top-k":             func(d *tensor.Draws) { clear(d.TopK) },
		"no top-p":             func(d *tensor.Draws) { clear(d.TopP) },
		"one random number":    func(d *tensor.Draws) { clear(d.Uniform) },
		"the row of the first": func(d *tensor.Draws) { clear(d.Rows) },
	} {
		t.Run(name, func(t *testing.T) {
			errs := checkSample(func() tensor.Backend { return wrongDraws{base{reference.New()}, change} })
			if len(errs) == 0 {
				t.Fatal("the bug is not found")
			}
			t.Log(errs[0])
		})
	}
}

// wrongDraws draws in another way than was asked for.
type wrongDraws struct {
	base
	change func(d *tensor.Draws)
}

func (b wrongDraws) Sample(drawn, logits tensor.Buffer, vocab int, d *tensor.Draws) {
	b.change(d)
	b.base.Sample(drawn, logits, vocab, d)
}

// readsC multiplies c by beta 0 where it must not read it.
type readsC struct{ base }

func (b readsC) MatMul(opA, opB tensor.Op, m, n, k int, alpha float32, x, y tensor.Buffer, beta float32, c tensor.Buffer) {
	if beta == 0 {
		beta = 1e-38
	}
	b.base.MatMul(opA, opB, m, n, k, alpha, x, y, beta, c)
}

// outOfBounds writes in front of the last buffer that was allocated.
type outOfBounds struct {
	base
	last tensor.Buffer
}

func (b *outOfBounds) Alloc(n int) tensor.Buffer {
	b.last = b.base.Alloc(n)
	return b.last
}

func (b *outOfBounds) Axpy(dst tensor.Buffer, alpha float32, x tensor.Buffer) {
	b.base.Axpy(dst, alpha, x)
	b.Fill(b.Slice(b.last, guard-1, guard), 0)
}

// narrowSum sums in float32.
type narrowSum struct{ base }

func (b narrowSum) SumSquares(dst, x tensor.Buffer) {
	values := make([]float32, x.Len())
	if err := b.Read(values, x); err != nil {
		panic(err)
	}
	var sum float32
	for _, v := range values {
		sum += v * v
	}
	b.Fill(dst, sum)
}

// dependsOnProcs sums in another order with three threads.
type dependsOnProcs struct{ base }

func (b dependsOnProcs) SumRows(dst, x tensor.Buffer, rows, cols int) {
	if runtime.GOMAXPROCS(0) != 3 || rows < 2 {
		b.base.SumRows(dst, x, rows, cols)
		return
	}
	half := rows / 2
	b.base.SumRows(dst, b.Slice(x, half*cols, rows*cols), rows-half, cols)
	b.base.SumRows(dst, b.Slice(x, 0, half*cols), half, cols)
}

// losesRepeats keeps the last of several rows with the same index.
type losesRepeats struct{ base }

func (b losesRepeats) ScatterAdd(dst, src tensor.Buffer, idx []int32, cols int) {
	old := b.Alloc(len(idx) * cols)
	b.Gather(old, dst, idx, cols)
	b.Axpy(old, 1, src)
	for i, r := range idx {
		b.Copy(b.Slice(dst, int(r)*cols, int(r+1)*cols), b.Slice(old, i*cols, (i+1)*cols))
	}
}

// overwritesGradient forgets that gradients accumulate.
type overwritesGradient struct{ base }

func (b overwritesGradient) RMSNormGrad(dx, dw, dy, x, w, inv tensor.Buffer, rows, cols int) {
	b.Fill(dw, 0)
	b.base.RMSNormGrad(dx, dw, dy, x, w, inv, rows, cols)
}

// sampleVariance divides by the number of columns less one.
type sampleVariance struct{ base }

func (b sampleVariance) LayerNorm(y, mean, inv, x, w, bias tensor.Buffer, rows, cols int, eps float32) {
	b.base.LayerNorm(y, mean, inv, x, w, bias, rows, cols, eps)
	if cols > 1 {
		invs := make([]float32, rows)
		if err := b.Read(invs, inv); err != nil {
			panic(err)
		}
		for i := range invs {
			invs[i] *= float32(math.Sqrt(float64(cols-1) / float64(cols)))
		}
		b.Write(inv, invs)
	}
}

// tanhGELU is the approximation that GPT-2 uses.
type tanhGELU struct{ base }

func (b tanhGELU) GELU(y, x tensor.Buffer) {
	v := make([]float32, x.Len())
	if err := b.Read(v, x); err != nil {
		panic(err)
	}
	for i, f := range v {
		x := float64(f)
		v[i] = float32(x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))))
	}
	b.Write(y, v)
}

// ungated forgets the derivative of the gate.
type ungated struct{ base }

func (b ungated) GeGLU(y, gate, up tensor.Buffer) { tensor.GeGLU(b.base, y, gate, up) }

func (b ungated) GeGLUGrad(dgate, dup, dy, gate, up tensor.Buffer) {
	tensor.GeGLUGrad(b.base, dgate, dup, dy, gate, up)
	b.Copy(dgate, dy)
}

// slopeOfInput takes Tanh's y for its x.
type slopeOfInput struct{ base }

func (b slopeOfInput) TanhGrad(dx, dy, y tensor.Buffer) {
	tanh := b.Alloc(y.Len())
	b.Tanh(tanh, y)
	b.base.TanhGrad(dx, dy, tanh)
}

// retains looks at its arguments when the result is wanted.
type retains struct {
	base
	pending []func()
}

func (b *retains) RoPE(x tensor.Buffer, pos []int32, freq []float32, heads, headDim int, inverse bool) {
	b.pending = append(b.pending, func() { b.base.RoPE(x, pos, freq, heads, headDim, inverse) })
}

func (b *retains) Read(dst []float32, src tensor.Buffer) error {
	for _, f := range b.pending {
		f()
	}
	b.pending = nil
	return b.base.Read(dst, src)
}

// noPrefix lets completions attend to themselves only.
type noPrefix struct{ base }

func (b noPrefix) Attend(out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	c := *a
	c.Segments = slices.Clone(a.Segments)
	for i := range c.Segments {
		c.Segments[i].Prefix = -1
	}
	b.base.Attend(out, lse, q, k, v, &c)
}

// noWindow lets rows attend to all of their sequence.
type noWindow struct{ base }

func (b noWindow) Attend(out, lse, q, k, v tensor.Buffer, a *tensor.Attention) {
	c := *a
	c.Window = 0
	b.base.Attend(out, lse, q, k, v, &c)
}

// wrongHead reads the cache as if there were half as many of its heads,
// twice as many rows.
type wrongHead struct{ base }

func (b wrongHead) AttendCache(out, q, kCache, vCache tensor.Buffer, d *tensor.Decode) {
	c := *d
	if c.Cache.KVHeads == 2 {
		c.Cache.KVHeads, c.Cache.Rows = 1, 2*c.Cache.Rows
	}
	b.base.AttendCache(out, q, kCache, vCache, &c)
}

// noTemperature misses the outer derivative.
type noTemperature struct{ base }

func (b noTemperature) LogProbGrad(logits, dlogp, dentropy, stats tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	b.base.LogProbGrad(logits, dlogp, dentropy, stats, targets, vocab, 1)
}

// lastOfEqual takes the higher index of equal elements.
type lastOfEqual struct{ base }

func (b lastOfEqual) TopK(ids, x tensor.Buffer, rows, cols, among, k int) {
	v := make([]float32, x.Len())
	if err := b.Read(v, x); err != nil {
		panic(err)
	}
	for i := range rows {
		slices.Reverse(v[i*cols:][:among])
	}
	reversed, top := b.Alloc(len(v)), make([]float32, ids.Len())
	b.Write(reversed, v)
	b.base.TopK(ids, reversed, rows, cols, among, k)
	if err := b.Read(top, ids); err != nil {
		panic(err)
	}
	for i, id := range top {
		if id >= 0 {
			top[i] = float32(among-1) - id
		}
	}
	b.Write(ids, top)
}

// forgetsBias has no bias where there is something else to add.
type forgetsBias struct{ base }

func (b forgetsBias) Linear(y, x, w, bias, add tensor.Buffer, rows, out, in int) {
	if add != nil {
		bias = nil
	}
	tensor.Linear(b.base, y, x, w, bias, add, rows, out, in)
}

// noClipping ignores the gradient's scale.
type noClipping struct{ base }

func (b noClipping) AdamW(p, g, m, v tensor.Buffer, o *tensor.AdamW) {
	c := *o
	c.Scale = 1
	b.base.AdamW(p, g, m, v, &c)
}

// staleWeight multiplies by a copy of the weights that Write alone refreshes.
type staleWeight struct {
	base
	weights, shadow tensor.Buffer
}

func (b *staleWeight) KeepWeight(w tensor.Buffer) { b.weights, b.shadow = w, b.Alloc(w.Len()) }

func (b *staleWeight) Write(dst tensor.Buffer, src []float32) {
	b.base.Write(dst, src)
	if dst == b.weights {
		b.base.Write(b.shadow, src)
	}
}

func (b *staleWeight) MatMul(opA, opB tensor.Op, m, n, k int, alpha float32, x, y tensor.Buffer, beta float32, c tensor.Buffer) {
	if y == b.weights {
		y = b.shadow
	}
	b.base.MatMul(opA, opB, m, n, k, alpha, x, y, beta, c)
}

// normOfLast takes the norm of the last tensor for that of all.
type normOfLast struct{ base }

func (b normOfLast) Norm(norm tensor.Buffer, xs []tensor.Buffer) {
	b.base.Norm(norm, xs[max(0, len(xs)-1):])
}

// truncates rounds what is copied to 16 bits towards zero.
type truncates struct{ base }

func (b truncates) Write(dst tensor.Buffer, src []float32) {
	cut := make([]float32, len(src))
	for i, v := range src {
		cut[i] = math.Float32frombits(math.Float32bits(v) &^ 0xffff)
	}
	b.base.Write(dst, cut)
}
