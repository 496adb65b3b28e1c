package backendtest

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// keepWeight multiplies by weights that were written in every way there is since the
// last product.
func keepWeight(e *env) {
	const m, n, k = 3, 20, 33
	w, a, c := e.Alloc(n*k), e.random(m*k), e.nan(m*n)
	defer e.Free(w)
	tensor.KeepWeight(e.Backend, w)
	product := func(name string) {
		e.MatMul(tensor.OpN, tensor.OpT, m, n, k, 1, a, w, 0, c)
		e.keep("MatMul after "+name, c)
	}
	zero := func() tensor.Buffer { return e.buffer(make([]float32, n*k)) }
	product("Alloc")
	e.Write(w, e.normal(n*k, 1))
	product("Write")
	e.Copy(e.Slice(w, 5, 2*k), e.random(2*k-5))
	product("Copy to a slice")
	e.Axpy(w, 0.5, e.random(n*k))
	product("Axpy")
	e.MatMul(tensor.OpN, tensor.OpN, n, k, 2, 1, e.random(n*2), e.random(2*k), 1, w)
	product("MatMul")
	e.AdamW(w, e.random(n*k), zero(), zero(), &tensor.AdamW{LR: 0.5, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 1, Scale: 1})
	product("AdamW")
	if u, ok := e.Backend.(tensor.Updater); ok {
		norm := e.nan(1)
		g := e.random(n * k)
		u.Norm(norm, []tensor.Buffer{g})
		u.UpdateAll([]tensor.AdamWTensor{{P: w, G: g, M: zero(), V: zero()}}, &tensor.AdamW{LR: 0.5, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 1, Scale: 1}, norm, 0)
	} else { // as the reference has it
		g := e.random(n * k)
		e.AdamW(w, g, zero(), zero(), &tensor.AdamW{LR: 0.5, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 1, Scale: 1})
	}
	product("UpdateAll")
	e.Fill(e.Slice(w, k, 3*k), 0.25)
	product("Fill of a slice")
}

// updateAll takes optimiser steps over tensors of many sizes at once: unclipped,
// clipped, and with a norm that is not finite.
func updateAll(e *env) {
	u := e.Backend.(tensor.Updater)
	var tensors []tensor.AdamWTensor
	var grads []tensor.Buffer
	for i, n := range append([]int{1, 2, 4096, 5}, sizes...) {
		g := e.random(n)
		zero := make([]float32, n)
		tensors = append(tensors, tensor.AdamWTensor{P: e.random(n), G: g, M: e.buffer(zero), V: e.buffer(zero), NoDecay: i%3 == 1})
		grads = append(grads, g)
	}
	norm := e.nan(1)
	step := func(name string, o tensor.AdamW, maxNorm float64) {
		o.LR, o.Beta1, o.Beta2, o.Eps, o.WeightDecay = 1e-2, 0.9, 0.95, 1e-3, 0.5
		list, bufs := append([]tensor.AdamWTensor(nil), tensors...), append([]tensor.Buffer(nil), grads...)
		u.Norm(norm, bufs)
		clear(bufs)
		u.UpdateAll(list, &o, norm, maxNorm)
		clear(list)
		o = tensor.AdamW{}
		e.keep(name+": norm", norm)
		for i, t := range tensors {
			e.keep(fmt.Sprintf("%s: p of tensor %d", name, i), t.P)
			e.keep(fmt.Sprintf("%s: m of tensor %d", name, i), t.M)
			e.keep(fmt.Sprintf("%s: v of tensor %d", name, i), t.V)
		}
	}
	step("unclipped", tensor.AdamW{Step: 1, Scale: 0.7}, 0)
	step("not reached", tensor.AdamW{Step: 2, Scale: 1}, 1e6)
	step("clipped", tensor.AdamW{Step: 3, Scale: 1}, 0.25)
	for _, bad := range []float64{math.NaN(), math.Inf(1)} {
		e.Fill(grads[3], float32(bad))
		u.Norm(norm, grads)
		u.UpdateAll(tensors, &tensor.AdamW{LR: 1, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Step: 4, Scale: 1}, norm, 1)
		e.keep(fmt.Sprintf("p after a norm of %v", bad), tensors[3].P)
		e.keep(fmt.Sprintf("m after a norm of %v", bad), tensors[3].M)
	}
	u.Norm(norm, nil)
	e.keep("norm of nothing", norm)
	// Squares that overflow a float32, but not their root.
	u.Norm(norm, []tensor.Buffer{e.buffer([]float32{3e30, 4e30})})
	e.keep("norm of large values", norm)
}

// alloc16 runs every operation that takes buffers of 16 bits on them, all alone and
// mixed with others.
func alloc16(e *env) {
	x := e.half([]float32{edges[0], edges[1], edges[2], 1, -1.00390625, 0})
	e.keep("Write rounds", x)
	e.Fill(e.Slice(x, 1, 3), 1.00390625)
	e.keep("Fill rounds", x)
	const rows, cols = 7, 24
	half := func(n int) tensor.Buffer { return e.half(e.normal(n, 1)) }
	y := half(rows * cols)
	wide := e.random(rows * cols)
	e.Copy(y, wide)
	e.keep("Copy to 16 bits", y)
	e.Axpy(y, 0.3, wide)
	e.keep("Axpy to 16 bits", y)
	e.Copy(wide, half(rows*cols))
	e.keep("Copy from 16 bits", wide)
	e.Axpy(wide, 0.3, y)
	e.keep("Axpy from 16 bits", wide)
	e.AddBias(y, e.random(cols), rows, cols)
	e.keep("AddBias", y)
	sum := e.random(cols)
	e.SumRows(sum, y, rows, cols)
	e.keep("SumRows", sum)
	e.Gather(y, e.random(5*cols), []int32{4, 0, 1, 1, 2, 3, 0}, cols)
	e.keep("Gather", y)
	table := e.random(5 * cols)
	e.ScatterAdd(table, y, []int32{4, 0, 1, 1, 2, 3, 0}, cols)
	e.keep("ScatterAdd", table)

	e.Gather(y, half(5*cols), []int32{0, 4, 0, 1, 2, 3, 1}, cols)
	e.keep("Gather of 16 bits", y)
	table = half(9 * cols)
	e.ScatterAdd(table, y, []int32{8, 0, 1, 1, 2, 3, 0}, cols)
	e.keep("ScatterAdd to 16 bits", table)

	for i := range 8 {
		pick := func(bit, n int) tensor.Buffer {
			if i>>bit&1 == 0 {
				return e.random(n)
			}
			return half(n)
		}
		name := fmt.Sprintf(", mix %03b", i)
		a, c := pick(0, rows*cols), pick(1, rows*15)
		e.MatMul(tensor.OpN, tensor.OpT, rows, 15, cols, 1, a, e.random(15*cols), 1, c)
		e.keep("MatMul by weights"+name, c)
		add := pick(2, rows*15)
		tensor.Linear(e.Backend, c, a, e.random(15*cols), e.random(15), add, rows, 15, cols)
		e.keep("Linear"+name, c)
		dw := e.random(15 * cols)
		e.MatMul(tensor.OpT, tensor.OpN, 15, cols, rows, 1, c, a, 1, dw)
		e.keep("MatMul of weights' gradient"+name, dw)

		x, y, w, inv, mean := pick(0, rows*cols), pick(1, rows*cols), e.random(cols), e.nan(rows), e.nan(rows)
		dx, dy := pick(2, rows*cols), pick(1, rows*cols)
		e.RMSNorm(y, inv, x, w, rows, cols, 1e-5)
		e.keep("RMSNorm"+name, y)
		e.RMSNormGrad(dx, e.random(cols), dy, x, w, inv, rows, cols)
		e.keep("RMSNormGrad"+name, dx)
		tensor.LayerNorm(e.Backend, y, mean, inv, x, w, e.random(cols), rows, cols, 1e-5)
		e.keep("LayerNorm"+name, y)
		tensor.LayerNormGrad(e.Backend, dx, e.random(cols), e.random(cols), dy, x, w, mean, inv, rows, cols)
		e.keep("LayerNormGrad"+name, dx)
	}

	gate, up, dy := half(rows*cols), half(rows*cols), half(rows*cols)
	act := half(rows * cols)
	e.SwiGLU(act, gate, up)
	e.keep("SwiGLU", act)
	e.SwiGLUGrad(gate, up, dy, gate, up)
	e.keep("SwiGLUGrad dgate", gate)
	e.keep("SwiGLUGrad dup", up)
	tensor.GELU(e.Backend, act, dy)
	e.keep("GELU", act)
	tensor.GELUGrad(e.Backend, act, dy, act)
	e.keep("GELUGrad", act)

	const heads, kvHeads, dim = 4, 2, 6
	q, k, v := half(rows*heads*dim), half(rows*kvHeads*dim), half(rows*kvHeads*dim)
	e.RoPE(q, []int32{0, 1, 2, 3, 4, 5, 6}, []float32{1, 0.5, 0.25}, heads, dim, false)
	e.keep("RoPE", q)
	attention := &tensor.Attention{
		Segments: []tensor.Segment{{Start: 0, End: 4, Prefix: -1}, {Start: 4, End: rows, Prefix: 0}},
		Heads:    heads, KVHeads: kvHeads, HeadDim: dim, Causal: true, Scale: invSqrt(dim),
	}
	out, lse := half(rows*heads*dim), e.nan(rows*heads)
	e.Attend(out, lse, q, k, v, attention)
	e.keep("Attend out", out)
	e.keep("Attend lse", lse)
	dq, dk, dv := half(rows*heads*dim), half(rows*kvHeads*dim), half(rows*kvHeads*dim)
	e.AttendGrad(dq, dk, dv, half(rows*heads*dim), out, lse, q, k, v, attention)
	e.keep("AttendGrad dq", dq)
	e.keep("AttendGrad dk", dk)
	e.keep("AttendGrad dv", dv)

	cache := tensor.CacheShape{Rows: 9, KVHeads: kvHeads, HeadDim: dim}
	size := tensor.CacheLen(e.Backend, cache)
	kCache, vCache := e.half(make([]float32, size)), e.half(make([]float32, size))
	tensor.StoreCache(e.Backend, kCache, vCache, k, v, []int32{8, 1, 2, 3, 4, 5, 6}, cache)
	tensor.AttendCache(e.Backend, out, q, kCache, vCache, &tensor.Decode{
		Cache: cache, Heads: heads, Scale: invSqrt(dim), Ranges: [][]tensor.Range{
			{{Start: 1, End: 2}}, {{Start: 1, End: 7}}, {{Start: 8, End: 9}, {Start: 1, End: 4}}, {{Start: 2, End: 4}},
			{{Start: 1, End: 7}, {Start: 8, End: 9}}, {{Start: 3, End: 4}}, {{Start: 4, End: 7}},
		},
	})
	e.keep("AttendCache", out)
}
