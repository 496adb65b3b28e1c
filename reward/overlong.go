package reward

import (
	"context"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/prompt"
)

// Overlong says which completions are too long, and how much that costs.
type Overlong struct {
	// Max is the length, in tokens, at which the penalty is full: L_max.
	Max int
	// Buffer is the number of tokens before Max over which the penalty grows:
	// L_cache, or the overlong buffer. 0 makes the penalty a step: none up to
	// Max, full beyond.
	Buffer int
	// Factor is the full penalty; 0 means 1.
	Factor float64
	// Uncapped lets the penalty grow on beyond Max at the same rate, as in
	// verl and AReaL. By default it stays at Factor, as in the paper, TRL and
	// OpenRLHF. The two differ only where completions can be longer than Max.
	Uncapped bool
}

// SoftOverlong is the soft overlong punishment (DAPO, arXiv:2503.14476,
// equation 13). With L tokens it scores
//
//	−Factor · min(max(L − (Max − Buffer), 0) / Buffer, 1)
//
// or without the minimum if Uncapped: 0 or less, so that it belongs beside the
// task's reward as an outcome of its own whose weight is added, not into a
// Combine, which takes a mean. Asked for one step, it counts that step's
// tokens. A trace that was parsed without token offsets is unscorable: "no
// token offsets".
//
// It panics unless 0 <= Buffer <= Max, Max is positive, Factor is not negative
// and finite, and Buffer is positive if Uncapped.
func SoftOverlong[E any](o Overlong) Rule[E] {
	if o.Max < 1 || o.Buffer < 0 || o.Buffer > o.Max || !(o.Factor >= 0) || math.IsInf(o.Factor, 0) || o.Uncapped && o.Buffer == 0 {
		panic(fmt.Sprintf("reward: SoftOverlong of %+v", o))
	}
	if o.Factor == 0 {
		o.Factor = 1
	}
	return RuleFunc[E](func(_ context.Context, _ E, trace *prompt.Trace, step int) (Score, error) {
		n, s := tokens(trace, step)
		excess := n - (o.Max - o.Buffer)
		switch {
		case !s.Scorable():
			return s, nil
		case excess <= 0:
			return Score{Value: 0}, nil
		case excess >= o.Buffer && !o.Uncapped:
			return Score{Value: -o.Factor}, nil
		}
		return Score{Value: -o.Factor * float64(excess) / float64(o.Buffer)}, nil
	})
}
