package backendtest

import (
	"fmt"
	"testing"

	"github.com/stepwise-rl/stepwise/tensor"
)

// testPacked compares products by packed matrices with MatMul, bit for bit.
func testPacked(t *testing.T, open func() tensor.Backend) {
	if _, ok := open().(tensor.Packer); !ok {
		t.Skip("the backend is no tensor.Packer")
	}
	want, err := execute(open(), products(false))
	if err != nil {
		t.Fatal(err)
	}
	got, err := execute(open(), products(true))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range want {
		if j := firstDifference(r.values, got[i].values); j >= 0 {
			t.Errorf("%s: element %d is %v, MatMul says %v", r.name, j, got[i].values[j], r.values[j])
		}
	}
}

// products multiplies by matrices that are packed or not.
func products(packed bool) workload {
	return workload{name: "products", run: func(e *env) {
		for _, s := range [][3]int{{1, 1, 1}, {1, 45, 300}, {3, 64, 7}, {16, 130, 520}, {1, 300, 130}, {2, 200, 300}, {3, 260, 40}, {100, 33, 257}, {0, 3, 4}, {4, 0, 3}, {2, 5, 0}} {
			m, n, k := s[0], s[1], s[2]
			for _, op := range []tensor.Op{tensor.N, tensor.T} {
				for _, beta := range []float32{0, 0.5} {
					x, y, c := e.random(m*k), e.random(k*n), e.random(m*n)
					if beta == 0 {
						c = e.nan(m * n)
					}
					if packed {
						b := e.Backend.(tensor.Packer)
						p := e.nan(b.PackedLen(n, k))
						b.Pack(p, op, n, k, y)
						b.MatMulPacked(m, n, k, 1.5, x, p, beta, c)
					} else {
						e.MatMul(tensor.N, op, m, n, k, 1.5, x, y, beta, c)
					}
					e.keep(fmt.Sprintf("%d×%d×%d, opB %v, beta %v", m, n, k, op, beta), c)
				}
			}
		}
	}}
}
