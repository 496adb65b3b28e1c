package rl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Shortage is the fallback if dynamic sampling has not found enough live groups.
type Shortage uint8

const (
	// ShortageFill adds dropped groups, the first sampled first, so that every
	// collection has the same size. They count in the denominators as without
	// dynamic sampling, and step credit that works in dead groups (sam.Mask.Fill,
	// sam.StepGroup) learns from them.
	ShortageFill Shortage = iota
	// ShortageTrain trains on the live groups alone, even if there are none.
	ShortageTrain
	// ShortageRepeat repeats the live groups in turn (POLARIS; SkyRL's
	// "replace"). If there are none, there is nothing to train on.
	ShortageRepeat
	// ShortageFail returns ErrTooFewLive (verl, SkyRL's "filter").
	ShortageFail
)

var shortageNames = []string{ShortageFill: "fill", ShortageTrain: "train", ShortageRepeat: "repeat", ShortageFail: "fail"}

// String returns "fill", "train", "repeat" or "fail".
func (s Shortage) String() string { return settings.EnumString(shortageNames, s) }

// MarshalText returns the same; an invalid value is an error.
func (s Shortage) MarshalText() ([]byte, error) { return settings.EnumText(shortageNames, s) }

// UnmarshalText is the inverse of MarshalText.
func (s *Shortage) UnmarshalText(text []byte) error {
	return settings.ParseEnum(shortageNames, text, s)
}

// ErrTooFewLive is returned by CollectLive, wrapped with the counts, if
// OnShortage is ShortageFail and there were too few live groups.
var ErrTooFewLive = errors.New("rl: too few live groups")

// DynamicSampling replaces groups that would teach nothing (DAPO,
// arXiv:2503.14476, section 3.2): problems are drawn and sampled in rounds until
// a collection has enough live groups. The zero value is off.
//
// The trainer's other metrics then describe all groups that were sampled. It adds
//
//	dynamic/rounds            rounds of sampling
//	dynamic/sampled           groups sampled in them
//	dynamic/missing           live groups missing at the end
//	dynamic/dropped/<reason>  groups left out
type DynamicSampling struct {
	// Rounds is the largest number of rounds per collection; 0 turns dynamic
	// sampling off. With 1, dead groups are not replaced; OnShortage alone
	// decides what happens to them.
	Rounds int
	// Oversample is the number of problems that a round draws for each missing
	// live group; 0 means 1. More saves rounds. Live groups beyond those needed
	// are dropped as "surplus": kept for later, they would be off-policy.
	Oversample float64
	// Filter, if not nil, drops live groups too. Dead groups, as the estimator
	// defines them (advantage.Estimator.Dead), are always dropped.
	Filter GroupFilter
	// OnShortage is the fallback if the rounds or the problems run out.
	OnShortage Shortage
}

// Validate returns an error that names the first invalid setting.
func (d *DynamicSampling) Validate() error {
	switch {
	case d.Rounds < 0:
		return fmt.Errorf("rl: DynamicSampling.Rounds is %d, must not be negative", d.Rounds)
	case d.Oversample != 0 && !(d.Oversample >= 1 && d.Oversample <= math.MaxInt32):
		return fmt.Errorf("rl: DynamicSampling.Oversample is %v, want 0 or at least 1", d.Oversample)
	case d.Rounds == 0 && (d.Oversample != 0 || d.Filter != nil || d.OnShortage != 0):
		return errors.New("rl: DynamicSampling has settings, but Rounds is 0, which turns it off")
	case settings.CheckEnum("", shortageNames, d.OnShortage) != nil:
		return settings.CheckEnum("rl: DynamicSampling.OnShortage", shortageNames, d.OnShortage)
	case d.Filter != nil:
		if err := d.Filter.Validate(); err != nil {
			return fmt.Errorf("rl: DynamicSampling.Filter: %w", err)
		}
	}
	return nil
}

// draws is how many problems to draw for missing live groups.
func (d *DynamicSampling) draws(missing int) int {
	return int(math.Ceil(max(d.Oversample, 1) * float64(missing)))
}

// DynamicInfo is the outcome of dynamic sampling for a collection.
type DynamicInfo struct {
	// Rounds is the number of rounds taken.
	Rounds int
	// Dropped holds the groups that were left out, in the order in which their
	// problems were drawn, and Reasons the reason for each.
	Dropped *Rollouts
	Reasons []string
	// Missing is the number of live groups missing at the end.
	Missing int
	// Repeated is the number of groups, the collection's last, that repeat its
	// first ones.
	Repeated int
}

// metrics adds the metrics of a collection of kept groups.
func (d *DynamicInfo) metrics(m map[string]float64, kept int) {
	m["dynamic/rounds"] = float64(d.Rounds)
	m["dynamic/sampled"] = float64(kept - d.Repeated + len(d.Reasons))
	m["dynamic/missing"] = float64(d.Missing)
	for _, reason := range d.Reasons {
		m["dynamic/dropped/"+reason]++
	}
}

// Sampled returns all groups that were sampled for the collection: r without its
// repetitions, then what dynamic sampling dropped. Compute statistics of the
// policy from it: live groups alone are a selection.
func (r *Rollouts) Sampled() *Rollouts {
	if r.Dynamic == nil {
		return r
	}
	all := &Rollouts{}
	all.countLost(r)
	for g := range len(r.Groups) - r.Dynamic.Repeated {
		all.add(r, g)
	}
	for g := range r.Dynamic.Dropped.Groups {
		all.add(r.Dynamic.Dropped, g)
	}
	return all
}

// CollectLive is Collect with dynamic sampling: it draws problems from next,
// usually a Source's method, and samples them until want groups are live by est
// and pass d.Filter, or the rounds run out. Groups keep the order in which their
// problems were drawn; repetitions come last. Rollouts.Dynamic has the details.
// The random stream of a problem depends on how many were drawn before it, so one
// that is drawn twice gets other samples.
//
// It returns io.EOF, without sampling, if there are fewer than want problems.
// If the problems run out later, d.OnShortage applies.
func CollectLive(ctx context.Context, e rollout.Engine, next func(context.Context) (Problem, error), want int, est advantage.Estimator, d DynamicSampling, stream [2]uint64, opts ...CollectOption) (*Rollouts, error) {
	o, err := newCollectOptions(opts)
	if err := errors.Join(err, est.Validate(), d.Validate()); err != nil {
		return nil, err
	}
	if d.Rounds < 1 || want < 1 {
		return nil, fmt.Errorf("rl: CollectLive of %d groups in %d rounds, need at least 1 of each", want, d.Rounds)
	}
	first, err := draw(ctx, next, d.draws(want))
	if err != nil {
		return nil, err
	}
	if len(first) < want {
		return nil, io.EOF
	}
	return collectLive(ctx, e, first, next, want, est, nil, d, stream, o)
}

// collectLive is CollectLive after the problems of the first round were drawn.
// shape, if not nil, computes the shaping rewards of each round, for an estimator
// that includes them in its own.
func collectLive(ctx context.Context, e rollout.Engine, problems []Problem, next func(context.Context) (Problem, error), want int,
	est advantage.Estimator, shape func(*Rollouts) error, d DynamicSampling, stream [2]uint64, o collectOptions) (*Rollouts, error) {
	var (
		all     Rollouts
		reasons []string // for each group of all; "" = keep it
		live    int
		rounds  int
	)
	for len(problems) > 0 && live < want && rounds < d.Rounds {
		r, err := collect(ctx, e, problems, stream, len(all.Groups), o)
		if err != nil {
			return nil, err
		}
		rounds++
		if shape != nil {
			if err := shape(r); err != nil {
				return nil, err
			}
		}
		all.countLost(r)
		for g := range r.Groups {
			reason := est.Dead(r.Groups[g])
			if reason == "" && d.Filter != nil {
				reason = d.Filter.Drop(r.Groups[g])
			}
			switch {
			case reason == "" && live == want:
				reason = "surplus"
			case reason == "":
				live++
			}
			all.add(r, g)
			reasons = append(reasons, reason)
		}
		if live < want && rounds < d.Rounds {
			if problems, err = draw(ctx, next, d.draws(want-live)); err != nil {
				return nil, err
			}
		}
	}
	if live < want && d.OnShortage == ShortageFail {
		return nil, fmt.Errorf("%w: %d of %d after %d rounds with %d groups", ErrTooFewLive, live, want, rounds, len(reasons))
	}
	if d.OnShortage == ShortageFill {
		fill(reasons, all.Groups, want-live)
	}
	r := all.part(reasons)
	r.Dynamic.Rounds, r.Dynamic.Missing = rounds, want-live
	if d.OnShortage == ShortageRepeat && live > 0 {
		for g := range want - live {
			r.repeat(g % live)
		}
		r.Dynamic.Repeated = want - live
	}
	return r, nil
}

// fill clears the reasons of the first n groups that have completions and were to
// be dropped, so that they are kept.
func fill(reasons []string, groups []rollout.Group, n int) {
	for g := range groups {
		if n > 0 && reasons[g] != "" && len(groups[g]) > 0 {
			reasons[g] = ""
			n--
		}
	}
}

// part divides r into the groups without a reason and those to be dropped.
func (r *Rollouts) part(reasons []string) *Rollouts {
	d := &DynamicInfo{Dropped: &Rollouts{}}
	kept := &Rollouts{Dynamic: d}
	kept.countLost(r)
	for g, reason := range reasons {
		if reason == "" {
			kept.add(r, g)
			continue
		}
		d.Dropped.add(r, g)
		d.Reasons = append(d.Reasons, reason)
	}
	return kept
}

// add appends group g of o.
func (r *Rollouts) add(o *Rollouts, g int) {
	r.Problems = append(r.Problems, o.Problems[g])
	r.Requests = append(r.Requests, o.Requests[g])
	r.Groups = append(r.Groups, o.Groups[g])
}

// repeat appends a copy of group g, whose advantages are not the original's.
func (r *Rollouts) repeat(g int) {
	r.add(r, g)
	again := slices.Clone(r.Groups[g])
	for i := range again {
		again[i].Adv, again[i].Keep = nil, nil
	}
	r.Groups[len(r.Groups)-1] = again
}

// draw takes n problems from next, or as many as there are. An error that wraps io.EOF,
// of a file that ends too early, is an error.
func draw(ctx context.Context, next func(context.Context) (Problem, error), n int) ([]Problem, error) {
	problems := make([]Problem, 0, n)
	for len(problems) < n {
		p, err := next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		problems = append(problems, p)
	}
	return problems, nil
}
