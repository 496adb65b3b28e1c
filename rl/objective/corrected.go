package objective

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/settings"
)

// Level is the unit that shares one importance weight between the sampling engine
// and the trainer. With d = logπ_old - logπ_rollout of a token:
type Level uint8

const (
	// LevelToken: exp(d) of each token (default).
	LevelToken Level = iota
	// LevelSequence: exp(Σ d), the ratio of the whole completion's
	// probabilities, for all its tokens.
	LevelSequence
	// LevelGeometric: exp(mean d), for all its tokens.
	LevelGeometric
)

var levelNames = []string{LevelToken: "token", LevelSequence: "sequence", LevelGeometric: "geometric"}

// String returns "token", "sequence" or "geometric".
func (l Level) String() string { return settings.EnumString(levelNames, l) }

// MarshalText returns the same; an invalid value is an error.
func (l Level) MarshalText() ([]byte, error) { return settings.EnumText(levelNames, l) }

// UnmarshalText is the inverse of MarshalText.
func (l *Level) UnmarshalText(text []byte) error { return settings.ParseEnum(levelNames, text, l) }

// Outside is the treatment of an importance weight outside its bounds.
type Outside uint8

const (
	// OutsideTruncate moves it to the bound (TIS; Yao et al., "Your Efficient
	// RL Framework Secretly Brings You Off-Policy RL Training", 2025)
	// (default).
	OutsideTruncate Outside = iota
	// OutsideDrop makes it 0 (IcePop, arXiv:2510.18855; TRL's "mask" modes).
	OutsideDrop
	// OutsideGate makes it 0, and every weight inside the bounds 1: it selects
	// without reweighting.
	OutsideGate
)

var outsideNames = []string{OutsideTruncate: "truncate", OutsideDrop: "drop", OutsideGate: "gate"}

// String returns "truncate", "drop" or "gate".
func (o Outside) String() string { return settings.EnumString(outsideNames, o) }

// MarshalText returns the same; an invalid value is an error.
func (o Outside) MarshalText() ([]byte, error) { return settings.EnumText(outsideNames, o) }

// UnmarshalText is the inverse of MarshalText.
func (o *Outside) UnmarshalText(text []byte) error { return settings.ParseEnum(outsideNames, text, o) }

// Corrected reweights a policy loss for the mismatch between the engine that
// sampled and the trainer that computes log-probs, whether it comes from
// different arithmetic or from older weights:
//
//	L_t = w_t·L_t of the objective,  w from exp(logπ_old - logπ_rollout)
//
// The gradient treats w as a constant. Only Weight is scaled: KL and entropy
// terms are unchanged, so they may stand inside or outside. A token with w = 0 is
// out of the objective, and out of the sequence ratio of GSPO, but aggregations
// have counted it. A masked token is treated as in the wrapped objective; with
// MaskedStay it is part of the sequence's weight.
//
// Corrections nest: one that selects sequences around one that reweights
// tokens, for instance. Metrics are taken before w is bounded; those of nested
// corrections have the same names and are averaged together.
type Corrected struct {
	Objective Objective `json:"objective"`
	Level     Level     `json:"level"`
	Outside   Outside   `json:"outside"`
	// Min and Max bound the weight, 0 ≤ Min < Max. Max = +Inf is no bound.
	// verl truncates at 2, TRL drops sequences beyond 3, OpenRLHF has
	// [0.5, 5].
	Min float64 `json:"min"`
	Max float64 `json:"max"`
	// LogRatioClamp limits the logarithm of w to ±LogRatioClamp before exp (verl:
	// 20); 0 = none.
	LogRatioClamp float64 `json:"log_ratio_clamp"`
}

// Needs returns what the objective needs, InputOld and InputRollout.
func (c Corrected) Needs() Inputs { return c.Objective.Needs() | InputOld | InputRollout }

// Validate returns an error that names the first invalid setting. Wrapping
// FromRollout is an error, because its ratio already covers the mismatch.
func (c Corrected) Validate() error {
	switch {
	case !(c.Min >= 0) || !(c.Max > c.Min):
		return fmt.Errorf("objective: Corrected.Min and Max are %v and %v, want 0 ≤ Min < Max", c.Min, c.Max)
	case fromRollout(c.Objective):
		return errors.New("objective: Corrected.Objective contains FromRollout: the difference between rollout and old log-probs would be counted twice")
	}
	return cmp.Or(
		settings.CheckEnum("objective: Corrected.Level", levelNames, c.Level),
		settings.CheckEnum("objective: Corrected.Outside", outsideNames, c.Outside),
		checkNonNegative("Corrected.LogRatioClamp", c.LogRatioClamp),
		checkWrapped("Corrected", c.Objective),
	)
}

// fromRollout reports whether o is a FromRollout or contains one.
func fromRollout(o Objective) bool {
	_, is := o.(FromRollout)
	return is || slices.ContainsFunc(Parts(o), fromRollout)
}

// Eval implements Objective.
func (c Corrected) Eval(s *Sequence, m Metrics) (float64, error) {
	if err := s.check(InputRollout); err != nil {
		return 0, err
	}
	old := s.old()
	var n, sum, abs, squares float64
	for t, w := range s.Weight {
		if w == 0 {
			continue
		}
		d := old[t] - s.Rollout[t]
		if !finite(d) {
			return 0, s.blame(t, InputOld|InputRollout)
		}
		n++
		sum += d
		abs += math.Abs(d)
		squares += d * d
	}
	if n == 0 {
		return c.Objective.Eval(s, m)
	}
	m.Add("rollout_gap", abs, n)
	m.Add("rollout_kl", squares/2, n)

	u := *s
	u.Weight = make([]float64, len(s.Weight))
	var y correction
	var shared float64 // by all tokens of the sequence
	switch c.Level {
	case LevelSequence:
		shared = c.weight(sum, &y)
	case LevelGeometric:
		shared = c.weight(sum/n, &y)
	}
	for t, w := range s.Weight {
		switch {
		case w == 0:
		case c.Level == LevelToken:
			u.Weight[t] = w * c.weight(old[t]-s.Rollout[t], &y)
		default:
			u.Weight[t] = w * shared
		}
		if !finite(u.Weight[t]) {
			return 0, fmt.Errorf("objective: the importance weight at position %d overflows; bound it by Corrected.Max or find out why engine and trainer differ so much", t)
		}
	}
	y.flush(m)
	return c.Objective.Eval(&u, m)
}

// weight returns the importance weight exp(log), put within the bounds.
func (c Corrected) weight(log float64, y *correction) float64 {
	w := math.Exp(limited(log, c.LogRatioClamp))
	y.add(min(w, maxWeightMetric), w < c.Min, w > c.Max)
	inside := w >= c.Min && w <= c.Max
	switch {
	case c.Outside == OutsideTruncate:
		return min(max(w, c.Min), c.Max)
	case !inside:
		return 0
	case c.Outside == OutsideGate:
		return 1
	}
	return w
}

// maxWeightMetric is the most that a single weight, which may be infinite,
// adds to the metrics.
const maxWeightMetric = 1e6

// correction collects the metrics of importance weights.
type correction struct{ n, sum, squares, low, high float64 }

func (y *correction) add(w float64, low, high bool) {
	y.n++
	y.sum += w
	y.squares += w * w
	if low {
		y.low++
	}
	if high {
		y.high++
	}
}

func (y *correction) flush(m Metrics) {
	if y.n == 0 {
		return
	}
	m.Add("rollout_weight", y.sum, y.n)
	m.Add("rollout_weight_sq", y.squares, y.n)
	m.Add("rollout_low", y.low, y.n)
	m.Add("rollout_high", y.high, y.n)
}

// FromRollout evaluates an objective with the sampling engine's log-probs in
// place of Old, so that its ratio covers both the policy's change and the
// mismatch between engine and trainer. Tinker and prime-rl do the same, as do
// verl's bypass mode, and SkyRL's DPPO and CISPO with anchor "rollout". Corrected
// cannot wrap it, because the difference would be counted twice.
//
// A masked token is treated as in the wrapped objective.
type FromRollout struct {
	Objective Objective `json:"objective"`
}

// Needs returns InputRollout and what the objective needs except InputOld.
func (f FromRollout) Needs() Inputs { return f.Objective.Needs()&^InputOld | InputRollout }

// Validate returns an error if the objective is missing or invalid.
func (f FromRollout) Validate() error { return checkWrapped("FromRollout", f.Objective) }

// Eval implements Objective.
func (f FromRollout) Eval(s *Sequence, m Metrics) (float64, error) {
	if err := s.check(InputRollout); err != nil {
		return 0, err
	}
	u := *s
	u.Old = s.Rollout
	loss, err := f.Objective.Eval(&u, m)
	if err != nil {
		return 0, fmt.Errorf("%w (Old is Rollout here)", err)
	}
	return loss, nil
}
