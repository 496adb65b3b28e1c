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

// Distilled adds the advantage of on-policy distillation to a policy loss (Lu,
// "On-Policy Distillation", Thinking Machines Lab, 2025; Agarwal et al.,
// arXiv:2306.13649): each sampled token gets the difference between its log-probs
// under the teacher and under the policy that sampled it,
//
//	A_t := A_t + Coef·(logπ_teacher - logπ_old)
//
// so that the expected gradient is that of the reverse KL, -Coef·∇KL(π‖teacher).
// The teacher's log-probs are in Ref. An absent Adv counts as 0, which leaves
// pure distillation. The wrapped objective is usually ImportanceSampling.
//
// A masked token is treated as in the wrapped objective: it contributes nothing
// to a policy loss, whatever the teacher's log-prob.
type Distilled struct {
	Objective Objective `json:"objective"`
	// Coef is the weight of the teacher's advantage, not negative.
	Coef float64 `json:"coef"`
}

// Needs returns what the objective needs, InputOld and InputRef.
func (d Distilled) Needs() Inputs { return d.Objective.Needs() | InputOld | InputRef }

// Validate returns an error that names the first invalid setting.
func (d Distilled) Validate() error {
	return cmp.Or(
		checkNonNegative("Distilled.Coef", d.Coef),
		checkWrapped("Distilled", d.Objective),
	)
}

// Eval implements Objective.
func (d Distilled) Eval(s *Sequence, m Metrics) (float64, error) {
	u := *s
	if s.Adv == nil {
		u.Adv = make([]float64, len(s.LogP))
	}
	if err := u.checkPolicy(InputRef); err != nil {
		return 0, err
	}
	old, adv := s.old(), make([]float64, len(s.LogP))
	var sum, n float64
	for t, w := range s.Weight {
		if w == 0 || s.masked(t) {
			continue
		}
		gain := s.Ref[t] - old[t]
		if !finite(gain) {
			return 0, s.blame(t, InputOld|InputRef)
		}
		adv[t] = u.Adv[t] + d.Coef*gain
		sum -= gain
		n++
	}
	if n > 0 {
		m.Add("teacher_kl", sum, n)
	}
	u.Adv = adv
	return d.Objective.Eval(&u, m)
}
