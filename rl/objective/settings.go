package objective

import (
	"fmt"
)

// checkNonNegative checks a setting that is a finite number of at least 0.
func checkNonNegative(name string, x float64) error {
	if !(x >= 0) || !finite(x) {
		return fmt.Errorf("objective: %s is %v, want a finite number of at least 0", name, x)
	}
	return nil
}

// checkFinite checks a setting that may have either sign.
func checkFinite(name string, x float64) error {
	if !finite(x) {
		return fmt.Errorf("objective: %s is %v, want a finite number", name, x)
	}
	return nil
}

// checkWrapped checks the objective that a wrapper holds.
func checkWrapped(name string, o Objective) error {
	if o == nil {
		return fmt.Errorf("objective: %s.Objective is nil, want an objective to wrap", name)
	}
	return o.Validate()
}

// finite reports whether x is neither NaN nor infinite.
func finite(x float64) bool { return x-x == 0 }

// limited returns x held within ±limit; a limit of 0 is none.
func limited(x, limit float64) float64 {
	if limit > 0 {
		return min(max(x, -limit), limit)
	}
	return x
}
