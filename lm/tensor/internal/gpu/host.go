package gpu

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// host runs f on the host with copies of the allocations that bufs are of. It
// stands in for operations that have no kernel yet.
func (b *Backend) host(name string, f func(r *reference.Backend[float32], h []tensor.Buffer), bufs ...tensor.Buffer) {
	own := make([]*buffer, len(bufs))
	for i, x := range bufs {
		if x != nil {
			own[i] = b.own(x)
		}
	}
	if !b.ready() {
		return
	}
	b.stats.Kernels["host "+name]++
	r := reference.New()
	roots := map[*allocation]tensor.Buffer{}
	var order []*allocation
	h := make([]tensor.Buffer, len(bufs))
	for i, x := range own {
		if x == nil {
			continue
		}
		root, ok := roots[x.of]
		if !ok {
			v := make([]float32, x.of.n)
			if len(v) > 0 {
				if err := b.ring.read(bytesOf(v), x.of.m, 0); err != nil {
					b.fail(err)
					return
				}
			}
			root = r.Alloc(len(v))
			r.Write(root, v)
			roots[x.of] = root
			order = append(order, x.of)
		}
		h[i] = r.Slice(root, x.from, x.to)
	}
	f(r, h)
	for _, of := range order {
		v := make([]float32, of.n)
		r.Read(v, roots[of])
		if len(v) > 0 {
			b.fail(b.ring.write(of.m, 0, bytesOf(v)))
		}
	}
}
