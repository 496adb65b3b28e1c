package study

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/linear"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/taskfile"
)

// shop is a made-up shop in which accessories of a thing are irrelevant to it: two
// in five documents have all words of the query, but only half of these are it.
func shop() Data {
	d := Data{Labels: []string{"no", "some", "yes"}, Relevant: 2, Roles: criteria.DefaultRoles(), Criteria: criteria.Products()}
	things := []string{"lamp", "desk", "phone", "bike", "guitar", "tent", "camera", "printer", "sofa", "drone"}
	for i, thing := range things {
		for k, title := range []string{"Acme " + thing, "Acme " + thing + " bag", "Borel plain bag", "Borel red pot", "Cord " + things[(i+1)%len(things)]} {
			label := "no"
			var raters []string
			if k == 0 {
				label, raters = "yes", []string{"yes", "some", "yes"}
			}
			d.Examples = append(d.Examples, rows.Example{
				ID: fmt.Sprint(i, k), Query: thing, Truth: []string{label}, Raters: raters,
				Document: rows.Document{Title: title},
			})
			d.Fold = append(d.Fold, i%5)
		}
	}
	return d
}

func TestCriteriaLearnAccessories(t *testing.T) {
	s, err := New(shop())
	require.NoError(t, err)
	assert.InDeltaSlice(t, []float64{0, 1. / 6, 5. / 6}, s.soft[0], 1e-15, "half the label, half the raters")
	assert.Equal(t, []float64{1, 0, 0}, s.soft[1])
	o := Options{Settings: linear.Settings{L2: []float64{.1, 1}, Folds: 2}, Replicates: 20, Seed: 1}
	rule := s.Overlap()
	assert.Equal(t, []int{2, 2, 0, 0, 0}, rule.First[:5])
	for _, validate := range []bool{false, true} {
		o.Validate = validate
		p, err := s.CrossValidate(Variant{}, 1, o)
		require.NoError(t, err)
		assert.Equal(t, s.label, p.First)
		assert.Equal(t, s.label, p.Second)
	}
	o.Validate = false
	var b strings.Builder
	require.NoError(t, s.Report(&b, []Variant{{Name: "raters", Gold: true}, {Name: "all but coverage", Unlearned: true, Without: []string{"accessory", "fit"}}}, o))
	lines := strings.Split(b.String(), "\n")
	assert.Contains(t, lines[1], "rule: all words in the title")
	assert.Contains(t, lines[1], "0.800", "one in five is wrong")
	assert.Contains(t, b.String(), "the same, 50% of the queries")
	b.Reset()
	require.NoError(t, s.Audit(&b))
	assert.Contains(t, b.String(), "accessory")
}

// A training row's features never come from its own query's labels.
func TestFeaturesOfATrainingRow(t *testing.T) {
	d := shop()
	train := make([]int, len(d.Examples))
	for i := range train {
		train[i] = i
	}
	before, err := New(d)
	require.NoError(t, err)
	for i := range 5 {
		d.Examples[i].Truth = []string{"yes"}
	}
	after, err := New(d)
	require.NoError(t, err)
	first := train[:5]
	x, y := before.Data(Variant{}).Features(train, first), after.Data(Variant{}).Features(train, first)
	// The mean grade over all rows does move.
	for i := range x {
		assert.InDeltaSlice(t, x[i], y[i], .2)
	}
	other := before.Data(Variant{}).Features(train[5:], first)
	assert.Equal(t, other, after.Data(Variant{}).Features(train[5:], first))
}

// A study of a task sees all pairs but the test set's, and the task's own criteria.
func TestFromTask(t *testing.T) {
	var pairs strings.Builder
	pairs.WriteString("query,title,label\n")
	for i := range 30 {
		fmt.Fprintf(&pairs, "lamp %d,lamp %d,%d\n", i/2, i/2+i%2, 1-i%2)
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pairs.csv"), []byte(pairs.String()), 0o600))
	f, err := taskfile.Parse([]byte("version: 1\nname: x\nlabels: [0, 1]\ndata: {pairs: {file: pairs.csv}}\ncriteria: [{kind: coverage}]\nsteps: [{name: label}]\n"), "task.yaml")
	require.NoError(t, err)
	task, err := f.Open(taskfile.Options{Dir: dir})
	require.NoError(t, err)
	d, err := FromTask(task)
	require.NoError(t, err)
	assert.Len(t, d.Examples, 24, "a fifth is the test set")
	assert.Len(t, d.Fold, 24)
	assert.Equal(t, 1, d.Relevant)
	s, err := New(d)
	require.NoError(t, err)
	var b strings.Builder
	require.NoError(t, s.Audit(&b))
	assert.Contains(t, b.String(), "coverage title")
	p, err := s.BM25(criteria.FieldTitle)
	require.NoError(t, err)
	assert.Len(t, p.Score, 24)
}

func TestNewNamesTheExample(t *testing.T) {
	d := shop()
	d.Examples[3].Truth = []string{"maybe"}
	_, err := New(d)
	assert.EqualError(t, err, `study: example "0 3" has the label "maybe", want one of [no some yes]`)
	_, err = New(Data{})
	assert.Error(t, err)
}
