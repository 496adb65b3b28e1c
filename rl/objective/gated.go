package objective

import "fmt"

// Gated takes the tokens of negative advantage out of an objective where the policy
// has moved too far away from the one that sampled the sequence (off-policy sequence
// masking, DeepSeek-V3.2, arXiv:2512.02556, equation 9; TRL's
// off_policy_mask_threshold). With the drift
//
//	d = mean over the tokens of logπ_rollout - logπ
//
// the weight of a token whose advantage is below 0 becomes 0 if d > MaxDrift, and all
// others keep theirs. So the policy learns from mistakes only while it might still make
// them, and from good completions however old they are. PPO's clipping looks at each
// token alone: in a sequence that the policy would not write any more, it still punishes
// the tokens that have become more likely, the harder the more so.
//
// The drift grows with staleness, with the updates on a collection, and with the
// mismatch between engine and trainer. With none of them (rl's defaults and a local
// engine) it is 0, and the gate never closes. Its mean over the engine's samples
// estimates KL(π_rollout‖π) per token, so MaxDrift is in nats per token: choose it by
// the metric drift, well above its mean.
//
// The sign is that of Adv as it reaches Gated, token by token: with step credit a
// sequence can lose its wrong steps and keep the right ones. The gradient treats the
// gate as a constant. Only Weight is changed, as by Corrected: KL and entropy terms
// stay, and so do the denominators. A masked token is treated as in the wrapped
// objective; with MaskedStay it is part of the mean.
type Gated struct {
	Objective Objective `json:"objective"`
	// MaxDrift is the bound of d, positive and finite. TRL suggests 0.5, which four
	// updates on a collection of a small model hardly reach.
	MaxDrift float64 `json:"max_drift"`
}

// Needs returns what the objective needs, and InputRollout.
func (g Gated) Needs() Inputs { return g.Objective.Needs() | InputRollout }

// Validate returns an error that names the first invalid setting.
func (g Gated) Validate() error {
	if !(g.MaxDrift > 0) || !finite(g.MaxDrift) {
		return fmt.Errorf("objective: Gated.MaxDrift is %v, want a positive number of nats per token, such as 0.5", g.MaxDrift)
	}
	return checkWrapped("Gated", g.Objective)
}

// Eval implements Objective.
func (g Gated) Eval(s *Sequence, m Metrics) (float64, error) {
	if err := s.checkPolicy(InputRollout); err != nil {
		return 0, err
	}
	var n, drift float64
	for t, w := range s.Weight {
		if w == 0 {
			continue
		}
		d := s.Rollout[t] - s.LogP[t]
		if !finite(d) {
			return 0, s.blame(t, InputRollout)
		}
		n++
		drift += d
	}
	if n == 0 {
		return g.Objective.Eval(s, m)
	}
	m.Add("drift", drift, n)
	gated, u := 0.0, *s
	if drift > g.MaxDrift*n {
		u.Weight = make([]float64, len(s.Weight))
		for t, w := range s.Weight {
			switch {
			case w == 0:
			case s.Adv[t] < 0 && !s.masked(t):
				gated++
			default:
				u.Weight[t] = w
			}
		}
	}
	m.Add("gated", gated, n)
	return g.Objective.Eval(&u, m)
}
