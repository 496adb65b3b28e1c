package tensor

// GeGLUer is implemented by backends with a GeGLU of their own, the activation of
// ModernBERT's feed-forward layers. Call [GeGLU] and [GeGLUGrad], which need none.
type GeGLUer interface {
	// GeGLU computes y = gelu(gate)·up, elementwise, with the gelu of Backend.GELU
	// (Shazeer, arXiv:2002.05202). All three have the same length.
	GeGLU(y, gate, up Buffer)
	// GeGLUGrad computes dgate = dy·up·gelu′(gate) and dup = dy·gelu(gate). dgate may
	// be gate's buffer, and dup up's. All five have the same length.
	GeGLUGrad(dgate, dup, dy, gate, up Buffer)
}

// GeGLU is b's GeGLU ([GeGLUer]), or else GELU and a product on the host.
func GeGLU(b Backend, y, gate, up Buffer) {
	if g, ok := b.(GeGLUer); ok {
		g.GeGLU(y, gate, up)
		return
	}
	b.GELU(y, gate)
	b.Write(y, product(host(b, y.Len(), y), host(b, y.Len(), up)))
}

// GeGLUGrad is b's GeGLUGrad ([GeGLUer]), or else GELU, GELUGrad and products on the
// host.
func GeGLUGrad(b Backend, dgate, dup, dy, gate, up Buffer) {
	if g, ok := b.(GeGLUer); ok {
		g.GeGLUGrad(dgate, dup, dy, gate, up)
		return
	}
	n := dy.Len()
	t := b.Alloc(n)
	defer b.Free(t)
	b.GELU(t, gate)
	d, u, act := host(b, n, dy), host(b, n, up), host(b, n, t)
	b.Write(dup, product(act, d))
	b.Write(t, product(u, d))
	b.GELUGrad(dgate, t, gate)
}

// host reads n values. An error sticks: the next Read or Sync of the caller returns it.
func host(b Backend, n int, x Buffer) []float32 {
	v := make([]float32, n)
	_ = b.Read(v, x)
	return v
}

// product multiplies x by y, elementwise.
func product(x, y []float32) []float32 {
	for i, v := range y {
		x[i] *= v
	}
	return x
}
