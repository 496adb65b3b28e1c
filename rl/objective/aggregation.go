package objective

import (
	"errors"
	"fmt"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
)

// ErrNoLiveToken is what an Aggregation returns if no token of the step counts
// for anything, so that there is nothing to divide by.
var ErrNoLiveToken = errors.New("objective: no live token in the step")

// Layout is what an aggregation must know of one optimiser step: the masks of
// all its sequences, so that splitting the step into micro-batches cannot
// change the loss.
type Layout struct {
	// Live marks the tokens that are trained on at all, per sequence.
	Live [][]bool
	// Keep marks the tokens that step credit did not mask; a nil slice, or a
	// nil entry, means all.
	Keep [][]bool
	// Prompt is the index of each sequence's prompt (its group). Only
	// PromptMean reads it.
	Prompt []int
}

// Masked says what becomes of a live token that step credit masked. It never
// contributes to a policy loss; the choice is whether it is counted.
type Masked uint8

const (
	// Stay: a masked token counts in the denominator and in KL and entropy
	// terms, as in trainers that only zero its advantage (default). The more
	// is masked, the smaller the step of what is left.
	Stay Masked = iota
	// Leave: it leaves the denominator and every term.
	Leave
	// LeaveLoss: it leaves the loss and its denominator, but stays in KL and
	// entropy terms and theirs.
	LeaveLoss
)

var maskedNames = [...]string{"stay", "leave", "leave-loss"}

// String returns "stay", "leave" or "leave-loss".
func (m Masked) String() string {
	if int(m) < len(maskedNames) {
		return maskedNames[m]
	}
	return fmt.Sprintf("Masked(%d)", uint8(m))
}

// ParseMasked is the inverse of Masked.String.
func ParseMasked(name string) (Masked, error) {
	for i, n := range maskedNames {
		if n == name {
			return Masked(i), nil
		}
	}
	return 0, fmt.Errorf("objective: unknown choice for masked tokens %q, want stay, leave or leave-loss", name)
}

// Aggregation turns masks into the weight of each token's loss.
type Aggregation interface {
	// Weigh returns d(loss)/d(token loss) for every token of the step and,
	// for regularising terms, kl; both have the shape of l.Live, and 0 where
	// a token does not count. They are to be read only: rows may share
	// memory with each other. If no token counts all is 0, and the error
	// ErrNoLiveToken; if some count in kl alone there is no error.
	Weigh(l Layout) (loss, kl [][]float64, err error)
}

// weigh does what all aggregations share. In each of them the tokens of one
// sequence that count weigh the same, so all that sets them apart is rows,
// which writes the weight of a token of sequence i to w[i], given n[i], how
// many of its tokens count. At least one does.
func weigh(l Layout, m Masked, rows func(n []int, w []float64)) (loss, kl [][]float64, err error) {
	if err := l.check(m); err != nil {
		return nil, nil, err
	}
	loss, some := l.spread(m == Stay, rows)
	kl = loss
	if m == LeaveLoss {
		var more bool
		kl, more = l.spread(true, rows)
		some = some || more
	}
	if !some {
		err = ErrNoLiveToken
	}
	return loss, kl, err
}

// spread returns the weights of all tokens, and whether any counts: the live
// ones do, or only those that are kept too.
func (l Layout) spread(all bool, rows func([]int, []float64)) (weights [][]float64, some bool) {
	n, w := make([]int, len(l.Live)), make([]float64, len(l.Live))
	parallel(len(n), func(from, to int) {
		for i := from; i < to; i++ {
			n[i] = count(l.Live[i], l.kept(i, all))
		}
	})
	for _, k := range n {
		some = some || k > 0
	}
	if some {
		rows(n, w)
	}
	for i, k := range n {
		if k == 0 {
			w[i] = 0
		}
	}
	weights = l.uniform(n, w)
	parallel(len(n), func(from, to int) {
		for i := from; i < to; i++ {
			if weights[i] == nil {
				weights[i] = mixed(w[i], l.Live[i], l.kept(i, all))
			}
		}
	})
	return weights, some
}

// uniform returns the weights of the sequences in which all tokens count or
// none, and nil for the others. Those of the same weight share memory, which
// in most steps is that of one sequence: it stays in the nearest cache.
func (l Layout) uniform(n []int, w []float64) [][]float64 {
	longest := map[float64]int{}
	for i, live := range l.Live {
		if (n[i] == len(live) || n[i] == 0) && longest[w[i]] <= len(live) {
			longest[w[i]] = len(live)
		}
	}
	shared := make(map[float64][]float64, len(longest))
	for w, size := range longest {
		shared[w] = make([]float64, size)
		vecmath.Fill(shared[w], w)
	}
	weights := make([][]float64, len(l.Live))
	for i, live := range l.Live {
		if n[i] == len(live) || n[i] == 0 {
			weights[i] = shared[w[i]][:len(live)]
		}
	}
	return weights
}

// mixed returns weight w for the tokens of a sequence that count, and 0 for the
// others.
func mixed(w float64, live, keep []bool) []float64 {
	weights := make([]float64, len(live))
	for t, x := range live {
		if x && (keep == nil || keep[t]) {
			weights[t] = w
		}
	}
	return weights
}

// kept is Keep of sequence i, nil if all live tokens count.
func (l Layout) kept(i int, all bool) []bool {
	if all || l.Keep == nil {
		return nil
	}
	return l.Keep[i]
}

// count is the number of tokens that are live and kept.
func count(live, keep []bool) int {
	if keep == nil {
		return vecmath.Count(live)
	}
	return vecmath.CountBoth(live, keep)
}

// check returns an error unless all shapes are those of Live.
func (l Layout) check(m Masked) error {
	if int(m) >= len(maskedNames) {
		return fmt.Errorf("objective: %v is no choice for masked tokens, want Stay, Leave or LeaveLoss", m)
	}
	if l.Keep != nil && len(l.Keep) != len(l.Live) {
		return fmt.Errorf("objective: Layout.Keep has %d rows, want %d as in Live", len(l.Keep), len(l.Live))
	}
	for i, live := range l.Live {
		if l.Keep != nil && l.Keep[i] != nil && len(l.Keep[i]) != len(live) {
			return fmt.Errorf("objective: sequence %d: Layout.Keep has %d entries, want %d as in Live", i, len(l.Keep[i]), len(live))
		}
	}
	return nil
}
