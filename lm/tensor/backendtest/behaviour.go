package backendtest

import (
	"errors"
	"math"
	"testing"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// opened returns a backend that is closed when the test ends.
func opened(t *testing.T, open func() tensor.Backend) tensor.Backend {
	b := open()
	t.Cleanup(func() {
		if err := tensor.Close(b); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// testMemory states facts about Alloc, Slice, Write, Read and Free.
func testMemory(t *testing.T, open func() tensor.Backend) {
	b := opened(t, open)
	expect := func(what string, buf tensor.Buffer, want ...float32) {
		t.Helper()
		got := make([]float32, len(want))
		if err := b.Read(got, buf); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if i := firstDifference(got, want); i >= 0 {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	if b.Name() == "" {
		t.Error("Name is empty")
	}
	x := b.Alloc(6)
	if x.Len() != 6 {
		t.Errorf("Len of Alloc(6) is %d", x.Len())
	}
	expect("Alloc is zeroed", x, 0, 0, 0, 0, 0, 0)

	src := []float32{1, 2, 3, 4, 5, 6}
	b.Write(x, src)
	clear(src)
	expect("Write copies before it returns", x, 1, 2, 3, 4, 5, 6)

	mid := b.Slice(x, 1, 5)
	inner := b.Slice(mid, 1, 3)
	if mid.Len() != 4 || inner.Len() != 2 {
		t.Errorf("Slices have lengths %d and %d, want 4 and 2", mid.Len(), inner.Len())
	}
	expect("Slice of a slice", inner, 3, 4)
	b.Fill(inner, 9)
	expect("Slice shares memory", x, 1, 2, 9, 9, 5, 6)
	b.Copy(b.Slice(x, 0, 2), b.Slice(x, 4, 6))
	expect("Copy between disjoint slices", x, 5, 6, 9, 9, 5, 6)
	expect("empty slice", b.Slice(x, 6, 6))

	special := []float32{float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32, math.SmallestNonzeroFloat32, float32(math.Copysign(0, -1)), 0}
	b.Write(x, special)
	expect("Write and Read keep every bit", x, special...)

	empty := b.Alloc(0)
	b.Write(empty, nil)
	expect("an empty buffer", empty)
	b.Free(empty)
	b.Free(x)
	for range 3 { // memory that was used before is zeroed again
		y := b.Alloc(6)
		expect("Alloc after Free is zeroed", y, 0, 0, 0, 0, 0, 0)
		b.Fill(y, 7)
		b.Free(y)
	}
	if err := b.Sync(); err != nil {
		t.Errorf("Sync: %v", err)
	}
	if chunk, kept := tensor.HeadSize(b); chunk < 1 || kept < chunk {
		t.Errorf("HeadSize is %d and %d, want at least 1, and no less kept than computed at once", chunk, kept)
	}
	if _, err := tensor.PrecisionOf(b).MarshalText(); err != nil {
		t.Error(err)
	}
}

// testClose states that a backend is closed once, however often one calls it.
func testClose(t *testing.T, open func() tensor.Backend) {
	b := open()
	b.Fill(b.Alloc(3), 1) // neither freed nor waited for
	for i := range 2 {
		if err := tensor.Close(b); err != nil {
			t.Errorf("Close, call %d: %v", i+1, err)
		}
	}
}

// testErrors states that an error sticks until Sync and not longer.
func testErrors(t *testing.T, open func() tensor.Backend) {
	b := opened(t, open)
	for range 2 {
		if err := b.Sync(); err != nil {
			t.Fatalf("Sync without operations: %v", err)
		}
	}
	faulty, ok := b.(Faulty)
	if !ok {
		t.Skip("the backend is no backendtest.Faulty: whether its errors stick is not tested")
	}
	x, got := b.Alloc(2), make([]float32, 2)
	boom := errors.New("boom")
	faulty.FailAfter(1, boom)
	b.Fill(x, 1) // succeeds
	b.Fill(x, 2) // fails
	b.Fill(x, 3)
	for range 2 {
		if err := b.Read(got, x); !errors.Is(err, boom) {
			t.Errorf("Read after an error: got %v, want %v", err, boom)
		}
	}
	if _, ok := b.(tensor.ErrReporter); ok {
		if err := tensor.Err(b); !errors.Is(err, boom) {
			t.Errorf("Err after a Read: got %v, want %v", err, boom)
		}
	}
	if err := b.Sync(); !errors.Is(err, boom) {
		t.Errorf("Sync after an error: got %v, want %v", err, boom)
	}
	if err := tensor.Err(b); err != nil {
		t.Errorf("Err after Sync: got %v, want none", err)
	}
	if err := b.Sync(); err != nil {
		t.Errorf("second Sync after an error: got %v, want none", err)
	}
	b.Fill(x, 4)
	if err := b.Read(got, x); err != nil || got[0] != 4 || got[1] != 4 {
		t.Errorf("after Sync cleared an error: got %v, %v; want [4 4]", got, err)
	}
	b.Free(x)
}

// foreign is a buffer of no backend.
type foreign int

func (f foreign) Len() int { return int(f) }

// testMisuse states that the caller's mistakes panic at the call, and leave
// the backend usable.
func testMisuse(t *testing.T, open func() tensor.Backend) {
	b := opened(t, open)
	for name, call := range misuses(b) {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
				if err := b.Sync(); err != nil {
					t.Errorf("Sync after the panic: %v", err)
				}
			}()
			call()
		})
	}
}

func misuses(b tensor.Backend) map[string]func() {
	n := b.Alloc // n(3) is a buffer of three elements
	attention := func(change func(a *tensor.Attention)) *tensor.Attention {
		a := &tensor.Attention{
			Segments: []tensor.Segment{{Start: 0, End: 2, Prefix: -1}, {Start: 2, End: 4, Prefix: 0}},
			Heads:    2, KVHeads: 1, HeadDim: 3, Causal: true, Scale: 1,
		}
		change(a)
		return a
	}
	attend := func(change func(a *tensor.Attention)) func() {
		return func() { b.Attend(n(24), n(8), n(24), n(12), n(12), attention(change)) }
	}
	same := func(*tensor.Attention) {}
	cache := tensor.CacheShape{Rows: 5, KVHeads: 1, HeadDim: 3}
	size := tensor.CacheLen(b, cache)
	decode := func(kvHeads, size int, scale float32, ranges ...tensor.Range) func() {
		return func() {
			c := cache
			c.KVHeads = kvHeads
			tensor.AttendCache(b, n(6), n(6), n(size), n(size), &tensor.Decode{Cache: c, Ranges: [][]tensor.Range{ranges}, Heads: 2, Scale: scale})
		}
	}
	calls := map[string]func(){
		"Alloc negative":         func() { b.Alloc(-1) },
		"Free foreign":           func() { b.Free(foreign(3)) },
		"Slice backwards":        func() { b.Slice(n(3), 2, 1) },
		"Slice too far":          func() { b.Slice(n(3), 0, 4) },
		"Slice negative":         func() { b.Slice(n(3), -1, 2) },
		"Slice foreign":          func() { b.Slice(foreign(3), 0, 1) },
		"Write length":           func() { b.Write(n(3), make([]float32, 2)) },
		"Write foreign":          func() { b.Write(foreign(3), make([]float32, 3)) },
		"Read length":            func() { _ = b.Read(make([]float32, 4), n(3)) },
		"Read foreign":           func() { _ = b.Read(make([]float32, 3), foreign(3)) },
		"Fill foreign":           func() { b.Fill(foreign(3), 1) },
		"Copy length":            func() { b.Copy(n(3), n(4)) },
		"Copy foreign":           func() { b.Copy(n(3), foreign(3)) },
		"Axpy length":            func() { b.Axpy(n(3), 1, n(2)) },
		"Axpy foreign":           func() { b.Axpy(foreign(3), 1, n(3)) },
		"SumSquares dst":         func() { b.SumSquares(n(2), n(3)) },
		"SumSquares foreign":     func() { b.SumSquares(n(1), foreign(3)) },
		"MatMul a":               func() { b.MatMul(tensor.OpN, tensor.OpN, 2, 3, 4, 1, n(7), n(12), 0, n(6)) },
		"MatMul b":               func() { b.MatMul(tensor.OpN, tensor.OpT, 2, 3, 4, 1, n(8), n(11), 0, n(6)) },
		"MatMul c":               func() { b.MatMul(tensor.OpT, tensor.OpN, 2, 3, 4, 1, n(8), n(12), 0, n(8)) },
		"MatMul negative":        func() { b.MatMul(tensor.OpN, tensor.OpN, -1, -1, -1, 1, n(1), n(1), 0, n(1)) },
		"MatMul foreign":         func() { b.MatMul(tensor.OpN, tensor.OpN, 2, 3, 4, 1, n(8), foreign(12), 0, n(6)) },
		"Linear y":               func() { tensor.Linear(b, n(5), n(4), n(6), nil, nil, 2, 3, 2) },
		"Linear bias":            func() { tensor.Linear(b, n(6), n(4), n(6), n(2), nil, 2, 3, 2) },
		"Linear add":             func() { tensor.Linear(b, n(6), n(4), n(6), nil, n(3), 2, 3, 2) },
		"Linear foreign":         func() { tensor.Linear(b, n(6), n(4), n(6), nil, foreign(6), 2, 3, 2) },
		"TopK k":                 func() { tensor.TopK(b, n(8), n(6), 2, 3, 3, 4) },
		"TopK none":              func() { tensor.TopK(b, n(0), n(6), 2, 3, 3, 0) },
		"TopK among":             func() { tensor.TopK(b, n(2), n(6), 2, 3, 4, 1) },
		"TopK x":                 func() { tensor.TopK(b, n(2), n(5), 2, 3, 3, 1) },
		"TopK ids":               func() { tensor.TopK(b, n(3), n(6), 2, 3, 3, 1) },
		"TopK foreign":           func() { tensor.TopK(b, n(2), foreign(6), 2, 3, 3, 1) },
		"AddBias x":              func() { b.AddBias(n(5), n(3), 2, 3) },
		"AddBias bias":           func() { b.AddBias(n(6), n(2), 2, 3) },
		"SumRows dst":            func() { b.SumRows(n(2), n(6), 2, 3) },
		"Gather index":           func() { b.Gather(n(4), n(6), []int32{0, 3}, 2) },
		"Gather negative index":  func() { b.Gather(n(4), n(6), []int32{0, -1}, 2) },
		"Gather dst":             func() { b.Gather(n(3), n(6), []int32{0, 1}, 2) },
		"Gather src":             func() { b.Gather(n(4), n(5), []int32{0, 1}, 2) },
		"ScatterAdd index":       func() { b.ScatterAdd(n(6), n(4), []int32{0, 3}, 2) },
		"ScatterAdd src":         func() { b.ScatterAdd(n(6), n(5), []int32{0, 1}, 2) },
		"RMSNorm y":              func() { b.RMSNorm(n(5), n(2), n(6), n(3), 2, 3, 0) },
		"RMSNorm inv":            func() { b.RMSNorm(n(6), n(3), n(6), n(3), 2, 3, 0) },
		"RMSNorm w":              func() { b.RMSNorm(n(6), n(2), n(6), n(2), 2, 3, 0) },
		"RMSNormGrad dw":         func() { b.RMSNormGrad(n(6), n(2), n(6), n(6), n(3), n(2), 2, 3) },
		"RMSNormGrad foreign":    func() { b.RMSNormGrad(n(6), n(3), foreign(6), n(6), n(3), n(2), 2, 3) },
		"LayerNorm mean":         func() { tensor.LayerNorm(b, n(6), n(3), n(2), n(6), n(3), n(3), 2, 3, 0) },
		"LayerNorm bias":         func() { tensor.LayerNorm(b, n(6), n(2), n(2), n(6), n(3), n(2), 2, 3, 0) },
		"LayerNorm foreign":      func() { tensor.LayerNorm(b, n(6), n(2), n(2), foreign(6), n(3), n(3), 2, 3, 0) },
		"LayerNormGrad dbias":    func() { tensor.LayerNormGrad(b, n(6), n(3), n(2), n(6), n(6), n(3), n(2), n(2), 2, 3) },
		"RoPE odd headDim":       func() { b.RoPE(n(6), make([]int32, 2), make([]float32, 1), 1, 3, false) },
		"RoPE x":                 func() { b.RoPE(n(7), make([]int32, 2), make([]float32, 2), 1, 4, false) },
		"RoPE freq":              func() { b.RoPE(n(8), make([]int32, 2), make([]float32, 4), 1, 4, false) },
		"Attend negative scale":  attend(func(a *tensor.Attention) { a.Scale = -1 }),
		"Attend negative window": attend(func(a *tensor.Attention) { a.Window = -1 }),
		"Attend window, prefix":  attend(func(a *tensor.Attention) { a.Window = 1 }),
		"Attend heads":           attend(func(a *tensor.Attention) { a.KVHeads = 3 }),
		"Attend headDim":         attend(func(a *tensor.Attention) { a.HeadDim = 5 }),
		"Attend segment order":   attend(func(a *tensor.Attention) { a.Segments[1].Start = 1 }),
		"Attend segment end":     attend(func(a *tensor.Attention) { a.Segments[1].End = 5 }),
		"Attend prefix itself":   attend(func(a *tensor.Attention) { a.Segments[1].Prefix = 1 }),
		"Attend prefix -2":       attend(func(a *tensor.Attention) { a.Segments[1].Prefix = -2 }),
		"Attend nested prefix": attend(func(a *tensor.Attention) {
			a.Segments = append(a.Segments, tensor.Segment{Start: 4, End: 4, Prefix: 1})
		}),
		"Attend lse":         func() { b.Attend(n(24), n(4), n(24), n(12), n(12), attention(same)) },
		"Attend k":           func() { b.Attend(n(24), n(8), n(24), n(24), n(12), attention(same)) },
		"Attend foreign":     func() { b.Attend(n(24), n(8), foreign(24), n(12), n(12), attention(same)) },
		"AttendGrad dk":      func() { b.AttendGrad(n(24), n(24), n(12), n(24), n(24), n(8), n(24), n(12), n(12), attention(same)) },
		"CacheLen rows":      func() { tensor.CacheLen(b, tensor.CacheShape{Rows: -1, KVHeads: 1, HeadDim: 3}) },
		"CacheLen heads":     func() { tensor.CacheLen(b, tensor.CacheShape{Rows: 5, HeadDim: 3}) },
		"StoreCache slot":    func() { tensor.StoreCache(b, n(size), n(size), n(3), n(3), []int32{5}, cache) },
		"StoreCache kCache":  func() { tensor.StoreCache(b, n(size+1), n(size), n(3), n(3), []int32{4}, cache) },
		"StoreCache v":       func() { tensor.StoreCache(b, n(size), n(size), n(3), n(6), []int32{4}, cache) },
		"StoreCache foreign": func() { tensor.StoreCache(b, n(size), n(size), n(3), foreign(3), []int32{4}, cache) },
		"AttendCache range":  decode(1, size, 1, tensor.Range{Start: 0, End: 6}),
		"AttendCache none":   decode(1, size, 1, tensor.Range{Start: 2, End: 2}),
		"AttendCache vCache": decode(1, size+1, 1, tensor.Range{Start: 0, End: 1}),
		"AttendCache scale":  decode(1, size, -1, tensor.Range{Start: 0, End: 1}),
		"AttendCache heads":  decode(3, tensor.CacheLen(b, tensor.CacheShape{Rows: 5, KVHeads: 3, HeadDim: 3}), 1, tensor.Range{Start: 0, End: 1}),
		"SwiGLU up":          func() { b.SwiGLU(n(3), n(3), n(2)) },
		"SwiGLUGrad dup":     func() { b.SwiGLUGrad(n(3), n(2), n(3), n(3), n(3)) },
		"GeGLU up":           func() { tensor.GeGLU(b, n(3), n(3), n(2)) },
		"GeGLUGrad dup":      func() { tensor.GeGLUGrad(b, n(3), n(2), n(3), n(3), n(3)) },
		"Tanh x":             func() { tensor.Tanh(b, n(3), n(2)) },
		"TanhGrad dx":        func() { tensor.TanhGrad(b, n(2), n(3), n(3)) },
		"GELU x":             func() { tensor.GELU(b, n(3), n(2)) },
		"GELUGrad dx":        func() { tensor.GELUGrad(b, n(2), n(3), n(3)) },
		"LogProb target":     func() { b.LogProb(n(2), nil, n(6), n(6), []int32{0, 3}, 3, 1) },
		"LogProb logits":     func() { b.LogProb(n(2), nil, n(6), n(5), []int32{0, 1}, 3, 1) },
		"LogProb entropy":    func() { b.LogProb(n(2), n(3), n(6), n(6), []int32{0, 1}, 3, 1) },
		"LogProbGrad target": func() { b.LogProbGrad(n(6), n(2), nil, n(6), []int32{-1, 0}, 3, 1) },
		"LogProbGrad dlogp":  func() { b.LogProbGrad(n(6), n(1), nil, n(6), []int32{0, 1}, 3, 1) },
		"LogProbGrad stats":  func() { b.LogProbGrad(n(6), n(2), nil, n(4), []int32{0, 1}, 3, 1) },
		"AdamW g":            func() { b.AdamW(n(3), n(2), n(3), n(3), &tensor.AdamW{Step: 1}) },
		"AdamW step":         func() { b.AdamW(n(3), n(3), n(3), n(3), &tensor.AdamW{Step: 0}) },
		"AdamW foreign":      func() { b.AdamW(n(3), n(3), foreign(3), n(3), &tensor.AdamW{Step: 1}) },
	}
	if u, ok := b.(tensor.Updater); ok {
		list := func(p, g tensor.Buffer) []tensor.AdamWTensor {
			return []tensor.AdamWTensor{{P: n(3), G: n(3), M: n(3), V: n(3)}, {P: p, G: g, M: n(2), V: n(2)}}
		}
		calls["Norm norm"] = func() { u.Norm(n(2), []tensor.Buffer{n(3)}) }
		calls["Norm foreign"] = func() { u.Norm(n(1), []tensor.Buffer{n(3), foreign(3)}) }
		calls["UpdateAll G"] = func() { u.UpdateAll(list(n(2), n(3)), &tensor.AdamW{Step: 1}, n(1), 0) }
		calls["UpdateAll step"] = func() { u.UpdateAll(list(n(2), n(2)), &tensor.AdamW{}, n(1), 0) }
		calls["UpdateAll maxNorm"] = func() { u.UpdateAll(list(n(2), n(2)), &tensor.AdamW{Step: 1}, n(1), -1) }
		calls["UpdateAll foreign"] = func() { u.UpdateAll(list(foreign(2), n(2)), &tensor.AdamW{Step: 1}, n(1), 0) }
	}
	if s, ok := b.(tensor.Sampler); ok {
		sample := func(change func(d *tensor.Draws)) func() {
			return func() {
				d := tensor.Draws{Rows: []int32{0, 1}, Temperature: []float32{1, 0}, TopK: []int32{0, 2}, TopP: []float32{0, 1}, Uniform: []float32{0, 0.5}}
				change(&d)
				s.Sample(n(6), n(10), 5, &d)
			}
		}
		calls["Sample drawn"] = func() { s.Sample(n(3), n(10), 5, &tensor.Draws{}) }
		calls["Sample logits"] = func() { s.Sample(n(0), n(9), 5, &tensor.Draws{}) }
		calls["Sample foreign"] = func() { s.Sample(n(0), foreign(10), 5, &tensor.Draws{}) }
		calls["Sample row"] = sample(func(d *tensor.Draws) { d.Rows[1] = 2 })
		calls["Sample order"] = sample(func(d *tensor.Draws) { d.Rows[0], d.Rows[1] = 1, 0 })
		calls["Sample temperature"] = sample(func(d *tensor.Draws) { d.Temperature[0] = -1 })
		calls["Sample infinite temperature"] = sample(func(d *tensor.Draws) { d.Temperature[0] = float32(math.Inf(1)) })
		calls["Sample top-k"] = sample(func(d *tensor.Draws) { d.TopK[0] = -1 })
		calls["Sample top-p"] = sample(func(d *tensor.Draws) { d.TopP[0] = 1.5 })
		calls["Sample uniform"] = sample(func(d *tensor.Draws) { d.Uniform[0] = 1 })
		calls["Sample lengths"] = sample(func(d *tensor.Draws) { d.Uniform = d.Uniform[:1] })
	}
	if a, ok := b.(tensor.Allocator16); ok {
		calls["Alloc16 negative"] = func() { a.Alloc16(-1) }
	}
	if p, ok := b.(tensor.Packer); ok {
		const f = tensor.FormatFloat32
		product := func(p, c tensor.Buffer) tensor.Product { return tensor.Product{N: 3, P: p, C: c} }
		size := p.PackedLen(f, 3, 4)
		calls["PackedLen format"] = func() { p.PackedLen(2, 3, 4) }
		calls["Pack format"] = func() { p.Pack(-1, n(size), tensor.OpN, 3, 4, n(12)) }
		calls["MatMulPacked format"] = func() { p.MatMulPacked(2, 2, 4, 1, n(8), 0, product(n(size), n(6))) }
		calls["Pack p"] = func() { p.Pack(f, n(size+1), tensor.OpN, 3, 4, n(12)) }
		calls["Pack b"] = func() { p.Pack(f, n(size), tensor.OpT, 3, 4, n(11)) }
		calls["Pack foreign"] = func() { p.Pack(f, n(size), tensor.OpT, 3, 4, foreign(12)) }
		calls["MatMulPacked a"] = func() { p.MatMulPacked(f, 2, 4, 1, n(7), 0, product(n(size), n(6))) }
		calls["MatMulPacked p"] = func() { p.MatMulPacked(f, 2, 4, 1, n(8), 0, product(n(size-1), n(6))) }
		calls["MatMulPacked c"] = func() { p.MatMulPacked(f, 2, 4, 1, n(8), 0, product(n(size), n(6)), product(n(size), n(5))) }
		calls["MatMulPacked foreign"] = func() { p.MatMulPacked(f, 2, 4, 1, n(8), 0, product(foreign(size), n(6))) }
	}
	return calls
}
