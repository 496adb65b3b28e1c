package bench

import (
	"time"

	"github.com/stepwise-rl/stepwise/tensor"
)

// rotation is how many bytes of right operands the calls of a rotated product
// go through: more than caches hold.
const rotation = 128 << 20

func (r *runner) gemm() error {
	type product struct {
		opA, opB tensor.Op
		m, n, k  int
		rotated  bool
	}
	products := []product{
		{tensor.N, tensor.N, 1024, 1024, 1024, false},
		{tensor.N, tensor.T, 1024, 1024, 1024, false},
		{tensor.T, tensor.N, 1024, 1024, 1024, false},
		{tensor.N, tensor.N, 512, 768, 768, false},
		{tensor.N, tensor.T, 512, 768, 768, false},
		// Layers of width 128 and 320 with 4,096 tokens.
		{tensor.N, tensor.T, 4096, 384, 128, false},
		{tensor.T, tensor.N, 384, 128, 4096, false},
		{tensor.N, tensor.T, 4096, 864, 320, false},
		// Decoding.
		{tensor.N, tensor.T, 1, 1024, 1024, true},
		{tensor.N, tensor.T, 4, 1024, 1024, true},
		{tensor.N, tensor.T, 16, 1024, 1024, true},
		{tensor.N, tensor.N, 16, 1024, 1024, true},
		{tensor.N, tensor.T, 64, 1024, 1024, true},
	}
	if r.quick {
		products = []product{{tensor.N, tensor.T, 64, 64, 64, false}, {tensor.N, tensor.T, 16, 64, 64, true}}
	}
	for _, p := range products {
		operands := 1
		if p.rotated && !r.quick {
			operands = rotation / (4 * p.n * p.k)
		}
		res, err := r.multiply(p.opA, p.opB, p.m, p.n, p.k, operands)
		if err != nil {
			return err
		}
		g := GEMM{Op: opName(p.opA) + opName(p.opB), M: p.m, N: p.n, K: p.k, Rotated: p.rotated}
		g.GFLOPS = 2 * float64(p.m) * float64(p.n) * float64(p.k) / res.seconds / 1e9
		g.PeakFraction = g.GFLOPS / res.peak
		if p.rotated {
			g.MemoryFraction = float64(4*p.n*p.k) / res.seconds / 1e9 / res.memory
		}
		r.report.GEMM = append(r.report.GEMM, g)
	}
	return nil
}

func opName(op tensor.Op) string {
	if op == tensor.T {
		return "T"
	}
	return "N"
}

// multiply measures one product, going through a number of right operands;
// the time is that of one product.
func (r *runner) multiply(opA, opB tensor.Op, m, n, k, operands int) (best, error) {
	x, y, z := r.b.Alloc(m*k), r.b.Alloc(operands*k*n), r.b.Alloc(m*n)
	defer r.b.Free(x)
	defer r.b.Free(y)
	defer r.b.Free(z)
	r.b.Fill(x, 0.5)
	r.b.Fill(y, 0.25)
	right := make([]tensor.Buffer, operands)
	for i := range right {
		right[i] = r.b.Slice(y, i*k*n, (i+1)*k*n)
	}
	// A round takes some milliseconds.
	calls := operands
	if operands == 1 {
		calls = max(1, int(2e9/(2*float64(m)*float64(n)*float64(k))))
	}
	res, err := r.rounds(8, time.Second/2, func() error {
		for i := range calls {
			r.b.MatMul(opA, opB, m, n, k, 1, x, right[i%operands], 0, z)
		}
		return nil
	})
	if err != nil {
		return best{}, err
	}
	res[0].seconds /= float64(calls)
	return res[0], nil
}
