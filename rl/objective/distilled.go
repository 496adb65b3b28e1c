package objective

// Distilled adds the advantage of on-policy distillation to a policy loss
// (Lu, "On-Policy Distillation", Thinking Machines Lab, 2025; Agarwal et al.,
// arXiv:2306.13649): each sampled token is worth how much likelier the teacher
// finds it than the policy that sampled it,
//
//	A_t := A_t + Coef·(logπ_teacher - logπ_old)
//
// so that the expected gradient is that of the reverse KL, -Coef·∇KL(π‖teacher).
// The teacher's log-probs stand in Ref; an absent Adv is 0 everywhere, which
// leaves pure distillation. Usually around ImportanceSampling.
//
// A masked token contributes what it does to the objective: to a policy loss
// nothing, whatever the teacher says.
type Distilled struct {
	Objective Objective
	// Coef is the weight of the teacher's advantage, not negative.
	Coef float64
}

// Needs returns what the objective needs, Old and Ref.
func (d Distilled) Needs() Inputs { return d.Objective.Needs() | Old | Ref }

// Validate returns an error that names the first bad setting.
func (d Distilled) Validate() error {
	if err := d.check(); err != nil {
		return err
	}
	return validate(d.Objective)
}

func (d Distilled) check() error {
	if d.Objective == nil {
		return errNoObjective("Distilled")
	}
	return checkNonNegative("Distilled.Coef", d.Coef)
}

// Eval implements Objective.
func (d Distilled) Eval(s *Sequence, m Metrics) (loss float64, err error) {
	if err := d.check(); err != nil {
		return 0, err
	}
	if s.Adv != nil {
		err = s.checkPolicy(Ref)
	} else {
		err = s.check(Ref)
	}
	if err != nil {
		return 0, err
	}
	u := *s
	u.Adv = make([]float64, len(s.LogP))
	old := s.old()
	var sum, n float64
	for t, w := range s.Weight {
		if w == 0 || !s.kept(t) {
			continue
		}
		gain := s.Ref[t] - old[t]
		if s.Adv != nil {
			u.Adv[t] = s.Adv[t]
		}
		u.Adv[t] += d.Coef * gain
		if !finite(u.Adv[t]) {
			return 0, s.blame(t, Old|Ref)
		}
		sum -= gain
		n++
	}
	if n > 0 {
		m.Add("teacher_kl", sum, n)
	}
	return d.Objective.Eval(&u, m)
}
