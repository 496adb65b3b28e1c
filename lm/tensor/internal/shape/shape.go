// Package shape checks the arguments of backend operations, so that every
// backend panics at the call, on the same mistakes and with the same texts.
// One function for each operation, named after it; it looks at lengths and
// indices only, never at a buffer's contents.
package shape

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// length panics unless b, the argument arg of op, has want elements.
func length(op, arg string, b tensor.Buffer, want int) {
	if b == nil {
		panic(fmt.Sprintf("tensor: %s: %s is nil", op, arg))
	}
	if b.Len() != want {
		panic(fmt.Sprintf("tensor: %s: %s has %d elements, want %d", op, arg, b.Len(), want))
	}
}

// atLeast panics unless v, the argument arg of op, is at least min.
func atLeast(op, arg string, v, min int) {
	if v < min {
		panic(fmt.Sprintf("tensor: %s: %s is %d, want at least %d", op, arg, v, min))
	}
}

// rows returns how many rows of size cols b has; it panics if that is not a
// whole number.
func rows(op, arg string, b tensor.Buffer, cols int) int {
	if b == nil {
		panic(fmt.Sprintf("tensor: %s: %s is nil", op, arg))
	}
	if cols < 1 {
		panic(fmt.Sprintf("tensor: %s: row size of %s is %d, want at least 1", op, arg, cols))
	}
	if b.Len()%cols != 0 {
		panic(fmt.Sprintf("tensor: %s: %s has %d elements, want whole rows of %d", op, arg, b.Len(), cols))
	}
	return b.Len() / cols
}

// indices panics unless every index is in [0, n).
func indices(op, arg string, idx []int32, n int) {
	for i, x := range idx {
		if x < 0 || int(x) >= n {
			panic(fmt.Sprintf("tensor: %s: %s[%d] is %d, want it in [0, %d)", op, arg, i, x, n))
		}
	}
}

// Alloc checks the arguments of Backend.Alloc.
func Alloc(n int) { atLeast("Alloc", "n", n, 0) }

// Slice checks the arguments of Backend.Slice.
func Slice(b tensor.Buffer, from, to int) {
	if from < 0 || to < from || to > b.Len() {
		panic(fmt.Sprintf("tensor: Slice: [%d:%d) of a buffer of %d elements", from, to, b.Len()))
	}
}

// Write checks the arguments of Backend.Write.
func Write(dst tensor.Buffer, n int) { length("Write", "dst", dst, n) }

// Read checks the arguments of Backend.Read.
func Read(n int, src tensor.Buffer) { length("Read", "src", src, n) }

// Copy checks the arguments of Backend.Copy.
func Copy(dst, src tensor.Buffer) { length("Copy", "src", src, dst.Len()) }

// Axpy checks the arguments of Backend.Axpy.
func Axpy(dst, x tensor.Buffer) { length("Axpy", "x", x, dst.Len()) }

// SumSquares checks the arguments of Backend.SumSquares.
func SumSquares(dst tensor.Buffer) { length("SumSquares", "dst", dst, 1) }

// MatMul checks the arguments of Backend.MatMul.
func MatMul(m, n, k int, a, b, c tensor.Buffer) {
	const op = "MatMul"
	atLeast(op, "m", m, 0)
	atLeast(op, "n", n, 0)
	atLeast(op, "k", k, 0)
	length(op, "a", a, m*k)
	length(op, "b", b, k*n)
	length(op, "c", c, m*n)
}

// Format panics unless f is one of tensor's.
func Format(f tensor.Format) {
	if f != tensor.FormatFloat32 && f != tensor.FormatBFloat16 {
		panic(fmt.Sprintf("tensor: Format is %d, want Float32 or BFloat16", f))
	}
}

// Pack checks the arguments of Packer.Pack, of which size is PackedLen.
func Pack(size, n, k int, p, b tensor.Buffer) {
	const op = "Pack"
	atLeast(op, "n", n, 0)
	atLeast(op, "k", k, 0)
	length(op, "p", p, size)
	length(op, "b", b, k*n)
}

// MatMulPacked checks the arguments of Packer.MatMulPacked; size is PackedLen.
func MatMulPacked(size func(f tensor.Format, n, k int) int, f tensor.Format, m, k int, a tensor.Buffer, products []tensor.Product) {
	const op = "MatMulPacked"
	atLeast(op, "m", m, 0)
	atLeast(op, "k", k, 0)
	length(op, "a", a, m*k)
	for _, p := range products {
		atLeast(op, "N", p.N, 0)
		length(op, "P", p.P, size(f, p.N, k))
		length(op, "C", p.C, m*p.N)
	}
}

// Linear checks the arguments of Linearer.Linear.
func Linear(y, x, w, bias, add tensor.Buffer, rows, out, in int) {
	const op = "Linear"
	atLeast(op, "rows", rows, 0)
	atLeast(op, "out", out, 0)
	atLeast(op, "in", in, 0)
	length(op, "y", y, rows*out)
	length(op, "x", x, rows*in)
	length(op, "w", w, out*in)
	if bias != nil {
		length(op, "bias", bias, out)
	}
	if add != nil {
		length(op, "add", add, rows*out)
	}
}

// AddBias checks the arguments of Backend.AddBias.
func AddBias(x, bias tensor.Buffer, rows, cols int) {
	rowsAndCols("AddBias", x, "bias", bias, rows, cols)
}

// SumRows checks the arguments of Backend.SumRows.
func SumRows(dst, x tensor.Buffer, rows, cols int) { rowsAndCols("SumRows", x, "dst", dst, rows, cols) }

func rowsAndCols(op string, x tensor.Buffer, arg string, v tensor.Buffer, rows, cols int) {
	atLeast(op, "rows", rows, 0)
	atLeast(op, "cols", cols, 0)
	length(op, "x", x, rows*cols)
	length(op, arg, v, cols)
}

// Gather checks the arguments of Backend.Gather.
func Gather(dst, src tensor.Buffer, idx []int32, cols int) {
	length("Gather", "dst", dst, len(idx)*cols)
	indices("Gather", "idx", idx, rows("Gather", "src", src, cols))
}

// ScatterAdd checks the arguments of Backend.ScatterAdd.
func ScatterAdd(dst, src tensor.Buffer, idx []int32, cols int) {
	const op = "ScatterAdd"
	length(op, "src", src, len(idx)*cols)
	indices(op, "idx", idx, rows(op, "dst", dst, cols))
}

// RMSNorm checks the arguments of Backend.RMSNorm.
func RMSNorm(y, inv, x, w tensor.Buffer, rows, cols int) {
	const op = "RMSNorm"
	atLeast(op, "rows", rows, 0)
	atLeast(op, "cols", cols, 1)
	length(op, "y", y, rows*cols)
	length(op, "inv", inv, rows)
	length(op, "x", x, rows*cols)
	length(op, "w", w, cols)
}

// RMSNormGrad checks the arguments of Backend.RMSNormGrad.
func RMSNormGrad(dx, dw, dy, x, w, inv tensor.Buffer, rows, cols int) {
	const op = "RMSNormGrad"
	atLeast(op, "rows", rows, 0)
	atLeast(op, "cols", cols, 1)
	length(op, "dx", dx, rows*cols)
	length(op, "dw", dw, cols)
	length(op, "dy", dy, rows*cols)
	length(op, "x", x, rows*cols)
	length(op, "w", w, cols)
	length(op, "inv", inv, rows)
}

// LayerNorm checks the arguments of LayerNormer.LayerNorm.
func LayerNorm(y, mean, inv, x, w, bias tensor.Buffer, rows, cols int) {
	const op = "LayerNorm"
	atLeast(op, "rows", rows, 0)
	atLeast(op, "cols", cols, 1)
	length(op, "y", y, rows*cols)
	length(op, "mean", mean, rows)
	length(op, "inv", inv, rows)
	length(op, "x", x, rows*cols)
	length(op, "w", w, cols)
	length(op, "bias", bias, cols)
}

// LayerNormGrad checks the arguments of LayerNormer.LayerNormGrad.
func LayerNormGrad(dx, dw, dbias, dy, x, w, mean, inv tensor.Buffer, rows, cols int) {
	const op = "LayerNormGrad"
	atLeast(op, "rows", rows, 0)
	atLeast(op, "cols", cols, 1)
	length(op, "dx", dx, rows*cols)
	length(op, "dw", dw, cols)
	length(op, "dbias", dbias, cols)
	length(op, "dy", dy, rows*cols)
	length(op, "x", x, rows*cols)
	length(op, "w", w, cols)
	length(op, "mean", mean, rows)
	length(op, "inv", inv, rows)
}

// RoPE checks the arguments of Backend.RoPE.
func RoPE(x tensor.Buffer, pos []int32, freq []float32, heads, headDim int) {
	const op = "RoPE"
	atLeast(op, "heads", heads, 1)
	atLeast(op, "headDim", headDim, 2)
	if headDim%2 != 0 {
		panic(fmt.Sprintf("tensor: RoPE: headDim is %d, want an even number", headDim))
	}
	if len(freq) != headDim/2 {
		panic(fmt.Sprintf("tensor: RoPE: %d frequencies, want headDim/2 = %d", len(freq), headDim/2))
	}
	length(op, "x", x, len(pos)*heads*headDim)
}

// GeGLU checks the arguments of GeGLUer.GeGLU.
func GeGLU(y, gate, up tensor.Buffer) { gated("GeGLU", y, gate, up) }

// GeGLUGrad checks the arguments of GeGLUer.GeGLUGrad.
func GeGLUGrad(dgate, dup, dy, gate, up tensor.Buffer) {
	gatedGrad("GeGLUGrad", dgate, dup, dy, gate, up)
}

// SwiGLU checks the arguments of Backend.SwiGLU.
func SwiGLU(y, gate, up tensor.Buffer) { gated("SwiGLU", y, gate, up) }

// SwiGLUGrad checks the arguments of Backend.SwiGLUGrad.
func SwiGLUGrad(dgate, dup, dy, gate, up tensor.Buffer) {
	gatedGrad("SwiGLUGrad", dgate, dup, dy, gate, up)
}

func gated(op string, y, gate, up tensor.Buffer) {
	length(op, "gate", gate, y.Len())
	length(op, "up", up, y.Len())
}

func gatedGrad(op string, dgate, dup, dy, gate, up tensor.Buffer) {
	length(op, "dgate", dgate, dy.Len())
	length(op, "dup", dup, dy.Len())
	length(op, "gate", gate, dy.Len())
	length(op, "up", up, dy.Len())
}

// GELU checks the arguments of GELUer.GELU.
func GELU(y, x tensor.Buffer) { length("GELU", "x", x, y.Len()) }

// GELUGrad checks the arguments of GELUer.GELUGrad.
func GELUGrad(dx, dy, x tensor.Buffer) {
	length("GELUGrad", "dx", dx, dy.Len())
	length("GELUGrad", "x", x, dy.Len())
}

// Tanh checks the arguments of Tanher.Tanh.
func Tanh(y, x tensor.Buffer) { length("Tanh", "x", x, y.Len()) }

// TanhGrad checks the arguments of Tanher.TanhGrad.
func TanhGrad(dx, dy, y tensor.Buffer) {
	length("TanhGrad", "dx", dx, dy.Len())
	length("TanhGrad", "y", y, dy.Len())
}

// LogProb checks the arguments of Backend.LogProb.
func LogProb(logp, entropy, stats, logits tensor.Buffer, targets []int32, vocab int) {
	logProb("LogProb", "logp", logp, "entropy", entropy, stats, logits, targets, vocab)
}

// LogProbGrad checks the arguments of Backend.LogProbGrad.
func LogProbGrad(logits, dlogp, dentropy, stats tensor.Buffer, targets []int32, vocab int) {
	logProb("LogProbGrad", "dlogp", dlogp, "dentropy", dentropy, stats, logits, targets, vocab)
}

func logProb(op, logpArg string, logp tensor.Buffer, entropyArg string, entropy, stats, logits tensor.Buffer, targets []int32, vocab int) {
	atLeast(op, "vocab", vocab, 1)
	length(op, "logits", logits, len(targets)*vocab)
	length(op, logpArg, logp, len(targets))
	length(op, "stats", stats, 3*len(targets))
	if entropy != nil {
		length(op, entropyArg, entropy, len(targets))
	}
	indices(op, "targets", targets, vocab)
}

// AdamW checks the arguments of Backend.AdamW.
func AdamW(p, g, m, v tensor.Buffer, o *tensor.AdamW) {
	const op = "AdamW"
	length(op, "g", g, p.Len())
	length(op, "m", m, p.Len())
	length(op, "v", v, p.Len())
	atLeast(op, "Step", o.Step, 1)
}

// Norm checks the arguments of Updater.Norm.
func Norm(norm tensor.Buffer, xs []tensor.Buffer) {
	length("Norm", "norm", norm, 1)
	for i, x := range xs {
		if x == nil {
			panic(fmt.Sprintf("tensor: Norm: xs[%d] is nil", i))
		}
	}
}

// UpdateAll checks the arguments of Updater.UpdateAll.
func UpdateAll(tensors []tensor.AdamWTensor, o *tensor.AdamW, norm tensor.Buffer, maxNorm float64) {
	const op = "UpdateAll"
	length(op, "norm", norm, 1)
	atLeast(op, "Step", o.Step, 1)
	if !(maxNorm >= 0) {
		panic(fmt.Sprintf("tensor: %s: maxNorm is %g, want at least 0", op, maxNorm))
	}
	for _, t := range tensors {
		length(op, "G", t.G, t.P.Len())
		length(op, "M", t.M, t.P.Len())
		length(op, "V", t.V, t.P.Len())
	}
}

// Sample checks the arguments of Sampler.Sample.
func Sample(drawn, logits tensor.Buffer, vocab int, d *tensor.Draws) {
	const op = "Sample"
	atLeast(op, "vocab", vocab, 1)
	n, have := len(d.Rows), rows(op, "logits", logits, vocab)
	length(op, "drawn", drawn, 3*n)
	indices(op, "Rows", d.Rows, have)
	if len(d.Temperature) != n || len(d.TopK) != n || len(d.TopP) != n || len(d.Uniform) != n {
		panic(fmt.Sprintf("tensor: Sample: %d rows, but %d temperatures, %d top-k, %d top-p and %d random numbers",
			n, len(d.Temperature), len(d.TopK), len(d.TopP), len(d.Uniform)))
	}
	for i := range n {
		switch {
		case i > 0 && d.Rows[i] < d.Rows[i-1]:
			panic(fmt.Sprintf("tensor: Sample: Rows[%d] is %d after %d, want them to ascend", i, d.Rows[i], d.Rows[i-1]))
		case !(d.Temperature[i] >= 0 && d.Temperature[i] <= math.MaxFloat32), d.TopK[i] < 0, !(d.TopP[i] >= 0 && d.TopP[i] <= 1), !(d.Uniform[i] >= 0 && d.Uniform[i] < 1):
			panic(fmt.Sprintf("tensor: Sample: token %d has temperature %g, top-k %d, top-p %g and random number %g",
				i, d.Temperature[i], d.TopK[i], d.TopP[i], d.Uniform[i]))
		}
	}
}

// TopK checks the arguments of TopKer.TopK.
func TopK(ids, x tensor.Buffer, rows, cols, among, k int) {
	const op, most = "TopK", 1 << 24
	if k < 1 || k > among || among > cols || cols > most {
		panic(fmt.Sprintf("tensor: %s: k is %d, among %d and cols %d, want 1 ≤ k ≤ among ≤ cols ≤ %d", op, k, among, cols, most))
	}
	length(op, "x", x, rows*cols)
	length(op, "ids", ids, rows*k)
}
