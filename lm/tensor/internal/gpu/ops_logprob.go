package gpu

import (
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// LogProb writes the log-prob of each row's target, and the entropy.
func (b *Backend) LogProb(logp, entropy, stats, logits tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	shape.LogProb(logp, entropy, stats, logits, targets, vocab)
	a := b.call()
	a.buf(logp)
	a.opt(entropy, logp)
	a.buf(stats)
	a.buf(logits)
	a.tab(upload(b, tableTargets, targets))
	a.i32(vocab)
	a.f32(invTemp)
	a.flag(entropy != nil)
	b.launch("logprob", len(targets), 1, 128)
}

// LogProbGrad overwrites logits with the gradient with respect to them.
func (b *Backend) LogProbGrad(logits, dlogp, dentropy, stats tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	shape.LogProbGrad(logits, dlogp, dentropy, stats, targets, vocab)
	a := b.call()
	a.buf(logits)
	a.buf(dlogp)
	a.opt(dentropy, dlogp)
	a.buf(stats)
	a.tab(upload(b, tableTargets, targets))
	a.i32(vocab)
	a.f32(invTemp)
	a.flag(dentropy != nil)
	b.launch("logprob_grad", len(targets), 1, 128)
}
