package sam

import (
	"cmp"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/internal/vecmath"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Sign selects the outcomes whose steps Mask masks.
type Sign uint8

const (
	// SignBoth: wrong steps of good outcomes and right steps of bad ones.
	SignBoth Sign = iota
	// SignPositive: only wrong steps of good outcomes. A bad outcome punishes
	// all its steps.
	SignPositive
)

var signNames = []string{SignBoth: "both", SignPositive: "positive"}

// String returns "both" or "positive".
func (s Sign) String() string { return settings.EnumString(signNames, s) }

// MarshalText returns the same; an invalid value is an error.
func (s Sign) MarshalText() ([]byte, error) { return settings.EnumText(signNames, s) }

// UnmarshalText is the inverse of MarshalText.
func (s *Sign) UnmarshalText(text []byte) error { return settings.ParseEnum(signNames, text, s) }

// Broken is how Mask treats a step that the policy broke.
type Broken uint8

const (
	// BrokenIncorrect: it counts as incorrect. The other two are loopholes,
	// which training finds and widens.
	BrokenIncorrect Broken = iota
	// BrokenKeep: it keeps the outcome advantage, as an unknown step does.
	BrokenKeep
	// BrokenMask: it is masked, whatever the sign, Sign and the leaks.
	BrokenMask
)

var brokenNames = []string{BrokenIncorrect: "incorrect", BrokenKeep: "keep", BrokenMask: "mask"}

// String returns "incorrect", "keep" or "mask".
func (b Broken) String() string { return settings.EnumString(brokenNames, b) }

// MarshalText returns the same; an invalid value is an error.
func (b Broken) MarshalText() ([]byte, error) { return settings.EnumText(brokenNames, b) }

// UnmarshalText is the inverse of MarshalText.
func (b *Broken) UnmarshalText(text []byte) error { return settings.ParseEnum(brokenNames, text, b) }

// Mask is Stepwise Advantage Masking, as reconstructed here (idea:
// arXiv:2512.00968). With the outcome advantage A_i of completion i and the
// verdict v of the step to which token t belongs,
//
//	Â_{i,t} = A_{i,t} · m(sign A_i, v)
//
//	m(+, correct)   = 1     m(+, incorrect) = ℓ₊
//	m(−, incorrect) = 1     m(−, correct)   = ℓ₋
//	m(·, unknown)   = 1
//
// where both leaks ℓ are 0 by default: a good outcome reinforces only the
// steps that were right, a bad one punishes only those that were wrong. A
// completion with A_i = 0 is left alone and counts as kept.
//
// With 0/1 outcomes r and verdicts c, a baseline that leaves the completion
// itself out and a success rate p, the gradient through a step is exactly that
// of
//
//	E[a₊·(r∧c) + a₋·(r∨c)],  a₊ = 1−p, a₋ = p held fixed
//
// an AND on hard prompts and an OR on easy ones. It differs from the gradient of
// E[r] on purpose. With leaks the values of (r, c) are
//
//	(1,1): a₊ + a₋    (1,0): a₋ + ℓ₊·a₊    (0,1): a₋·(1−ℓ₋)    (0,0): 0
//
// Judge a step (Step.Verdict) by its own truth, not by the final answer, unless
// the step states nothing but the answer.
//
// With leaks ≥ 0 Mask never flips the sign of an advantage.
type Mask struct {
	// Sign selects the outcomes whose steps are masked.
	Sign Sign `json:"sign"`
	// LeakPositive (ℓ₊) is the factor of incorrect steps of good outcomes,
	// LeakNegative (ℓ₋) that of correct steps of bad ones. A leak of 0 clears
	// Keep, any other leaves it set; a negative one flips the sign.
	LeakPositive float64 `json:"leak_positive"`
	LeakNegative float64 `json:"leak_negative"`
	// Broken is how a step that the policy broke is treated.
	Broken Broken `json:"broken"`
	// MaskFinal also masks the final step. By default the step that states the
	// answer keeps the outcome advantage, which judges that answer: with graded
	// outcomes a near miss may have A > 0 and be "incorrect". A final step that
	// the policy broke is never exempt.
	MaskFinal bool `json:"mask_final"`
	// MaskOutside masks the tokens outside every step (text between steps, the
	// end of the text); by default they keep the outcome advantage. A completion
	// without steps then keeps only the token blamed for the missing ones.
	MaskOutside bool `json:"mask_outside"`
	// Rescale, if not 0, multiplies the remaining advantages so that each
	// completion keeps its total |advantage|, by at most this factor (at least
	// 1). A completion with nothing left stays so.
	Rescale float64 `json:"rescale"`
	// Fill, if not nil, gives completions in groups without outcome advantage the
	// credit of StepGroup, with this normaliser and a BrokenReward of 0.
	Fill advantage.Normalizer `json:"fill"`
}

// Validate implements Credit.
func (m Mask) Validate() error {
	if err := cmp.Or(settings.CheckEnum("sam: Mask.Sign", signNames, m.Sign), settings.CheckEnum("sam: Mask.Broken", brokenNames, m.Broken)); err != nil {
		return err
	}
	switch {
	case !finite(m.LeakPositive) || !finite(m.LeakNegative):
		return fmt.Errorf("sam: Mask.LeakPositive and LeakNegative are %v and %v, want finite numbers", m.LeakPositive, m.LeakNegative)
	case m.Rescale != 0 && !(m.Rescale >= 1 && finite(m.Rescale)):
		return fmt.Errorf("sam: Mask.Rescale is %v, want 0 or a bound of at least 1", m.Rescale)
	case m.Fill != nil:
		return m.Fill.Validate()
	}
	return nil
}

// Assign implements Credit.
func (m Mask) Assign(batch []rollout.Group) (Stats, error) {
	return m.credit(batch, judgeEach)
}

// judge rewrites the verdicts that stand in the steps of c.
type judge func(c completion, verdicts []rollout.Verdict)

// judgeEach takes each step's own verdict.
func judgeEach(completion, []rollout.Verdict) {}

func (m Mask) credit(batch []rollout.Group, j judge) (Stats, error) {
	w := masker{Mask: m, judge: j}
	var fill stepGroup
	return eachGroup(batch, func(g []completion) {
		if m.Fill != nil && len(g) > 0 && g[0].flat {
			fill.credit(g, m.Fill, 0)
			return
		}
		for _, c := range g {
			if c.Advantage != 0 {
				w.mask(c)
			}
		}
	})
}

// masker is Mask with its working memory.
type masker struct {
	Mask
	judge    judge
	verdicts []rollout.Verdict
	factors  []float64 // of the tokens outside, then of each step
	anchors  []anchor
}

// anchor is a token that answers for a missing step, as it was before.
type anchor struct {
	token  int
	adv    float64
	keep   bool
	factor float64
}

// mask rewrites one completion, whose advantage is not zero.
func (m *masker) mask(c completion) {
	m.weigh(c)
	before := 0.0
	if m.Rescale != 0 {
		before = vecmath.SumAbs(c.Adv)
	}
	for _, g := range c.segments {
		multiply(c, g.start, g.end, m.factors[g.step+1])
	}
	for _, a := range m.anchors {
		c.Adv[a.token], c.Keep[a.token] = a.adv, a.keep
		multiply(c, a.token, a.token+1, a.factor)
	}
	if m.Rescale != 0 {
		if after := vecmath.SumAbs(c.Adv); after > 0 {
			multiply(c, 0, c.n, min(before/after, m.Rescale))
		}
	}
}

// multiply weighs the tokens [start, end) with a factor; 0 masks them.
func multiply(c completion, start, end int, factor float64) {
	switch factor {
	case 1:
	case 0:
		clear(c.Adv[start:end])
		clear(c.Keep[start:end])
	default:
		for t := start; t < end; t++ {
			c.Adv[t] *= factor
		}
	}
}

// weigh fills verdicts, factors and anchors.
func (m *masker) weigh(c completion) {
	m.verdicts = m.verdicts[:0]
	for k := range c.Steps {
		v := c.Steps[k].Verdict
		if v == rollout.VerdictBroken && m.Broken != BrokenIncorrect {
			v = rollout.VerdictUnknown
		}
		m.verdicts = append(m.verdicts, v)
	}
	m.judge(c, m.verdicts)

	outside := 1.0
	if m.MaskOutside {
		outside = 0
	}
	m.factors = append(m.factors[:0], outside)
	for k, v := range m.verdicts {
		m.factors = append(m.factors, m.factor(c, k, v))
	}
	m.blame(c)
}

// factor is m(sign A, v) for step k, exemptions included.
func (m *masker) factor(c completion, k int, v rollout.Verdict) float64 {
	broken := c.Steps[k].Verdict == rollout.VerdictBroken
	switch {
	case broken && m.Broken == BrokenMask:
		return 0
	case m.exempt(c, k):
		return 1
	case v.Wrong() && c.Advantage > 0:
		return m.LeakPositive
	case v == rollout.VerdictCorrect && c.Advantage < 0 && m.Sign == SignBoth:
		return m.LeakNegative
	}
	return 1
}

// exempt reports whether step k is the final step and never masked.
func (m *masker) exempt(c completion, k int) bool {
	return c.Steps[k].Final && c.Steps[k].Verdict != rollout.VerdictBroken && !m.MaskFinal
}

// blame finds the anchors of the missing steps that are to blame: the tokens at
// which they should have begun. There, incorrect wins over the token's own step.
func (m *masker) blame(c completion) {
	m.anchors = m.anchors[:0]
	for k := range c.Steps {
		s := &c.Steps[k]
		blamed := m.verdicts[k].Wrong() && !(s.Verdict == rollout.VerdictBroken && m.Broken == BrokenMask)
		if c.Advantage > 0 && m.exempt(c, k) {
			blamed = false // else it would free a token that its own step masks
		}
		if t, ok := c.Blamed(s); ok && blamed {
			m.anchors = append(m.anchors, anchor{t, c.Adv[t], c.Keep[t], m.factors[k+1]})
		}
	}
}

// Prefix is Mask with a memory: from the first wrong step on, every step counts
// as wrong. A bad outcome spares the steps before its first error and punishes
// all from there on; a good one reinforces only the steps before it:
//
//	Â_{i,t} = A_{i,t} · m(sign A_i, v_1 ∧ … ∧ v_k)   for t in step k
//
// (idea: VPPO, arXiv:2601.18984, which uses verdicts only to find the first error
// of wrong answers). It suits chains in which a step that follows from a wrong
// one is worth nothing even if its own verdict is right. It optimises the same
// value as Mask, with the verdict of the whole prefix in place of the step's own.
//
// The first wrong step is the first in the text. A missing step counts as
// standing where it should have begun, before the step that does begin there.
type Prefix struct {
	// Mask holds the options, with their meaning there.
	Mask Mask `json:"mask"`
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
