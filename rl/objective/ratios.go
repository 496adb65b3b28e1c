package objective

import "github.com/stepwise-rl/stepwise/internal/vecmath"

// ratios holds the importance ratios π/π_old of a sequence's tokens, of which
// policy losses are functions, and collects their metrics. A token of weight 0
// has a log-ratio of 0.
type ratios struct {
	weight []float64 // of each token in a policy loss, 0 = it does not count
	log    []float64 // logπ - logπ_old
	ratio  []float64 // exp(log), with log held within ±clamp
	clamp  float64   // 0 = none
	oldKL  float64
	tally
}

// ratios computes the ratios of s, and checks all that a policy loss reads.
func (s *Sequence) ratios(clamp float64) (r ratios, err error) {
	if err := s.checkPolicy(0); err != nil {
		return r, err
	}
	r.weight, r.clamp = s.kept(), clamp
	if r.log, err = s.difference(s.LogP, s.old(), r.weight, InputOld); err != nil {
		return r, err
	}
	r.ratio = exps(r.log, clamp)
	for t, w := range r.weight {
		if w == 0 {
			continue
		}
		ratio := r.ratio[t]
		if !finite(ratio) || !finite(s.Adv[t]) {
			return r, s.blame(t, InputOld)
		}
		r.n++
		r.sum += ratio
		r.oldKL += ratio - 1 - limited(r.log[t], clamp)
	}
	return r, nil
}

// exps returns exp of each number of x, held within ±limit.
func exps(x []float64, limit float64) []float64 {
	y := make([]float64, len(x))
	for t := range x {
		y[t] = limited(x[t], limit)
	}
	vecmath.Exp(y, y)
	return y
}

// slope is the derivative of token t's ratio with respect to logπ: the ratio
// itself, or 0 where the clamp holds it.
func (r *ratios) slope(t int) float64 {
	if limited(r.log[t], r.clamp) != r.log[t] {
		return 0
	}
	return r.ratio[t]
}

// flush writes the metrics to m.
func (r *ratios) flush(m Metrics) {
	if r.n > 0 {
		m.Add("old_kl", r.oldKL, r.n)
	}
	r.tally.flush(m)
}

// bound is the limit of a policy loss that a token has met.
type bound uint8

const (
	inside bound = iota // none
	clipLow
	clipHigh
	clipDual
)

// tally collects a sequence's metrics, so that the map is not touched for every
// token.
type tally struct {
	n, sum float64 // of ratios
	hits   [clipDual + 1]int
}

// flush writes the tally to m.
func (y *tally) flush(m Metrics) {
	if y.n == 0 {
		return
	}
	m.Add("ratio", y.sum, y.n)
	m.Add("clip_low", float64(y.hits[clipLow]), y.n)
	m.Add("clip_high", float64(y.hits[clipHigh]), y.n)
	m.Add("clip_dual", float64(y.hits[clipDual]), y.n)
}
