package objective

import (
	"cmp"
	"errors"
	"fmt"
)

// Terms is the sum of its objectives, for example a policy loss and
// regularisers:
//
//	objective.Terms{
//		objective.PPO{ClipLow: 0.2, ClipHigh: 0.28},
//		objective.KL{Estimator: objective.K3, Beta: 0.04},
//	}
//
// Each term treats masked tokens as its own documentation says.
type Terms []Objective

// Needs returns what any term needs.
func (o Terms) Needs() (in Inputs) {
	for _, t := range o {
		in |= t.Needs()
	}
	return in
}

// Validate returns the first term's error, or one if there is no term or one
// of them is nil.
func (o Terms) Validate() error {
	if len(o) == 0 {
		return errors.New("objective: Terms is empty, want at least one objective")
	}
	for i, t := range o {
		if t == nil {
			return fmt.Errorf("objective: term %d is nil, want an objective", i)
		}
		if err := t.Validate(); err != nil {
			return fmt.Errorf("term %d: %w", i, err)
		}
	}
	return nil
}

// Eval implements Objective.
func (o Terms) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	for _, t := range o {
		l, err := t.Eval(s, m)
		if err != nil {
			return 0, err
		}
		loss += l
	}
	return loss, nil
}

// Scaled multiplies the loss and gradient of an objective by a factor: the
// coefficient of a term in Terms. A masked token is treated as in the wrapped
// objective.
type Scaled struct {
	Objective Objective `json:"objective"`
	// Factor is finite; 0 switches the objective off.
	Factor float64 `json:"factor"`
}

// Needs returns what the objective needs.
func (f Scaled) Needs() Inputs { return f.Objective.Needs() }

// Validate returns an error that names the first invalid setting.
func (f Scaled) Validate() error {
	return cmp.Or(
		checkFinite("Scaled.Factor", f.Factor),
		checkWrapped("Scaled", f.Objective),
	)
}

// Eval implements Objective.
func (f Scaled) Eval(s *Sequence, m Metrics) (float64, error) {
	u := *s
	u.Weight, u.KLWeight = scaled(s.Weight, f.Factor), scaled(s.KLWeight, f.Factor)
	return f.Objective.Eval(&u, m)
}

func scaled(x []float64, f float64) []float64 {
	if x == nil {
		return nil
	}
	y := make([]float64, len(x))
	for i := range x {
		y[i] = f * x[i]
	}
	return y
}

// Distilled adds the advantage of on-policy distillation to a policy loss. With
// the gain d_t = logπ_teacher - logπ_old of each sampled token,
//
//	A_t := A_t + Coef·Σ_u≥t Discount^(u-t)·d_u
//
// A Discount of 0 gives a token its own gain alone (Lu, "On-Policy Distillation",
// Thinking Machines Lab, 2025; slime; prime-rl with logπ for logπ_old in the gain, as
// a constant, which differs once the policy has moved). The expected gradient of
// ImportanceSampling is then Coef·Σ_t ∇KL_t: that of the divergence of each next
// token, with the prefixes held fixed as they were sampled. A Discount of 1 gives a token
// the gains of all later ones, too (the reward-to-go of MiniLLM, Gu et al.,
// arXiv:2306.08543, without its length normalisation and whitening; its loss adds
// ReverseKL as another of Terms): the expected gradient is
// that of the divergence of whole sequences, Coef·∇KL(π‖teacher), and its variance
// grows with their length. Both are in expectation over samples of the policy
// itself, for the sum over tokens; no gradient flows through the sampling.
//
// The log-probs of the teacher are in Teacher. An absent Adv counts as 0, which
// leaves pure distillation. The wrapped objective is usually ImportanceSampling.
//
// A masked or excluded token is treated as in the wrapped objective: it contributes
// nothing to a policy loss, and its gain is in no sum, whatever the teacher's
// log-prob.
type Distilled struct {
	Objective Objective `json:"objective"`
	// Coef is the weight of the teacher's advantage, not negative.
	Coef float64 `json:"coef"`
	// Discount is between 0 and 1.
	Discount float64 `json:"discount"`
	// GainClamp limits each gain d to ±GainClamp (verl's loss_max_clamp: 10), because a
	// token that the teacher rules out has no bound on its own; 0 = none.
	GainClamp float64 `json:"gain_clamp"`
}

// Needs returns what the objective needs, InputOld and InputTeacher.
func (d Distilled) Needs() Inputs { return d.Objective.Needs() | InputOld | InputTeacher }

// Validate returns an error that names the first invalid setting.
func (d Distilled) Validate() error {
	if !(d.Discount >= 0 && d.Discount <= 1) {
		return fmt.Errorf("objective: Distilled.Discount is %v, want 0 to 1", d.Discount)
	}
	return cmp.Or(
		checkNonNegative("Distilled.Coef", d.Coef),
		checkNonNegative("Distilled.GainClamp", d.GainClamp),
		checkWrapped("Distilled", d.Objective),
	)
}

// Eval implements Objective.
func (d Distilled) Eval(s *Sequence, m Metrics) (float64, error) {
	u := *s
	if s.Adv == nil {
		u.Adv = make([]float64, len(s.LogP))
	}
	if err := u.checkPolicy(InputTeacher); err != nil {
		return 0, err
	}
	old, adv := s.old(), make([]float64, len(s.LogP))
	var sum, n, togo float64
	for t := len(adv) - 1; t >= 0; t-- {
		togo *= d.Discount
		if s.Weight[t] == 0 || s.masked(t) {
			continue
		}
		gain := s.Teacher[t] - old[t]
		if !finite(gain) {
			return 0, s.blame(t, InputOld|InputTeacher)
		}
		togo += limited(gain, d.GainClamp)
		adv[t] = u.Adv[t] + d.Coef*togo
		sum -= gain
		n++
	}
	if n > 0 {
		m.Add("teacher_kl", sum, n)
	}
	u.Adv = adv
	return d.Objective.Eval(&u, m)
}

// Parts returns the objectives that an objective of this package is made of: the summands
// of Terms and what a wrapper wraps; nil for all others.
func Parts(o Objective) []Objective {
	switch o := o.(type) {
	case Corrected:
		return []Objective{o.Objective}
	case Distilled:
		return []Objective{o.Objective}
	case FromRollout:
		return []Objective{o.Objective}
	case Gated:
		return []Objective{o.Objective}
	case Scaled:
		return []Objective{o.Objective}
	case Terms:
		return o
	}
	return nil
}
