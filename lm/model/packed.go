package model

import "github.com/stepwise-rl/stepwise/lm/tensor"

// Pack lays out the weights of the decoder's matrix products once more, for
// passes with few rows such as decoding, if the backend can ([tensor.Packer]);
// else it does nothing. Nor does it in tensor.FormatFloat32 if the backend keeps
// rounded copies of weights itself ([tensor.WeightKeeper]) because its products
// round (tensor.PrecisionOf): a copy that is not rounded would only take more time.
//
// In tensor.FormatFloat32 results keep their bits, and the copy takes as much
// memory as the weights. In tensor.FormatBFloat16 results are those of rounded
// weights, and the copy takes half as much. The weights must not change until
// Unpack: while a decoder is packed, Forward, CopyFrom and Pack panic.
func (d *Decoder) Pack(f tensor.Format) { packAll(d.b, f, d.linears()) }

// Unpack undoes Pack, if there was one.
func (d *Decoder) Unpack() { unpackAll(d.b, d.linears()) }

// mustBeUnpacked panics if the decoder is packed: either all its layers are or
// none.
func (d *Decoder) mustBeUnpacked(what string) {
	if d.head.Out.packed != nil {
		panic("model: Decoder." + what + " of a decoder that is packed; Unpack it, or train another than the one that an engine holds (lm/local.EngineConfig.Static)")
	}
}

// linears returns the layers that multiply by weights.
func (d *Decoder) linears() []*linear { return append(d.trunk.linears(), d.head.Out) }

func (t *trunk) linears() []*linear { return linearsOf(t.Blocks) }

func (l *modernBERT) linears() []*linear { return linearsOf(l.Blocks) }

func linearsOf(blocks []*block) (all []*linear) {
	for _, b := range blocks {
		all = append(all, b.Attention.Q, b.Attention.K, b.Attention.V, b.Attention.O, b.MLP.Gate, b.MLP.Up, b.MLP.Down)
	}
	return all
}

func (l *bert) linears() []*linear {
	var all []*linear
	for _, b := range l.Blocks {
		all = append(all, b.Attention.Q, b.Attention.K, b.Attention.V, b.Attention.O, b.FFN.Up, b.FFN.Down)
	}
	return all
}

// Pack lays out the weights of the encoder's blocks once more, as [Decoder.Pack] does,
// for an encoder that serves and is not trained: short inputs are classified in half
// the time. The weights must not change until Free, and Forward panics.
func (e *Encoder) Pack(f tensor.Format) {
	packAll(e.b, f, e.body.linears())
	e.packed = true
}

func packAll(b tensor.Backend, f tensor.Format, all []*linear) {
	packer, ok := b.(tensor.Packer)
	_, keeps := b.(tensor.WeightKeeper)
	if !ok || f == tensor.FormatFloat32 && keeps && tensor.PrecisionOf(b) != tensor.PrecisionFloat32 {
		return
	}
	for _, l := range all {
		if l.packed != nil {
			panic("model: Pack of a model that is packed")
		}
		l.packed, l.format = b.Alloc(packer.PackedLen(f, l.out(), l.in())), f
		packer.Pack(f, l.packed, tensor.OpT, l.out(), l.in(), l.W.Value)
	}
}

func unpackAll(b tensor.Backend, all []*linear) {
	for _, l := range all {
		if l.packed != nil {
			b.Free(l.packed)
			l.packed = nil
		}
	}
}

// output is a layer and its result.
type output struct {
	*linear
	y tensor.Buffer
}

// forwardAll is linear.Forward for layers with the same input x [rows×in]. Their
// products are computed in one call if they are packed.
func forwardAll(p *pass, x tensor.Buffer, rows int, layers ...output) {
	first := layers[0].linear
	if first.packed == nil {
		for _, l := range layers {
			l.Forward(p, l.y, x, nil, rows)
		}
		return
	}
	p.products = p.products[:0]
	for _, l := range layers {
		p.products = append(p.products, tensor.Product{N: l.out(), P: l.packed, C: l.y})
	}
	p.Backend.(tensor.Packer).MatMulPacked(first.format, rows, first.in(), 1, x, 0, p.products...)
	for _, l := range layers {
		l.finishPacked(p, l.y, x, rows)
	}
}

// forwardPacked is Forward of a packed layer.
func (l *linear) forwardPacked(p *pass, y, x, add tensor.Buffer, rows int) {
	beta := float32(0)
	if add != nil {
		beta = 1
		if add != y {
			p.Backend.Copy(y, add)
		}
	}
	p.products = append(p.products[:0], tensor.Product{N: l.out(), P: l.packed, C: y})
	p.Backend.(tensor.Packer).MatMulPacked(l.format, rows, l.in(), 1, x, beta, p.products...)
	l.finishPacked(p, y, x, rows)
}

// finishPacked adds bias and the adapter's part to a product by a packed matrix.
func (l *linear) finishPacked(p *pass, y, x tensor.Buffer, rows int) {
	if l.Bias != nil {
		p.Backend.AddBias(y, l.Bias.Value, rows, l.out())
	}
	l.adapt(p, y, x, rows)
}
