package objective

import (
	"math"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
)

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

// blockSize is how many tokens are evaluated at a time: few enough for what is
// known about them to stay in the nearest cache.
const blockSize = 128

// tokens goes over a sequence for a policy loss in which each token sees only
// itself, block by block: next computes the ratios of the next tokens, the
// loss fills in loss, byRatio, byLogP and met for each of them, and the
// following next, after which there is none, takes that over where a token
// counts:
//
//	var b tokens
//	b.begin(s, clamp)
//	for b.next() {
//		for i, r := range b.r[:b.n] { … }
//	}
//	return b.end(m)
//
// It does all the rest: masks, ratios, weights, checks and metrics.
type tokens struct {
	s     *Sequence
	old   []float64
	limit float64 // of log-ratios, 0 = none
	from  int     // the first token of the block

	// Of each of the n tokens in the block: its log-prob and advantage,
	// log-ratio lr = logp − old, and ratio r from the log-ratio as far as it
	// is allowed. Tokens that are dead or masked have numbers too, of which
	// nothing is to be expected.
	n         int
	logp, adv []float64
	lr, r     [blockSize]float64
	// The token's loss, to be set; and, zero until set, its derivative byRatio
	// with respect to r, its derivative byLogP with respect to logp where r is
	// held fixed, and the bound that it met.
	loss, byRatio, byLogP [blockSize]float64
	met                   [blockSize]bound

	limited   [blockSize]float64 // lr as far as it is allowed, if there is a limit
	total, kl float64
	tally     tally
	err       error
}

// begin checks the sequence.
func (b *tokens) begin(s *Sequence, logRatioClamp float64) {
	b.s, b.old, b.limit = s, s.old(), logRatioClamp
	b.err = s.checkPolicy(0)
}

// next goes to the next block and reports whether there is one.
func (b *tokens) next() bool {
	if b.err != nil {
		return false
	}
	b.take()
	b.from += b.n
	b.n = min(blockSize, len(b.s.LogP)-b.from)
	if b.n == 0 || b.err != nil {
		return false
	}
	b.logp, b.adv = b.s.LogP[b.from:b.from+b.n], b.s.Adv[b.from:b.from+b.n]
	old := b.old[b.from : b.from+b.n]
	for i, logp := range b.logp {
		b.lr[i] = logp - old[i]
	}
	if b.limit > 0 {
		for i, lr := range b.lr[:b.n] {
			b.limited[i], _ = clamp(lr, b.limit)
		}
	}
	vecmath.Exp(b.r[:b.n], b.allowed()[:b.n])
	clear(b.byRatio[:])
	clear(b.byLogP[:])
	clear(b.met[:])
	return true
}

// allowed is the log-ratios that ratios are made of.
func (b *tokens) allowed() *[blockSize]float64 {
	if b.limit > 0 {
		return &b.limited
	}
	return &b.lr
}

// take adds up the block at hand.
func (b *tokens) take() {
	s, n, allowed := b.s, b.n, b.allowed()
	weight, grad := s.Weight[b.from:b.from+n], s.Grad[b.from:b.from+n]
	var keep []bool
	if s.Keep != nil {
		keep = s.Keep[b.from : b.from+n]
	}
	// What is summed up here lives in registers, not in b.
	loss, kl, ratio, count := b.total, b.kl, b.tally.ratio, b.tally.n
	for i, w := range weight {
		if w == 0 || keep != nil && !keep[i] {
			continue
		}
		lr, x, r := b.lr[i], allowed[i], b.r[i]
		if !finite(lr + r + b.adv[i]) {
			b.err = s.blame(b.from+i, Old)
			return
		}
		g := b.byLogP[i]
		if x == lr {
			g += b.byRatio[i] * r
		}
		loss += w * b.loss[i]
		grad[i] += w * g
		kl += r - 1 - x
		ratio += r
		count++
		if met := b.met[i]; met != inside {
			b.tally.hit[met]++
		}
	}
	b.total, b.kl, b.tally.ratio, b.tally.n = loss, kl, ratio, count
}

// end returns the sequence's loss, once next has returned false, and writes
// its metrics to m.
func (b *tokens) end(m Metrics) (loss float64, err error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.tally.n > 0 {
		m.Add("old_kl", b.kl, b.tally.n)
	}
	b.tally.flush(m)
	return b.total, nil
}
