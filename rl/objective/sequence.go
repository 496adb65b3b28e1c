package objective

import "fmt"

// Sequence is one whole completion, as numbers per token. All slices that
// are present have one entry per completion token.
type Sequence struct {
	// LogP and Entropy are those of the policy now. The policy fills them in
	// before it evaluates the objective; Entropy only if the objective needs
	// it.
	LogP, Entropy []float64
	// Old, Ref, Rollout and Teacher are fixed log-probs; nil = absent. If Old is
	// absent, LogP with its gradient stopped takes its place: the first update
	// on fresh samples.
	Old, Ref, Rollout, Teacher []float64
	// Adv is the advantage of each token.
	Adv []float64
	// CovRank is the rank of each token by covariance (Layout.CovRanks); nil = absent.
	CovRank []float64
	// Keep is false for tokens that step credit or TopEntropy masked; nil = none.
	// Each objective documents what a masked token still contributes.
	Keep []bool
	// Weight and KLWeight are d(loss)/d(token loss), fixed by an Aggregation
	// before the first forward pass. 0 = the token does not count, and its
	// numbers are never read. KLWeight applies to regularisers (KL, entropy),
	// Weight to all other objectives. Objectives only read them.
	Weight, KLWeight []float64
	// Cand holds several candidates per position; nil = none.
	Cand *Candidates
	// Grad and EntropyGrad receive d(loss)/d(LogP) and d(loss)/d(Entropy).
	// Eval adds to them; the policy clears them.
	Grad, EntropyGrad []float64
}

// old returns the log-probs of the old policy.
func (s *Sequence) old() []float64 {
	if s.Old == nil {
		return s.LogP
	}
	return s.Old
}

// masked reports whether step credit masked token t.
func (s *Sequence) masked(t int) bool { return s.Keep != nil && !s.Keep[t] }

// check returns an error unless every slice that is present has one entry per
// token and every input in needs except Old is present.
func (s *Sequence) check(needs Inputs) error {
	n := len(s.LogP)
	for _, f := range [...]struct {
		name string
		len  int
		want bool
	}{
		{"Old", len(s.Old), s.Old != nil},
		{"Ref", len(s.Ref), needs&InputRef != 0},
		{"Rollout", len(s.Rollout), needs&InputRollout != 0},
		{"Teacher", len(s.Teacher), needs&InputTeacher != 0},
		{"CovRank", len(s.CovRank), needs&InputCovRank != 0},
		{"Entropy", len(s.Entropy), needs&InputEntropy != 0},
		{"EntropyGrad", len(s.EntropyGrad), needs&InputEntropy != 0},
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

// checkRegularizer is check for terms that KLWeight weighs.
func (s *Sequence) checkRegularizer(needs Inputs) error {
	if len(s.KLWeight) != len(s.LogP) {
		return lengthError("KLWeight", len(s.KLWeight), len(s.LogP))
	}
	return s.check(needs)
}

func lengthError(name string, got, want int) error {
	if got == 0 {
		return fmt.Errorf("objective: %s is missing, want one entry per token (%d)", name, want)
	}
	return fmt.Errorf("objective: the length of %s is %d, want one entry per token (%d)", name, got, want)
}

// blame returns an error that names the number at position t that is not finite.
func (s *Sequence) blame(t int, in Inputs) error {
	for _, f := range [...]struct {
		name string
		of   []float64
		read bool
	}{
		{"LogP", s.LogP, true},
		{"Old", s.Old, in&InputOld != 0},
		{"Ref", s.Ref, in&InputRef != 0},
		{"Rollout", s.Rollout, in&InputRollout != 0},
		{"Teacher", s.Teacher, in&InputTeacher != 0},
		{"Entropy", s.Entropy, in&InputEntropy != 0},
		{"Adv", s.Adv, true},
	} {
		if f.read && f.of != nil && !finite(f.of[t]) {
			return fmt.Errorf("objective: %s at position %d is %v, want a finite number", f.name, t, f.of[t])
		}
	}
	return fmt.Errorf("objective: the importance ratio at position %d overflows; clamp it or find out why the policies differ so much", t)
}
