package parity

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/preset"
	"github.com/stepwise-rl/stepwise/rollout"
)

// groupResult is a line of output of Advantages.
type groupResult struct {
	ID string `json:"id"`
	// Scalar is the outcome advantage of each completion, before step credit.
	Scalar []float64 `json:"scalar"`
	// Advantages and Keep are per completion and token.
	Advantages [][]float64 `json:"advantages"`
	Keep       [][]bool    `json:"keep"`
	Stats      groupStats  `json:"stats"`
}

// Advantages reads groups from r, all of which are one batch, and writes a
// line to w for each, in order: rewards are normalised, then step credit is
// given, then the KL penalty is added. After an error, a *LineError if a line
// is at fault, nothing has been written.
//
// Settings are valid. Estimator, Weights, Credit and RewardKL matter;
// Aggregation decides only about the denominator that is reported.
func Advantages(r io.Reader, w io.Writer, p preset.Preset) error {
	groups, err := readGroups(r)
	if err != nil || len(groups) == 0 {
		return err
	}
	est, err := p.Weighted(groups[0].Rewards)
	if err != nil {
		return err
	}
	batch := make([]rollout.Group, len(groups))
	for i, g := range groups {
		batch[i] = g.Completions
	}
	kl, err := shape(groups, p.RewardKL)
	if err != nil {
		return err
	}
	if err := est.Estimate(batch); err != nil {
		return err
	}
	if err := checkFinite(groups); err != nil {
		return err
	}
	results := make([]groupResult, len(groups))
	for i, g := range groups {
		credit, err := p.Credit.Assign(batch[i : i+1])
		if err != nil {
			return &LineError{Line: g.Line, Err: err}
		}
		stats, err := newGroupStats(g.Completions, est.Dead(g.Completions) != "", credit, kl[i], p.Aggregation)
		if err != nil && !errors.Is(err, objective.ErrNoTokens) {
			return &LineError{Line: g.Line, Err: err}
		}
		results[i] = groupResult{ID: g.ID, Stats: stats}
	}
	if err := advantage.AddShaping(est, batch); err != nil {
		return err
	}
	if err := checkFinite(groups); err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	for i, g := range groups {
		results[i].take(g.Completions)
		if err := enc.Encode(&results[i]); err != nil {
			return err
		}
	}
	return out.Flush()
}

// shape fills the Shaping of every completion and returns the divergence that
// each group has paid for.
func shape(groups []*Group, penalty *objective.RewardKL) ([]objective.Sum, error) {
	kl := make([]objective.Sum, len(groups))
	if penalty == nil {
		return kl, nil
	}
	var dst, logp, ref [][]float64
	for gi, g := range groups {
		from := len(dst)
		for i := range g.Completions {
			n := len(g.Completions[i].Tokens)
			name := "logp"
			if g.LogP[i] != nil {
				name = "ref"
			}
			if n > 0 && (g.LogP[i] == nil || g.Ref[i] == nil) {
				return nil, lineErrorf(g.Line, completionField(i, name), "missing, but a KL penalty in the reward needs it")
			}
			s := make([]float64, n)
			g.Completions[i].Shaping = s
			dst, logp, ref = append(dst, s), append(logp, g.LogP[i]), append(ref, g.Ref[i])
		}
		own := *penalty // without Center, whose mean is that of all groups
		own.Center = false
		sum, err := own.Shape(dst[from:], logp[from:], ref[from:], nil)
		if err != nil {
			return nil, &LineError{Line: g.Line, Field: "completions", Err: err}
		}
		kl[gi] = sum
	}
	if !penalty.Center {
		return kl, nil
	}
	_, err := penalty.Shape(dst, logp, ref, nil)
	return kl, err
}

// checkFinite returns an error if an advantage is too large for a float64.
func checkFinite(groups []*Group) error {
	for _, g := range groups {
		for i := range g.Completions {
			c := &g.Completions[i]
			bad := !finite(c.Advantage)
			for _, a := range c.Adv {
				bad = bad || !finite(a)
			}
			if bad {
				return lineErrorf(g.Line, completionField(i, "reward"), "the advantage overflows: the rewards, or penalties, are too large")
			}
		}
	}
	return nil
}

// take sets what the completions hold.
func (r *groupResult) take(g rollout.Group) {
	r.Scalar = make([]float64, len(g))
	r.Advantages, r.Keep = make([][]float64, len(g)), make([][]bool, len(g))
	for i := range g {
		r.Scalar[i] = g[i].Advantage
		r.Advantages[i], r.Keep[i] = orEmpty(g[i].Adv), orEmpty(g[i].Keep)
	}
}

// completionField is the path of a field of completion i.
func completionField(i int, name string) string { return fmt.Sprintf("completions[%d].%s", i, name) }
