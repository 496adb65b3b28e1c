package parity

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"math"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/sam"
)

// AdvantageConfig says how Advantages computes.
type AdvantageConfig struct {
	// Estimator makes the estimator, given the names of the rewards in the
	// order in which completions hold them.
	Estimator func(rewards []string) (advantage.Estimator, error)
	Credit    sam.Rule
	// RewardKL, if not nil, pays a KL penalty in the reward: every completion
	// needs logp and ref.
	RewardKL *objective.RewardKL
	// Masked is Stay or Leave. It decides nothing but the denominator that is
	// reported.
	Masked objective.Masked
}

// GroupResult is a line of output of Advantages.
type GroupResult struct {
	ID string `json:"id"`
	// Scalar is the outcome advantage of each completion, before step credit.
	Scalar []float64 `json:"scalar"`
	// Advantages and Keep are per completion and token.
	Advantages [][]float64 `json:"advantages"`
	Keep       [][]bool    `json:"keep"`
	Stats      GroupStats  `json:"stats"`
}

// Advantages reads groups from r, all of which are one batch, and writes a
// line to w for each, in order: rewards are normalised, then step credit is
// given, then the KL penalty is added. After an error, a *LineError if a line
// is at fault, nothing has been written.
func Advantages(r io.Reader, w io.Writer, c AdvantageConfig) error {
	groups, err := readGroups(r)
	if err != nil || len(groups) == 0 {
		return err
	}
	est, err := c.Estimator(groups[0].Rewards)
	if err != nil {
		return err
	}
	batch := make([]rollout.Group, len(groups))
	for i, g := range groups {
		batch[i] = g.Completions
	}
	kl, err := c.shape(groups)
	if err != nil {
		return err
	}
	if err := est.Estimate(batch); err != nil {
		return err
	}
	if err := checkFinite(groups); err != nil {
		return err
	}
	results := make([]GroupResult, len(groups))
	for i, g := range groups {
		stats, err := c.Credit.Credit(batch[i : i+1])
		if err != nil {
			return &LineError{Line: g.Line, Err: err}
		}
		results[i] = GroupResult{ID: g.ID, Stats: newGroupStats(g.Completions, stats, kl[i], c.Masked)}
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

// readGroups reads all lines and makes them agree on the names of rewards.
func readGroups(r io.Reader) ([]*Group, error) {
	var groups []*Group
	var names []string
	in := newLines(r)
	for {
		line, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		g, err := ReadGroup(line, in.number)
		if err != nil {
			return nil, err
		}
		if names == nil {
			names = g.Rewards
		} else if g.Rewards != nil {
			if err := sameNames(g.Rewards, names); err != nil {
				return nil, &LineError{Line: g.Line, Field: "completions", Err: err}
			}
		}
		groups = append(groups, g)
	}
	if names == nil {
		names = []string{plainReward}
	}
	for _, g := range groups {
		g.Rewards = names
		for i := range g.Completions {
			for c := &g.Completions[i]; len(c.Rewards) < len(names); {
				c.Rewards = append(c.Rewards, math.NaN())
			}
		}
	}
	return groups, nil
}

// shape fills the Shaping of every completion and returns the divergence that
// each group has paid for.
func (c AdvantageConfig) shape(groups []*Group) ([]objective.Sum, error) {
	kl := make([]objective.Sum, len(groups))
	if c.RewardKL == nil {
		return kl, nil
	}
	var dst, logp, ref [][]float64
	for gi, g := range groups {
		from := len(dst)
		for i := range g.Completions {
			for _, f := range []struct {
				name string
				row  []float64
			}{{"logp", g.LogP[i]}, {"ref", g.Ref[i]}} {
				if f.row == nil && g.Completions[i].Tokens > 0 {
					return nil, lineErrorf(g.Line, completionField(i, f.name), "missing, but a KL penalty in the reward needs it")
				}
			}
			s := make([]float64, g.Completions[i].Tokens)
			g.Completions[i].Shaping = s
			dst, logp, ref = append(dst, s), append(logp, g.LogP[i]), append(ref, g.Ref[i])
		}
		measure := *c.RewardKL
		measure.Center = false
		sum, err := measure.Shape(dst[from:], logp[from:], ref[from:], nil)
		if err != nil {
			return nil, &LineError{Line: g.Line, Field: "completions", Err: err}
		}
		kl[gi] = sum
	}
	if !c.RewardKL.Center {
		return kl, nil
	}
	_, err := c.RewardKL.Shape(dst, logp, ref, nil) // the mean is that of all groups
	return kl, err
}

// checkFinite returns an error if an advantage is too large for a float64.
func checkFinite(groups []*Group) error {
	for _, g := range groups {
		for i := range g.Completions {
			c := &g.Completions[i]
			bad := !finite(c.Scalar)
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
func (r *GroupResult) take(g rollout.Group) {
	r.Scalar = make([]float64, len(g))
	r.Advantages, r.Keep = make([][]float64, len(g)), make([][]bool, len(g))
	for i := range g {
		r.Scalar[i] = g[i].Scalar
		r.Advantages[i], r.Keep[i] = orEmpty(g[i].Adv), orEmpty(g[i].Keep)
	}
}
