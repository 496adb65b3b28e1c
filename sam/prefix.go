package sam

import (
	"math"

	"github.com/stepwise-rl/stepwise/rollout"
)

// Prefix is Mask with a memory: from the first wrong step on, every step counts
// as wrong. A bad outcome spares the steps before its first error and punishes
// all from there on; a good one reinforces only the steps before it:
//
//	Â_{i,t} = A_{i,t} · m(sign A_i, v_1 ∧ … ∧ v_k)   for t in step k
//
// (idea: VPPO, arXiv:2601.18984, which uses verdicts only to find the first
// error of wrong answers). It suits chains in which a step that follows from a
// wrong one is worth nothing even if its own verdict is right. What it
// optimises is what Mask does, with the verdict of the whole prefix in place of
// the step's own.
//
// First is meant in the order of the text. A missing step stands where it
// should have begun, before the step that does begin there.
type Prefix struct {
	// Mask holds the options; they mean what they mean there.
	Mask Mask
}

// Validate implements Credit.
func (r Prefix) Validate() error { return r.Mask.Validate() }

// Assign implements Credit.
func (r Prefix) Assign(batch []rollout.Group) (Stats, error) {
	return r.Mask.credit(batch, judgePrefix)
}

// judgePrefix makes every step from the first incorrect one on incorrect.
func judgePrefix(c completion, verdicts []rollout.Verdict) {
	first := math.MaxInt
	for k, v := range verdicts {
		if v.Wrong() {
			first = min(first, c.Steps[k].Start)
		}
	}
	for k := range verdicts {
		if c.Steps[k].Start >= first {
			verdicts[k] = rollout.VerdictIncorrect
		}
	}
}
