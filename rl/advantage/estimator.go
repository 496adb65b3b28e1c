package advantage

import (
	"cmp"
	"math"
	"strconv"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Estimator turns rewards into advantages.
type Estimator interface {
	// Validate returns an error that names the first invalid setting.
	Validate() error
	// Estimate writes Unscorable, Advantage, Adv and Keep of every completion. It
	// sees the whole batch, because statistics over the batch need more than a
	// group. An error names group and completion.
	Estimate(batch []rollout.Group) error
	// Dead returns the reason why the rewards of g would give none of its
	// completions an advantage; "" if g is live. Reasons are few and short,
	// because they become names of metrics: "unscorable" (no usable reward),
	// "single" (nothing to compare with), "constant_1" (the common reward,
	// rounded to tenths; see SameReward), "no_difference". Estimate gives a dead
	// group exact zeros, and at least one completion of a live group another value
	// (except for the estimators that also shift or scale by the batch).
	Dead(g rollout.Group) (reason string)
}

// Weighter is an Estimator that weighs several rewards.
type Weighter interface {
	Estimator
	// WithWeights returns the estimator with one factor per reward, in the
	// order of rollout.Completion.Rewards.
	WithWeights(weights []float64) Estimator
}

// Normalizer turns the rewards of one group into advantages. Group-relative
// estimators and step credit both use it.
type Normalizer interface {
	// Validate returns an error that names the first invalid setting.
	Validate() error
	// Normalize writes len(rewards) advantages into dst, which may be
	// rewards itself. NaN rewards stay out of all statistics and get 0. A
	// group whose rewards are constant up to rounding gets exact zeros.
	Normalize(dst, rewards []float64)
}

// Broadcast sets Advantage and the advantage of every token to a, and keeps every
// token. Estimators write their results with it. It allocates Adv and Keep if
// they do not fit.
func Broadcast(c *rollout.Completion, a float64) {
	allocate(c)
	c.Advantage = a
	vecmath.Fill(c.Adv, a)
}

// allocate makes Adv and Keep one entry per token, and keeps every token.
func allocate(c *rollout.Completion) {
	n := len(c.Tokens)
	if len(c.Adv) != n {
		c.Adv = make([]float64, n)
	}
	if len(c.Keep) != n {
		c.Keep = make([]bool, n)
	}
	vecmath.Fill(c.Keep, true)
}

// dead is Estimator.Dead for an estimator that turns combined rewards into
// advantages in place.
func dead(m Combine, g rollout.Group, normalize func(rewards []float64)) string {
	rewards, err := m.Rewards(g)
	if err != nil {
		return "" // Estimate reports it
	}
	if normalize(rewards); !allZero(rewards) {
		return ""
	}
	m.LengthPenalty = 0
	rewards, _ = m.Rewards(g)
	return cmp.Or(SameReward(rewards), "no_difference")
}

// SameReward returns the reason why there is nothing to compare in the rewards of
// a group, where NaN is unusable: "unscorable" if none is usable, "single" if one
// is, and "constant_0", "constant_1", … if all are equal up to DefaultTolerance,
// with the smallest of them rounded to tenths, or "constant_above_10" and
// "constant_below_-10"; "" if they differ.
func SameReward(rewards []float64) string {
	m := momentsOf(rewards)
	switch {
	case m.n == 0:
		return "unscorable"
	case m.n == 1:
		return "single"
	case !m.constant(0):
		return ""
	}
	switch r := math.Round(m.min*10)/10 + 0; { // never -0
	case r > 10: // rewards without a scale would make ever more reasons
		return "constant_above_10"
	case r < -10:
		return "constant_below_-10"
	default:
		return "constant_" + strconv.FormatFloat(r, 'f', -1, 64)
	}
}

// deadIfUnscorable is Estimator.Dead for an estimator that compares the batch.
func deadIfUnscorable(m Combine, g rollout.Group) string {
	if rewards, err := m.Rewards(g); err == nil && momentsOf(rewards).n == 0 {
		return "unscorable"
	}
	return ""
}
