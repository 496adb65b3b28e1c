package bench

import (
	"time"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// rotation is how many bytes of right operands the calls of a rotated product
// go through: more than caches hold.
const rotation = 128 << 20

func (r *runner) gemm() error {
	products := []product{
		{"NN", 1024, 1024, 1024, false},
		{"NT", 1024, 1024, 1024, false},
		{"TN", 1024, 1024, 1024, false},
		{"NN", 512, 768, 768, false},
		{"NT", 512, 768, 768, false},
		// Layers of width 128 and 320 with 4,096 tokens.
		{"NT", 4096, 384, 128, false},
		{"TN", 384, 128, 4096, false},
		{"NT", 4096, 864, 320, false},
		// Decoding.
		{"NP", 1, 1024, 1024, true},
		{"NP", 4, 1024, 1024, true},
		{"NP", 16, 1024, 1024, true},
		{"NP", 64, 1024, 1024, true},
		{"NT", 16, 1024, 1024, true},
	}
	packer, packs := r.b.(tensor.Packer)
	if _, ok := r.b.(limited); !ok { // a device, which needs more to do
		products = []product{
			{"NN", 4096, 4096, 4096, false},
			{"NT", 4096, 4096, 4096, false},
			{"TN", 4096, 4096, 4096, false},
			{"NT", 8192, 8192, 8192, false},
			// The layers of a 1B model with 4,096 tokens.
			{"NT", 4096, 2048, 2048, false},
			{"NT", 4096, 8192, 2048, false},
			{"NT", 4096, 2048, 8192, false},
			{"TN", 8192, 2048, 4096, false},
			// Decoding.
			{"NP", 1, 4096, 4096, true},
			{"NP", 16, 4096, 4096, true},
			{"NP", 64, 4096, 4096, true},
		}
	}
	if r.quick {
		products = []product{{"NT", 64, 64, 64, false}, {"NP", 16, 64, 64, true}}
	}
	for _, p := range products {
		if p.op == "NP" && !packs {
			p.op = "NT"
		}
		operands := 1
		if p.rotated && !r.quick {
			operands = rotation / (4 * p.n * p.k)
		}
		res, err := r.multiply(p, operands, packer)
		if err != nil {
			return err
		}
		g := GEMM{Op: p.op, M: p.m, N: p.n, K: p.k, Rotated: p.rotated}
		g.GFLOPS = p.flops() / res.seconds / 1e9
		g.PeakFraction = share(g.GFLOPS, res.peak)
		if p.rotated {
			bytes := 4 * p.n * p.k
			if p.op == "NP" {
				bytes = 4 * packer.PackedLen(tensor.FormatFloat32, p.n, p.k)
			}
			g.MemoryFraction = share(float64(bytes)/res.seconds/1e9, res.memory)
		}
		r.report.GEMM = append(r.report.GEMM, g)
		r.measured("gemm %s %d×%d×%d: %.0f GFLOP/s", g.Op, g.M, g.N, g.K, g.GFLOPS)
	}
	return nil
}

// share is a speed as a share of a limit; 0 if that is not known.
func share(speed, limit float64) float64 {
	if limit == 0 {
		return 0
	}
	return speed / limit
}

// product is what is measured; its fields are GEMM's.
type product struct {
	op      string
	m, n, k int
	rotated bool
}

func (p *product) flops() float64 { return 2 * float64(p.m) * float64(p.n) * float64(p.k) }

// multiply measures one product, going through a number of right operands;
// the time is that of one product.
func (r *runner) multiply(p product, operands int, packer tensor.Packer) (best, error) {
	size := p.k * p.n
	if p.op == "NP" {
		size = packer.PackedLen(tensor.FormatFloat32, p.n, p.k)
	}
	x, y, z := r.b.Alloc(p.m*p.k), r.b.Alloc(operands*size), r.b.Alloc(p.m*p.n)
	defer r.b.Free(x)
	defer r.b.Free(y)
	defer r.b.Free(z)
	r.b.Fill(x, 0.5)
	r.b.Fill(y, 0.25)
	right := make([]tensor.Buffer, operands)
	for i := range right {
		right[i] = r.b.Slice(y, i*size, (i+1)*size)
	}
	// A round takes some milliseconds.
	calls, work := operands, 2e9
	if _, ok := r.b.(limited); !ok {
		work = 1e12
	}
	if operands == 1 && !r.quick {
		calls = max(1, int(work/p.flops()))
	}
	opA, opB := tensor.Op(p.op[0] == 'T'), tensor.Op(p.op[1] == 'T')
	res, err := r.rounds(20, time.Second/2, func() error {
		for i := range calls {
			if p.op == "NP" {
				packer.MatMulPacked(tensor.FormatFloat32, p.m, p.k, 1, x, 0, tensor.Product{N: p.n, P: right[i%operands], C: z})
			} else {
				r.b.MatMul(opA, opB, p.m, p.n, p.k, 1, x, right[i%operands], 0, z)
			}
		}
		return r.b.Sync()
	})
	if err != nil {
		return best{}, err
	}
	res[0].seconds /= float64(calls)
	return res[0], nil
}
