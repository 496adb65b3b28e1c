package parity

import (
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/preset"
)

// Step is a line of input of Loss: the sequences of one optimiser step. All
// fields that are present have one row per sequence and one entry per token.
type Step struct {
	ID string
	// Of the matrices, LogP is always there; they are NaN where the line has
	// null, which it may at tokens that are not included.
	LogP, Old, Ref, Rollout, Teacher, Entropy, Advantages [][]float64
	// Mask marks the included tokens, Keep those that step credit did not
	// mask.
	Mask, Keep [][]bool
	// Prompt is the index of each sequence's prompt.
	Prompt []int
	// Line is its number in the input.
	Line int
}

var (
	stepFields   = []string{"version", "id", "logp", "old", "ref", "rollout", "teacher", "entropy", "advantages", "mask", "keep", "prompt"}
	numberFields = stepFields[2:9]
)

// numbers returns the matrices of the numberFields, in their order.
func (st *Step) numbers() []*[][]float64 {
	return []*[][]float64{&st.LogP, &st.Old, &st.Ref, &st.Rollout, &st.Teacher, &st.Entropy, &st.Advantages}
}

// ReadStep reads the line with the given number and checks its shapes and
// numbers. What an objective needs and the line lacks is not checked. An error
// is a *LineError.
func ReadStep(line []byte, number int) (*Step, error) {
	s, st := newScanner(line), &Step{Line: number}
	s.object("an object", stepFields, func(name string) {
		switch name {
		case "version":
			s.version()
		case "id":
			st.ID = s.text()
		case "mask":
			st.Mask = s.flags()
		case "keep":
			st.Keep = s.flags()
		case "prompt":
			st.Prompt = []int{}
			s.array("an array of prompt indices", func(int) { st.Prompt = append(st.Prompt, s.count(0, math.MaxInt32)) })
		default:
			*st.numbers()[slices.Index(numberFields, name)] = s.matrix()
		}
	})
	s.end()
	st.check(&s)
	if s.err != nil {
		return nil, &LineError{Line: number, Field: s.at, Err: s.err}
	}
	return st, nil
}

func (st *Step) check(s *scanner) {
	switch {
	case st.LogP == nil:
		s.failAt("logp", "missing")
	case st.Mask == nil:
		s.failAt("mask", "missing")
	case st.Prompt != nil && len(st.Prompt) != len(st.LogP):
		s.failAt("prompt", "%d prompts, want one per sequence of logp: %d", len(st.Prompt), len(st.LogP))
	}
	checkShape(s, "mask", st.Mask, st.LogP)
	checkShape(s, "keep", st.Keep, st.LogP)
	for i, rows := range st.numbers() {
		checkShape(s, numberFields[i], *rows, st.LogP)
		st.checkIncluded(s, numberFields[i], *rows)
	}
}

// checkShape records an error unless rows are absent or have the shape of logp.
func checkShape[T any](s *scanner, name string, rows [][]T, logp [][]float64) {
	if rows != nil && len(rows) != len(logp) {
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

// checkIncluded records an error if an included token has null.
func (st *Step) checkIncluded(s *scanner, name string, rows [][]float64) {
	if s.err != nil {
		return // the shape may be wrong
	}
	for i, row := range rows {
		for t, x := range row {
			if st.Mask[i][t] && math.IsNaN(x) {
				s.failAt(fmt.Sprintf("%s[%d][%d]", name, i, t), "null at a token whose mask is true, want a number")
				return
			}
		}
	}
}

// require returns a *LineError if the step lacks what is needed.
func (st *Step) require(o objective.Objective, p preset.Preset) error {
	needs := o.Needs()
	if len(p.Reject) > 0 {
		needs |= objective.InputOld | objective.InputRollout
	}
	if p.TopEntropy > 0 {
		needs |= objective.InputEntropy
	}
	for _, f := range []struct {
		name            string
		missing, needed bool
	}{
		{"old", st.Old == nil, needs&objective.InputOld != 0},
		{"ref", st.Ref == nil, needs&objective.InputRef != 0},
		{"rollout", st.Rollout == nil, needs&objective.InputRollout != 0},
		{"teacher", st.Teacher == nil, needs&objective.InputTeacher != 0},
		{"entropy", st.Entropy == nil, needs&objective.InputEntropy != 0},
		{"advantages", st.Advantages == nil, readsAdvantages(o)},
		{"prompt", st.Prompt == nil, readsPrompt(p.Aggregation)},
	} {
		if f.missing && f.needed {
			return lineErrorf(st.Line, f.name, "missing, but the settings read it")
		}
	}
	return nil
}

// sequence is row i, without masks, weights and gradients.
func (st *Step) sequence(i int) *objective.Sequence {
	return &objective.Sequence{
		LogP: st.LogP[i], Old: row(st.Old, i), Ref: row(st.Ref, i), Rollout: row(st.Rollout, i),
		Teacher: row(st.Teacher, i), Entropy: row(st.Entropy, i), Adv: row(st.Advantages, i),
	}
}

// row returns row i of a field, nil if the field is absent.
func row[T any](rows [][]T, i int) []T {
	if rows == nil {
		return nil
	}
	return rows[i]
}
