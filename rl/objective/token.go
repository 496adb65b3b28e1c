package objective

import "math"

// bound says which limit of a policy loss a token has met.
type bound uint8

const (
	inside bound = iota
	clipLow
	clipHigh
	clipDual
	bounds // their number
)

var boundMetrics = [bounds]string{clipLow: "clip_low", clipHigh: "clip_high", clipDual: "clip_dual"}

// tokenLoss is a policy loss in which each token sees only itself, or itself
// and the ratio of its sequence. The loops of this file do the rest: masks,
// ratios, weights, checks and metrics.
type tokenLoss interface {
	// token returns the loss of a token with log-prob logp, log-ratio
	// lr = logp - old, ratio r = exp(lr) and advantage a; its derivative
	// byRatio with respect to r; its derivative byLogP with respect to logp
	// where r is held fixed; and the bound that the token met.
	token(logp, lr, r, a float64) (loss, byRatio, byLogP float64, b bound)
}

// tally collects a sequence's metrics without touching the map per token.
type tally struct {
	n, ratio float64
	hit      [bounds]float64
}

// add counts a token with ratio r that met bound b.
func (y *tally) add(r float64, b bound) {
	y.n++
	y.ratio += r
	y.hit[b]++
}

// flush writes the tally to m.
func (y *tally) flush(m Metrics) {
	if y.n == 0 {
		return
	}
	m.Add("ratio", y.ratio, y.n)
	for b, name := range boundMetrics {
		if name != "" {
			m.Add(name, y.hit[b], y.n)
		}
	}
}

// clamp limits x to ±limit (0 = no limit) and reports whether it had to, which
// cuts off the gradient.
func clamp(x, limit float64) (y float64, cut bool) {
	if limit > 0 && (x > limit || x < -limit) {
		return math.Copysign(limit, x), true
	}
	return x, false
}

// sumTokens evaluates a token-wise policy loss on the kept tokens of s.
func sumTokens[L tokenLoss](l L, logRatioClamp float64, s *Sequence, m Metrics) (loss float64, err error) {
	if err := s.checkPolicy(0); err != nil {
		return 0, err
	}
	old := s.old()
	var y tally
	var kl float64
	for t, w := range s.Weight {
		if w == 0 || !s.kept(t) {
			continue
		}
		logp, a := s.LogP[t], s.Adv[t]
		lr := logp - old[t]
		x, cut := clamp(lr, logRatioClamp)
		r := exp(x)
		if !finite(lr + r + a) {
			return 0, s.blame(t, Old)
		}
		v, byRatio, g, b := l.token(logp, lr, r, a)
		if !cut {
			g += byRatio * r
		}
		loss += w * v
		s.Grad[t] += w * g
		kl += r - 1 - x
		y.add(r, b)
	}
	if y.n > 0 {
		m.Add("old_kl", kl, y.n)
	}
	y.flush(m)
	return loss, nil
}
