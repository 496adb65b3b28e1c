package gpu

import (
	"math"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// headThreads is the size of a block, which does one row of logits.
const headThreads = 256

// LogProb writes log-probs, entropies and statistics of rows of logits.
func (b *Backend) LogProb(logp, entropy, stats, logits tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	shape.LogProb(logp, entropy, stats, logits, targets, vocab)
	c := b.call()
	c.buf(logp)
	c.opt(entropy, logp)
	c.buf(stats)
	c.buf(logits)
	c.tab(upload(b, tableTargets, targets))
	c.i32(vocab)
	c.f32(invTemp)
	c.flag(entropy != nil)
	b.launch("log_prob", len(targets), 1, headThreads)
}

// LogProbGrad overwrites logits with the gradient with respect to them.
func (b *Backend) LogProbGrad(logits, dlogp, dentropy, stats tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	shape.LogProbGrad(logits, dlogp, dentropy, stats, targets, vocab)
	c := b.call()
	c.buf(logits)
	c.buf(dlogp)
	c.opt(dentropy, dlogp)
	c.buf(stats)
	c.tab(upload(b, tableTargets, targets))
	c.i32(vocab)
	c.f32(invTemp)
	c.flag(dentropy != nil)
	b.launch("log_prob_grad", len(targets), 1, headThreads)
}

// Sample draws a token from a row of logits for each of d.
func (b *Backend) Sample(drawn, logits tensor.Buffer, vocab int, d *tensor.Draws) {
	shape.Sample(drawn, logits, vocab, d)
	bits := func(v float32) int32 { return int32(math.Float32bits(v)) }
	b.ints = b.ints[:0]
	for i, row := range d.Rows {
		scale := float32(0) // the most likely token
		if t := d.Temperature[i]; t > 0 {
			scale = float32(min(1/float64(t), math.MaxFloat32))
		}
		b.ints = append(b.ints, row, bits(scale), d.TopK[i], bits(d.TopP[i]), bits(d.Uniform[i]))
	}
	c := b.call()
	c.buf(drawn)
	c.buf(logits)
	c.tab(upload(b, tableDraws, b.ints))
	c.i32(vocab)
	b.launch("sample", len(d.Rows), 1, headThreads)
}

// TopK writes the indices of the k largest of the first among elements of each row of
// x into ids.
func (b *Backend) TopK(ids, x tensor.Buffer, rows, cols, among, k int) {
	shape.TopK(ids, x, rows, cols, among, k)
	c := b.call()
	c.buf(ids)
	c.buf(x)
	c.i32(cols)
	c.i32(among)
	c.i32(k)
	b.launch("top_k", rows, 1, headThreads)
}
