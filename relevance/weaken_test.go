package relevance

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// typed is the toy whose documents say what they are in a field.
func typed(size int) *rows.Source {
	src := toy(size)
	train := src.Train
	src.Train = func(i int) rows.Example {
		e := train(i)
		e.Document.Fields = []rows.Field{{Name: "type", Value: e.Document.Title}, {Name: "colour", Value: strings.TrimPrefix(e.Document.Body, "it is ")}}
		return e
	}
	return src
}

func weightsOf(t *testing.T, folder string) []byte {
	b, err := os.ReadFile(filepath.Join(folder, "model.safetensors"))
	require.NoError(t, err)
	return b
}

// stopAt cancels a run when it prints a text.
type stopAt struct {
	text   string
	cancel context.CancelFunc
	seen   strings.Builder
}

func (s *stopAt) Write(b []byte) (int, error) {
	if s.seen.Write(b); strings.Contains(s.seen.String(), s.text) {
		s.cancel()
	}
	return len(b), nil
}

// A student is trained on weak pairs first, none of whose queries is tested on, and a
// run that is interrupted there ends with the same weights.
func TestWeakTraining(t *testing.T) {
	c := toySettings()
	c.Reinforce.Steps, c.Warmup.Steps = 0, 20
	c.Student.Weak = WeakTraining{Pairs: 600, Epochs: 1, LR: 1e-3}
	src := typed(200)
	src.Tests[0].Examples = slices.DeleteFunc(src.Tests[0].Examples, func(e rows.Example) bool { return e.Query != "red lamp" && e.Query != "blue desk" })
	src.Validation = src.Tests[0].Examples
	var out strings.Builder
	whole := filepath.Join(t.TempDir(), "whole")
	_, err := Train(t.Context(), src, c, whole, Options{Out: &out})
	require.NoError(t, err)
	assert.Contains(t, out.String(), "600 weak pairs (")
	assert.Contains(t, out.String(), "15 of 15 documents say what they are, of 5 kinds", "rows share documents")
	assert.NotContains(t, out.String(), " 0 queries dropped")
	assert.Contains(t, out.String(), "test set TEST (the pairs that the student begins with are weak: made up, their labels nobody's judgement): ")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	parts := filepath.Join(t.TempDir(), "parts")
	_, err = Train(ctx, src, c, parts, Options{Out: &stopAt{text: "weak pairs (", cancel: cancel}})
	var stopped *Interrupted
	require.ErrorAs(t, err, &stopped)
	assert.Equal(t, weakStage, stopped.Stage)
	_, err = Train(t.Context(), src, c, parts, Options{Resume: true})
	require.NoError(t, err)
	assert.Equal(t, weightsOf(t, filepath.Join(whole, StudentFolder)), weightsOf(t, filepath.Join(parts, StudentFolder)))
}

func TestWeakTrainingNeedsKinds(t *testing.T) {
	c := toySettings()
	c.Reinforce.Steps, c.Warmup.Steps = 0, 1
	c.Student.Weak = WeakTraining{Pairs: 200, Epochs: 1, LR: 1e-3}
	_, err := Train(t.Context(), toy(100), c, filepath.Join(t.TempDir(), "run"), Options{})
	require.ErrorContains(t, err, "student.weak: weak: fewer than two kinds of things")
	c.Student.Form = FormBiEncoder
	require.ErrorContains(t, c.Validate(), "Student.Weak is for cross-encoder and decoder")
}
