package objective

import (
	"math"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
)

// ratios holds the importance ratios π/π_old of a sequence's kept tokens, of
// which policy losses are functions, and collects their metrics.
type ratios struct {
	logp, old []float64
	clamp     float64
	ratio     []float64 // exp of the log-ratio, which is held within ±clamp
	oldKL     float64
	tally
}

// ratios computes the ratios of s, and checks all that a policy loss reads.
// clamp 0 is none.
func (s *Sequence) ratios(clamp float64) (r ratios, err error) {
	if err := s.checkPolicy(0); err != nil {
		return r, err
	}
	n := len(s.LogP)
	ratio := make([]float64, n)
	weight, logp, old, adv := s.Weight[:n], s.LogP[:n], s.old()[:n], s.Adv[:n]
	for t, w := range weight {
		if w == 0 || s.masked(t) {
			continue
		}
		log := logp[t] - old[t]
		if !finite(log + adv[t]) {
			return r, s.blame(t, InputOld)
		}
		ratio[t] = limited(log, clamp)
	}
	vecmath.Exp(ratio, ratio)
	var count, sum, kl float64
	for t, w := range weight {
		if w == 0 || s.masked(t) {
			continue
		}
		count++
		sum += ratio[t]
		kl += ratio[t] - 1 - limited(logp[t]-old[t], clamp)
	}
	if !finite(sum) {
		return r, s.blame(0, InputOld)
	}
	return ratios{logp: logp, old: old, clamp: clamp, ratio: ratio, oldKL: kl, tally: tally{n: count, sum: sum}}, nil
}

// log is the log-ratio of token t.
func (r *ratios) log(t int) float64 { return r.logp[t] - r.old[t] }

// slope is the derivative of token t's ratio with respect to logπ: the ratio
// itself, or 0 where the clamp holds it.
func (r *ratios) slope(t int) float64 {
	if r.clamp > 0 && math.Abs(r.log(t)) > r.clamp {
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
