package objective

import (
	"math"
	"sync"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
)

// ratios returns the importance ratios π/π_old of a sequence, of which policy
// losses are functions: exp of each log-ratio, which is held within ±clamp (0 =
// no clamp). slope is d(ratio)/d(logπ): the ratio again, or 0 where the clamp
// holds it. Those of tokens that are masked or do not count mean nothing. It checks
// all numbers that a policy loss reads, adds the metrics of the ratios to m, and
// returns a tally for the others.
func (s *Sequence) ratios(clamp float64, m Metrics) (ratio, slope []float64, y tally, err error) {
	if err := s.checkPolicy(0); err != nil {
		return nil, nil, y, err
	}
	size := len(s.LogP)
	ratio = borrow(size)
	weight, logp, old, adv := s.Weight[:size], s.LogP[:size], s.old()[:size], s.Adv[:size] // of one length: faster
	ratio = ratio[:size]
	for t, w := range weight {
		log := logp[t] - old[t]
		if !finite(log+adv[t]) && w != 0 && !s.masked(t) {
			return nil, nil, y, s.blame(t, InputOld)
		}
		ratio[t] = limited(log, clamp)
	}
	vecmath.Exp(ratio, ratio)
	slope = ratio
	y.lent[0] = ratio
	if clamp > 0 {
		slope = borrow(size)
		y.lent[1] = slope
	}
	keep := s.Keep
	var n, sum, kl float64
	for t, w := range weight {
		if w == 0 || keep != nil && !keep[t] {
			continue
		}
		if !finite(ratio[t]) {
			return nil, nil, y, s.blame(t, InputOld)
		}
		log := logp[t] - old[t]
		if math.Abs(log) <= clamp {
			slope[t] = ratio[t]
		}
		n++
		sum += ratio[t]
		kl += ratio[t] - 1 - limited(log, clamp)
	}
	if n > 0 {
		m.Add("ratio", sum, n)
		m.Add("old_kl", kl, n)
	}
	y.n = n
	return ratio, slope, y, nil
}

// bound is the limit of a policy loss that a token has met.
type bound uint8

const (
	inside bound = iota // none
	clipLow
	clipHigh
	clipDual
)

// tally counts a sequence's tokens by the bounds that they met.
type tally struct {
	n    float64 // tokens
	hits [clipDual + 1]int
	lent [2][]float64 // ratio and slope
}

// end writes the tally to m and gives back ratio and slope.
func (y *tally) end(m Metrics) {
	if y.n > 0 {
		m.Add("clip_low", float64(y.hits[clipLow]), y.n)
		m.Add("clip_high", float64(y.hits[clipHigh]), y.n)
		m.Add("clip_dual", float64(y.hits[clipDual]), y.n)
	}
	giveBack(y.lent[0])
	giveBack(y.lent[1])
}

// scratch keeps slices for the next sequence: new memory is in no cache, and
// costs a tenth of the time of a large batch.
var scratch sync.Pool

// borrow returns n zeros.
func borrow(n int) []float64 {
	x, _ := scratch.Get().(*[]float64)
	if x == nil || cap(*x) < n {
		return make([]float64, n)
	}
	clear((*x)[:n])
	return (*x)[:n]
}

// giveBack takes a slice that is no longer used.
func giveBack(x []float64) {
	if x != nil {
		scratch.Put(&x)
	}
}
