package advantage

import (
	"errors"
	"fmt"
	"math"
)

// Validate returns an error that names the first weight that is not finite.
func (m Combine) Validate() error {
	for k, w := range m.Weights {
		if math.IsNaN(w) || math.IsInf(w, 0) {
			return fmt.Errorf("advantage: Weights[%d] is %v, want a finite number", k, w)
		}
	}
	return nil
}

// Validate returns an error that names the invalid settings.
func (w Whitening) Validate() error {
	return errors.Join(checkStd("Whitening", w.Std), checkNonNegative("Whitening.Epsilon", w.Epsilon),
		checkNonNegative("Whitening.MinVar", w.MinVar), checkTolerance("Whitening", w.Tolerance))
}

func checkNonNegative(name string, x float64) error {
	if !(x >= 0) || math.IsInf(x, 1) {
		return fmt.Errorf("advantage: %s is %v, want a finite number of at least 0", name, x)
	}
	return nil
}

func checkTolerance(of string, x float64) error {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return fmt.Errorf("advantage: %s.Tolerance is %v, want a finite number", of, x)
	}
	return nil
}

func checkStd(of string, s Std) error {
	if s > StdPopulation {
		return fmt.Errorf("advantage: %s.Std is %d, want StdSample or StdPopulation", of, s)
	}
	return nil
}

func checkSingleton(of string, s Singleton) error {
	if s > SingletonRaw {
		return fmt.Errorf("advantage: %s.Singleton is %d, want SingletonZero or SingletonRaw", of, s)
	}
	return nil
}

func checkGamma(of string, gamma float64) error {
	if !(gamma >= 0 && gamma <= 1) {
		return fmt.Errorf("advantage: %s.Gamma is %v, want 0 (for 1) to 1", of, gamma)
	}
	return nil
}
