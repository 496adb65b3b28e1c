package objective

import "fmt"

// check returns an error unless every slice that is present has one entry per
// token and every input in needs, Old aside, is present.
func (s *Sequence) check(needs Inputs) error {
	n := len(s.LogP)
	for _, f := range [...]struct {
		name string
		len  int
		want bool
	}{
		{"Old", len(s.Old), s.Old != nil},
		{"Ref", len(s.Ref), needs&Ref != 0},
		{"Rollout", len(s.Rollout), needs&Rollout != 0},
		{"Entropy", len(s.Entropy), needs&Entropy != 0},
		{"EntropyGrad", len(s.EntropyGrad), needs&Entropy != 0},
		{"Keep", len(s.Keep), s.Keep != nil},
		{"Weight", len(s.Weight), true},
		{"Grad", len(s.Grad), true},
	} {
		if f.want && f.len != n {
			return lengthError(f.name, f.len, n)
		}
	}
	return nil
}

// checkPolicy is check for losses that multiply the advantage.
func (s *Sequence) checkPolicy(needs Inputs) error {
	if len(s.Adv) != len(s.LogP) {
		return lengthError("Adv", len(s.Adv), len(s.LogP))
	}
	return s.check(needs)
}

// checkRegularizer is check for terms that are weighted by KLWeight.
func (s *Sequence) checkRegularizer(needs Inputs) error {
	if len(s.KLWeight) != len(s.LogP) {
		return lengthError("KLWeight", len(s.KLWeight), len(s.LogP))
	}
	return s.check(needs)
}

func lengthError(name string, got, want int) error {
	if got == 0 {
		return fmt.Errorf("objective: %s is missing, want one entry for each of %d tokens", name, want)
	}
	return fmt.Errorf("objective: %s has %d entries, want one for each of %d tokens", name, got, want)
}

// old returns the log-probs that stand for Old.
func (s *Sequence) old() []float64 {
	if s.Old == nil {
		return s.LogP
	}
	return s.Old
}

// kept reports whether step credit left token t in the policy loss.
func (s *Sequence) kept(t int) bool { return s.Keep == nil || s.Keep[t] }

// keep returns Keep of the tokens of a block.
func (s *Sequence) keep(from, to int) []bool {
	if s.Keep == nil {
		return allKept[:to-from]
	}
	return s.Keep[from:to]
}

var allKept = func() (k [blockSize]bool) {
	for i := range k {
		k[i] = true
	}
	return k
}()

// checkNonNegative checks a setting that is a finite number, 0 or greater.
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

// finite reports whether x is neither NaN nor infinite.
func finite(x float64) bool { return x-x == 0 }

// blame says which number at live position t is not finite.
func (s *Sequence) blame(t int, in Inputs) error {
	for _, f := range [...]struct {
		name string
		of   []float64
		read bool
	}{
		{"LogP", s.LogP, true},
		{"Old", s.Old, in&Old != 0},
		{"Ref", s.Ref, in&Ref != 0},
		{"Rollout", s.Rollout, in&Rollout != 0},
		{"Entropy", s.Entropy, in&Entropy != 0},
		{"Adv", s.Adv, true},
	} {
		if f.read && f.of != nil && !finite(f.of[t]) {
			return fmt.Errorf("objective: %s at position %d is %v, want a finite number", f.name, t, f.of[t])
		}
	}
	return fmt.Errorf("objective: the importance ratio at position %d overflows; clamp it or find out why the policies differ so much", t)
}
