package parity

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// Step is a line of input of Loss: the sequences of one optimiser step. All
// fields that are present have one row per sequence and one entry per token.
type Step struct {
	ID string
	// LogP, Old, Ref, Rollout, Entropy and Advantages are NaN where the line
	// has null, which it may at tokens that are not live.
	LogP, Old, Ref, Rollout, Entropy, Advantages [][]float64
	// Mask marks the live tokens, Keep those that step credit did not mask.
	Mask, Keep [][]bool
	// Prompt is the index of each sequence's prompt.
	Prompt []int
	// Line is its number in the input.
	Line int
}

var stepFields = []string{"version", "id", "logp", "old", "ref", "rollout", "entropy", "advantages", "mask", "keep", "prompt"}

// ReadStep reads the line with the given number and checks its shapes and
// numbers. What an objective needs and the line lacks is not checked. An error
// is a *LineError.
func ReadStep(line []byte, number int) (*Step, error) {
	s := scanner{data: line}
	st := &Step{Line: number}
	s.object("an object", stepFields, func(name string) {
		switch name {
		case "version":
			s.version()
		case "id":
			st.ID = s.text("a string")
		case "mask":
			st.Mask = s.flags()
		case "keep":
			st.Keep = s.flags()
		case "prompt":
			st.Prompt = []int{}
			s.array("an array of prompt indices", func(int) { st.Prompt = append(st.Prompt, s.count(math.MaxInt32)) })
		default:
			*st.numbers(name) = s.matrix()
		}
	})
	s.end()
	st.check(&s)
	if s.err != nil {
		return nil, &LineError{Line: number, Field: s.at, Err: s.err}
	}
	return st, nil
}

// numbers returns the field of the given name.
func (st *Step) numbers(name string) *[][]float64 {
	switch name {
	case "logp":
		return &st.LogP
	case "old":
		return &st.Old
	case "ref":
		return &st.Ref
	case "rollout":
		return &st.Rollout
	case "entropy":
		return &st.Entropy
	case "advantages":
		return &st.Advantages
	}
	panic("parity: no field of numbers is named " + name)
}

var numberFields = []string{"logp", "old", "ref", "rollout", "entropy", "advantages"}

func (st *Step) check(s *scanner) {
	switch {
	case s.err != nil:
		return
	case st.LogP == nil:
		s.failAt("logp", "missing")
	case st.Mask == nil:
		s.failAt("mask", "missing")
	case st.Prompt != nil && len(st.Prompt) != len(st.LogP):
		s.failAt("prompt", "%d prompts, want one per sequence of logp: %d", len(st.Prompt), len(st.LogP))
	}
	shape(s, "mask", st.Mask, st.LogP)
	if st.Keep != nil {
		shape(s, "keep", st.Keep, st.LogP)
	}
	for _, name := range numberFields {
		if rows := *st.numbers(name); rows != nil {
			shape(s, name, rows, st.LogP)
			st.checkLive(s, name, rows)
		}
	}
}

// shape records an error unless rows has the shape of logp.
func shape[T any](s *scanner, name string, rows [][]T, logp [][]float64) {
	if len(rows) != len(logp) {
		s.failAt(name, "%d rows, want as many as logp has: %d", len(rows), len(logp))
		return
	}
	for i := range rows {
		if len(rows[i]) != len(logp[i]) {
			s.failAt(fmt.Sprintf("%s[%d]", name, i), "%d entries, want as many as logp[%d] has: %d", len(rows[i]), i, len(logp[i]))
			return
		}
	}
}

// checkLive records an error if a live token has null.
func (st *Step) checkLive(s *scanner, name string, rows [][]float64) {
	if s.err != nil {
		return
	}
	for i, live := range st.Mask {
		for t, l := range live {
			if l && math.IsNaN(rows[i][t]) {
				s.failAt(fmt.Sprintf("%s[%d][%d]", name, i, t), "null at a token whose mask is true, want a number")
				return
			}
		}
	}
}

// require returns a *LineError if the step lacks what is needed.
func (st *Step) require(needs objective.Inputs, advantages, prompt bool) error {
	for _, f := range []struct {
		name            string
		missing, needed bool
	}{
		{"old", st.Old == nil, needs&objective.InputOld != 0},
		{"ref", st.Ref == nil, needs&objective.InputRef != 0},
		{"rollout", st.Rollout == nil, needs&objective.InputRollout != 0},
		{"entropy", st.Entropy == nil, needs&objective.InputEntropy != 0},
		{"advantages", st.Advantages == nil, advantages},
		{"prompt", st.Prompt == nil, prompt},
	} {
		if f.missing && f.needed {
			return lineErrorf(st.Line, f.name, "missing, but the chosen options read it")
		}
	}
	return nil
}
