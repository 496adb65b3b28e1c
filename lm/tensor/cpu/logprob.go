package cpu

import (
	"math"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/shape"
)

// sumPart is the number of exponentials that are summed in float32 before their
// sum is added to a float64.
const sumPart = 1024

// softmaxStats returns the largest element of x, and Σ exp(z) and Σ z·exp(z)
// for z = invTemp·(x − top), invTemp > 0.
func (kern *kernels) softmaxStats(x []float32, invTemp float32) (top float32, sum, weighted float64) {
	top = kern.max(x)
	for len(x) > 0 {
		n := min(sumPart, len(x))
		s, w := kern.expSums(x[:n], invTemp, top)
		sum += float64(s)
		weighted += float64(w)
		x = x[n:]
	}
	return top, sum, weighted
}

// LogProb writes the log-probs of targets and, unless entropy is nil, the
// entropies. The entropy of a row is log Σe^z − Σp·z. invTemp must be positive.
func (b *Backend) LogProb(logp, entropy, stats, logits tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	shape.LogProb(logp, entropy, stats, logits, targets, vocab)
	lp, st, x := b.data(logp), b.data(stats), b.data(logits)
	var ent []float32
	if entropy != nil {
		ent = b.data(entropy)
	}
	b.sweep(len(targets), rowsPerTask(vocab), expCost*vocab, func(_ *scratch, from, to int) {
		for i := from; i < to; i++ {
			row := x[i*vocab : (i+1)*vocab]
			top, sum, weighted := b.kern.softmaxStats(row, invTemp)
			log := math.Log(sum)
			h := float32(log - weighted/sum)
			st[3*i], st[3*i+1], st[3*i+2] = top, float32(log), h
			lp[i] = float32(float64(invTemp)*(float64(row[targets[i]])-float64(top)) - log)
			if ent != nil {
				ent[i] = h
			}
		}
	})
}

// LogProbGrad overwrites logits with the gradient with respect to them. For
// z = invTemp·x, p = softmax(z) and entropy H,
//
//	∂logp/∂z_j = [j = target] − p_j
//	∂H/∂z_j    = −p_j·(log p_j + H)
func (b *Backend) LogProbGrad(logits, dlogp, dentropy, stats tensor.Buffer, targets []int32, vocab int, invTemp float32) {
	shape.LogProbGrad(logits, dlogp, dentropy, stats, targets, vocab)
	x, dlp, st := b.data(logits), b.data(dlogp), b.data(stats)
	var dent []float32
	if dentropy != nil {
		dent = b.data(dentropy)
	}
	b.sweep(len(targets), rowsPerTask(vocab), expCost*vocab, func(_ *scratch, from, to int) {
		for i := from; i < to; i++ {
			row := x[i*vocab : (i+1)*vocab]
			var dh float32
			if dent != nil {
				dh = dent[i]
			}
			if dlp[i] == 0 && dh == 0 {
				clear(row)
				continue
			}
			top, log, h := st[3*i], st[3*i+1], st[3*i+2]
			// −p_j·(dlogp + dh·(log p_j + H)) for every j, then the target's.
			b.kern.softmaxGrad(row, invTemp, top, log, dh*invTemp, (dlp[i]+dh*h)*invTemp)
			// Rounded as b was, or a fused multiply-add would leave a remainder of p = 1.
			row[targets[i]] += float32(dlp[i] * invTemp)
		}
	})
}
