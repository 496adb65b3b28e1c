package objective

import (
	"errors"
	"strings"
)

// Inputs is a set of what an objective reads beyond current log-probs and
// advantages.
type Inputs uint8

const (
	// Old log-probs: those of the policy before the first inner epoch.
	Old Inputs = 1 << iota
	// Ref log-probs: those of the frozen reference policy (or of a teacher).
	Ref
	// Rollout log-probs: those the sampling engine reported.
	Rollout
	// Entropy of each token's distribution, with its gradient.
	Entropy
	// Candidates: log-probs of several tokens per position (distillation).
	Candidates
)

var inputNames = [...]string{"old log-probs", "reference log-probs", "rollout log-probs", "entropies", "candidates"}

// String lists the inputs in words, as errors name them.
func (n Inputs) String() string {
	var names []string
	for i, name := range inputNames {
		if n&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// Sequence is one whole completion as an objective sees it. All slices that
// are present have one entry per completion token.
type Sequence struct {
	// LogP and Entropy are of the policy now, filled in by the policy before
	// it evaluates the objective; Entropy only if the objective needs it.
	LogP, Entropy []float64
	// Old, Ref and Rollout are fixed log-probs; nil = absent. An absent Old
	// means that LogP itself, its gradient stopped, stands in: the first
	// update on fresh samples.
	Old, Ref, Rollout []float64
	// Adv is the advantage of each token.
	Adv []float64
	// Keep marks tokens that step credit did not mask; nil = all. What a
	// masked token still contributes is each objective's to say.
	Keep []bool
	// Weight and KLWeight are d(loss)/d(token loss), fixed by an Aggregation
	// before the first forward pass; 0 = the token is out and its numbers
	// are never read. KLWeight applies to terms that regularise (KL, entropy).
	// Sequences may share their memory: they are to be read only.
	Weight, KLWeight []float64
	// Cand holds several candidates per position; nil = none.
	Cand *Candidate
	// Grad and EntropyGrad receive d(loss)/d(LogP) and d(loss)/d(Entropy).
	// Eval adds to them; the policy clears them.
	Grad, EntropyGrad []float64
}

// Candidate holds K tokens per position with the teacher's log-probs, for
// losses that compare distributions. Slices are [tokens*K], position-major:
// candidate k of position t has index t*K+k.
type Candidate struct {
	K       int
	IDs     []int32
	Teacher []float64 // the teacher's log-probs
	LogP    []float64 // the policy's, filled in by the policy
	Grad    []float64 // d(loss)/d(LogP), added to by Eval
}

// Objective is a loss as a function of per-token log-probs (and entropies).
type Objective interface {
	// Needs lists the inputs that Eval reads. Without one of them Eval
	// returns an error; only Old may be absent (see Sequence).
	Needs() Inputs
	// Eval returns the sequence's share of the loss, adds its gradient to
	// s.Grad (and s.EntropyGrad, s.Cand.Grad), and adds to m. Values at
	// positions whose weights are 0 are never read. A non-finite value at a
	// live position is an error that names the position. After an error the
	// gradients are undefined.
	// Eval may be called concurrently for different sequences and metrics.
	Eval(s *Sequence, m Metrics) (loss float64, err error)
}

// Validator is an objective that can tell bad settings before the first step;
// every objective of this package is one. Eval returns the same error.
type Validator interface {
	// Validate returns an error that names the first bad setting.
	Validate() error
}

// validate checks a part of a composed objective.
func validate(o Objective) error {
	if o == nil {
		return errors.New("objective: nil where an objective should be")
	}
	if v, ok := o.(Validator); ok {
		return v.Validate()
	}
	return nil
}
