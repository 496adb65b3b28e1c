package objective

import (
	"math"
	"sync"
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
	hits     [bounds - 1]int // of every bound but inside
}

// add counts a token with ratio r that met bound b.
func (y *tally) add(r float64, b bound) {
	y.n++
	y.ratio += r
	y.meet(b)
}

// meet counts a token that met bound b.
func (y *tally) meet(b bound) {
	if b != inside {
		y.hits[b-1]++
	}
}

// flush writes the tally to m.
func (y *tally) flush(m Metrics) {
	if y.n == 0 {
		return
	}
	m.Add("ratio", y.ratio, y.n)
	for i, n := range y.hits {
		m.Add(boundMetrics[i+1], float64(n), y.n)
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
// loss fills in loss, byRatio or byLogP and counts the bounds met, and the
// following next, after which there is none, takes that over:
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
	limit float64 // of log-ratios, +Inf = none

	from, n, live int // the block's first token, its tokens, and how many count
	*workspace

	sums  policySums
	tally tally
	err   error
}

// workspace is what is known about each token of a block. Workspaces are on the
// heap, to be used again: there they begin where a line of the cache does, and
// no vector lies across two, which would take twice as long.
type workspace struct {
	// w is the token's weight, 0 if it is dead or masked.
	w block
	// adv is its advantage, lr = logp − old its log-ratio, and r the ratio from
	// x, the log-ratio as far as it is allowed. Where w is 0 the advantage is
	// 0 and the ratio 1: what a loss makes of that is finite.
	adv, lr, x, r block
	// loss is to be set, and its derivatives: byRatio with respect to r, and
	// byLogP with respect to logp where r is held fixed. Of the two either is
	// set for every token, or never, and is 0 then.
	loss, byRatio, byLogP block
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// begin checks the sequence.
func (b *tokens) begin(s *Sequence, logRatioClamp float64) {
	b.s, b.old, b.limit = s, s.old(), noLimit(logRatioClamp)
	b.err = s.checkPolicy(0)
	b.workspace = workspaces.Get().(*workspace)
	clear(b.byRatio[:])
	clear(b.byLogP[:])
}

// noLimit makes +Inf of a limit of 0, which stands for none.
func noLimit(limit float64) float64 {
	if limit == 0 {
		return math.Inf(1)
	}
	return limit
}

// next goes to the next block with a token that counts and reports whether
// there is one.
func (b *tokens) next() bool {
	if b.live > 0 {
		b.take()
	}
	for b.live = 0; b.live == 0; {
		b.from += b.n
		b.n = min(blockSize, len(b.s.LogP)-b.from)
		if b.n == 0 || b.err != nil {
			return false
		}
		to := b.from + b.n
		b.live = keepWeights(&b.w, b.s.Weight[b.from:to], b.s.keep(b.from, to))
	}
	to := b.from + b.n
	b.pick(&b.adv, b.s.Adv)
	ratios(&b.lr, &b.x, &b.r, b.s.LogP[b.from:to], b.old[b.from:to], &b.w, b.limit)
	return true
}

// pick writes to dst what x, which has a number for every token of the sequence,
// says of the block's, and 0 for those that do not count.
func (b *tokens) pick(dst *block, x []float64) { pick(dst, x[b.from:b.from+b.n], &b.w) }

// counts reports whether token i of the block counts.
func (b *tokens) counts(i int) bool { return b.w[i] != 0 }

// take adds up the block at hand.
func (b *tokens) take() {
	grad := b.s.Grad[b.from : b.from+b.n]
	take(grad, &b.w, &b.adv, &b.lr, &b.x, &b.r, &b.loss, &b.byRatio, &b.byLogP, &b.sums)
	b.tally.n += float64(b.live)
	if b.sums.finite() {
		return
	}
	for i, a := range b.adv[:b.n] {
		if !finite(b.lr[i] + b.r[i] + a) {
			b.err = b.s.blame(b.from+i, Old)
			return
		}
	}
}

// end returns the sequence's loss, once next has returned false, and writes
// its metrics to m.
func (b *tokens) end(m Metrics) (loss float64, err error) {
	workspaces.Put(b.workspace)
	if b.err != nil {
		return 0, b.err
	}
	if b.tally.n > 0 {
		m.Add("old_kl", b.sums.kl.total(), b.tally.n)
	}
	b.tally.ratio = b.sums.ratio.total()
	b.tally.flush(m)
	return b.sums.loss.total(), nil
}
