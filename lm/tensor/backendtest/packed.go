package backendtest

import (
	"fmt"
	"math"
	"testing"

	"github.com/d4l3k/go-bfloat16"

	"github.com/stepwise-rl/stepwise/lm/internal/float16"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// testPacked compares products by packed matrices with MatMul by the rounded
// matrix, bit for bit.
func testPacked(t *testing.T, open func() tensor.Backend) {
	if _, ok := opened(t, open).(tensor.Packer); !ok {
		t.Skip("the backend is no tensor.Packer")
	}
	for _, f := range []tensor.Format{tensor.FormatFloat32, tensor.FormatBFloat16} {
		want, err := execute(open(), products(f, false))
		if err != nil {
			t.Fatal(err)
		}
		got, err := execute(open(), products(f, true))
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range want {
			if j := firstDifference(r.values, got[i].values); j >= 0 {
				t.Errorf("%s: element %d is %v, MatMul says %v", r.name, j, got[i].values[j], r.values[j])
			}
		}
	}
}

// products multiplies by matrices that are packed, or only rounded as if they
// were: one by one, then three at once.
func products(f tensor.Format, packed bool) workload {
	return workload{name: "products", run: func(e *env) {
		for _, s := range [][3]int{{1, 1, 1}, {1, 45, 300}, {3, 64, 7}, {16, 130, 520}, {1, 300, 130}, {2, 200, 300}, {3, 260, 40}, {100, 33, 257}, {0, 3, 4}, {4, 0, 3}, {2, 5, 0}} {
			m, n, k := s[0], s[1], s[2]
			for _, op := range []tensor.Op{tensor.OpN, tensor.OpT} {
				for _, beta := range []float32{0, 0.5} {
					x, values, c := e.random(m*k), e.normal(k*n, 1), e.random(m*n)
					if beta == 0 {
						c = e.nan(m * n)
					}
					copy(values, edges[:min(len(edges), len(values)/4)])
					if packed {
						b := e.Backend.(tensor.Packer)
						p := e.nan(b.PackedLen(f, n, k))
						b.Pack(f, p, op, n, k, e.buffer(values))
						b.MatMulPacked(f, m, k, 1.5, x, beta, tensor.Product{N: n, P: p, C: c})
					} else {
						round(f, values)
						e.MatMul(tensor.OpN, op, m, n, k, 1.5, x, e.buffer(values), beta, c)
					}
					e.keep(fmt.Sprintf("%d×%d×%d, format %d, opB %v, beta %v", m, n, k, f, op, beta), c)
				}
			}
		}
		const m, k = 5, 70
		x := e.random(m * k)
		var together []tensor.Product
		for _, n := range []int{130, 0, 33, 64} {
			values, c := e.normal(k*n, 1), e.random(m*n)
			if packed {
				b := e.Backend.(tensor.Packer)
				p := e.nan(b.PackedLen(f, n, k))
				b.Pack(f, p, tensor.OpN, n, k, e.buffer(values))
				together = append(together, tensor.Product{N: n, P: p, C: c})
			} else {
				round(f, values)
				e.MatMul(tensor.OpN, tensor.OpN, m, n, k, -1, x, e.buffer(values), 0.5, c)
				together = append(together, tensor.Product{C: c})
			}
		}
		if packed {
			e.Backend.(tensor.Packer).MatMulPacked(f, m, k, -1, x, 0.5, together...)
		}
		for _, p := range together {
			e.keep(fmt.Sprintf("%d of several, format %d", p.C.Len()/m, f), p.C)
		}
	}}
}

// edges are values whose rounding to bfloat16 is not like that of others: ties
// to both sides, the smallest number, and one that rounds to infinity.
var edges = []float32{
	math.Float32frombits(0x3f808000), math.Float32frombits(0x3f818000), math.Float32frombits(0x3f808001),
	math.SmallestNonzeroFloat32, math.Float32frombits(0x7f7fffff),
}

func round(f tensor.Format, x []float32) {
	if f == tensor.FormatBFloat16 {
		for i, v := range x {
			x[i] = bfloat16.ToFloat32(float16.ToBF16(v))
		}
	}
}
