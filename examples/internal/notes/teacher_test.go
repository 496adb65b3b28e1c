package notes

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A teacher without errors is always right.
func TestFaultlessTeacher(t *testing.T) {
	s := New(Config{Seed: 3, TestSize: 500})
	for _, set := range s.Tests {
		for i, e := range set.Examples {
			for k, th := range e.Teach(rand.New(rand.NewPCG(1, uint64(i)))) {
				assert.Equal(t, e.Truth[k], th.Answer, "%s step %s: %s", e.ID, s.Steps[k].Name, s.Input(e))
			}
		}
	}
}

// The default teacher leaves something to repair: the share of right labels,
// and of right labels with a wrong step, are what the main job starts from.
func TestDefaultTeacherRates(t *testing.T) {
	const n = 20000
	s := New(Config{Seed: 3, Teacher: DefaultTeacher()})
	var right, rightWrongStep float64
	step := make([]float64, numSteps)
	for i := range n {
		e := s.Train(i)
		trace := e.Teach(rand.New(rand.NewPCG(1, uint64(i))))
		wrong := false
		for k, th := range trace {
			if th.Answer == e.Truth[k] {
				step[k] += 1. / n
			} else if k != stepLabel {
				wrong = true
			}
		}
		if trace[stepLabel].Answer == e.Label() {
			right += 1. / n
			if wrong {
				rightWrongStep += 1. / n
			}
		}
	}
	t.Logf("label right %.3f, with a wrong step %.3f; steps right %.3f", right, rightWrongStep, step)
	assert.InDelta(t, .76, right, .03)
	assert.InDelta(t, .46, rightWrongStep, .03)
	for k, acc := range step {
		assert.Greater(t, acc, .55, s.Steps[k].Name)
		assert.Less(t, acc, .95, s.Steps[k].Name)
	}
}

// Each error has its own switch, and touches only its own steps.
func TestTeacherErrors(t *testing.T) {
	for name, c := range map[string]struct {
		teacher Teacher
		wrong   [numSteps]bool
	}{
		"synonym":  {Teacher{Synonym: 1}, [numSteps]bool{true, true, true, true, true}},
		"typo":     {Teacher{Typo: 1}, [numSteps]bool{true, true, false, true, true}},
		"negation": {Teacher{Negation: 1}, [numSteps]bool{false, true, false, true, true}},
		"confuse":  {Teacher{Confuse: 1}, [numSteps]bool{true, false, false, false, true}},
		"noise":    {Teacher{Noise: 1}, [numSteps]bool{true, true, true, true, true}},
		"glance":   {Teacher{Glance: 1, GlanceError: 1}, [numSteps]bool{false, false, false, false, true}},
	} {
		s := New(Config{Seed: 3, Teacher: c.teacher})
		var wrong [numSteps]bool
		for i := range 2000 {
			e := s.Train(i)
			for k, th := range e.Teach(rand.New(rand.NewPCG(1, uint64(i)))) {
				wrong[k] = wrong[k] || th.Answer != e.Truth[k]
			}
		}
		assert.Equal(t, c.wrong, wrong, name)
	}
}
