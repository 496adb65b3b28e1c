package objective

// Scaled multiplies an objective, value and gradient, by a factor: the
// coefficient of a term in Terms. A masked token contributes what it does to
// the objective.
type Scaled struct {
	Objective Objective
	// Factor is finite; 0 switches the objective off.
	Factor float64
}

// Needs returns what the objective needs.
func (f Scaled) Needs() Inputs { return f.Objective.Needs() }

// Validate returns an error that names the first bad setting.
func (f Scaled) Validate() error {
	if f.Objective == nil {
		return errNoObjective("Scaled")
	}
	if err := checkFinite("Scaled.Factor", f.Factor); err != nil {
		return err
	}
	return validate(f.Objective)
}

// Eval implements Objective.
func (f Scaled) Eval(s *Sequence, m Metrics) (float64, error) {
	if f.Objective == nil || !finite(f.Factor) {
		return 0, f.Validate()
	}
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
