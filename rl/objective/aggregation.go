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
	// Weigh writes d(loss)/d(token loss) for every token of the step into
	// loss and, for regularising terms, kl; both have the shape of l.Live.
	// Tokens that do not count get 0. If none counts the error is
	// ErrNoLiveToken; if some count in kl alone there is no error and loss
	// is all zeros.
	Weigh(l Layout, loss, kl [][]float64) error
}

// weigh does what all aggregations share. In each of them the tokens of one
// sequence that count weigh the same, so all that sets them apart is rows,
// which writes the weight of a token of sequence i to w[i], given n[i], how
// many of its tokens count. At least one does.
func weigh(l Layout, m Masked, loss, kl [][]float64, rows func(n []int, w []float64)) error {
	if err := l.check(m, loss, kl); err != nil {
		return err
	}
	n, w := make([]int, len(l.Live)), make([]float64, len(l.Live))
	if m != LeaveLoss {
		if l.spread(m == Stay, n, w, rows, loss, kl) == 0 {
			return ErrNoLiveToken
		}
		return nil
	}
	inLoss := l.spread(false, n, w, rows, loss)
	if inLoss+l.spread(true, n, w, rows, kl) == 0 {
		return ErrNoLiveToken
	}
	return nil
}

// spread writes the weights of all tokens to every dst and returns how many
// tokens count: the live ones, or only those that are kept too. n and w are
// scratch.
func (l Layout) spread(all bool, n []int, w []float64, rows func([]int, []float64), dst ...[][]float64) (total int) {
	parallel(len(n), func(from, to int) {
		for i := from; i < to; i++ {
			n[i] = count(l.Live[i], l.kept(i, all))
		}
	})
	for _, k := range n {
		total += k
	}
	clear(w)
	if total > 0 {
		rows(n, w)
	}
	parallel(len(n), func(from, to int) {
		for i := from; i < to; i++ {
			for _, d := range dst {
				l.write(i, all, n[i], w[i], d[i])
			}
		}
	})
	return total
}

// write writes the weight w of each of the n tokens of sequence i that count,
// and 0 for the others.
func (l Layout) write(i int, all bool, n int, w float64, dst []float64) {
	live, keep := l.Live[i], l.kept(i, all)
	if n == len(live) {
		vecmath.Fill(dst, w)
		return
	}
	for t, x := range live {
		dst[t] = 0
		if x && (keep == nil || keep[t]) {
			dst[t] = w
		}
	}
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
func (l Layout) check(m Masked, loss, kl [][]float64) error {
	if int(m) >= len(maskedNames) {
		return fmt.Errorf("objective: %v is no choice for masked tokens, want Stay, Leave or LeaveLoss", m)
	}
	if len(loss) != len(l.Live) || len(kl) != len(l.Live) || l.Keep != nil && len(l.Keep) != len(l.Live) {
		return fmt.Errorf("objective: Weigh has %d, %d and %d rows for loss, kl and Keep, want %d as in Live", len(loss), len(kl), len(l.Keep), len(l.Live))
	}
	for i, live := range l.Live {
		if n := len(live); len(loss[i]) != n || len(kl[i]) != n || l.Keep != nil && l.Keep[i] != nil && len(l.Keep[i]) != n {
			return fmt.Errorf("objective: sequence %d: Weigh has slices for loss, kl and Keep that differ from Live in length, want %d", i, n)
		}
	}
	return nil
}
