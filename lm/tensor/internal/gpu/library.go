package gpu

import "fmt"

// multiply queues a product of packed matrices by the driver's library. It says
// whether there is one.
func (b *Backend) multiply(p *Product) bool {
	if b.lib == nil {
		return false
	}
	if !b.ready() || p.M == 0 || p.N == 0 || p.K == 0 {
		return true
	}
	if err := b.lib.Multiply(p); err != nil {
		b.fail(fmt.Errorf("MatMul: %w", err))
		return true
	}
	b.stats.Launches++
	b.stats.Kernels["library"]++
	return true
}
