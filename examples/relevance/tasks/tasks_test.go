package tasks

import (
	"flag"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/baseline"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/split"
	"github.com/stepwise-rl/stepwise/relevance/taskfile"
)

var chorus = flag.String("chorus", "", "the folder with the Chorus data")

// accuracy is the share of the first test set that a baseline predicts.
func accuracy(t *testing.T, s *rows.Source, fit func([]rows.Example, []string) (baseline.Predictor, error)) float64 {
	train := make([]rows.Example, s.Size)
	for i := range train {
		train[i] = s.Train(i)
	}
	predict, err := fit(train, s.Labels)
	require.NoError(t, err)
	right := 0.
	for _, e := range s.Tests[0].Examples {
		if p := predict(e); s.Labels[slices.Index(p, slices.Max(p))] == e.Label() {
			right++
		}
	}
	return right / float64(len(s.Tests[0].Examples))
}

// Shared characters must not solve the Chinese task, and every step must have
// something to teach.
func TestChinese(t *testing.T) {
	opened, err := taskfile.Open("chinese.yaml", taskfile.Options{Seed: 1})
	require.NoError(t, err)
	s := opened.Source
	assert.Equal(t, "1000 rows\n", opened.Reports[0].String())
	for _, said := range split.Check(s, "") {
		assert.Contains(t, said, " documents ", "nothing else stands in two parts, and every step has something to teach")
	}
	for _, b := range baseline.All() {
		got := accuracy(t, s, b.Fit)
		t.Logf("%s: %.3f", b.Name, got)
		assert.Less(t, got, .65, b.Name)
	}
}

func TestChineseIsWhatTheProgramWrites(t *testing.T) {
	got, err := exec.Command("go", "run", "chinese.go").Output()
	require.NoError(t, err)
	want, err := os.ReadFile("chinese.csv")
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got))
}

func TestChorus(t *testing.T) {
	if *chorus == "" {
		t.Skip("takes half a minute and needs the data: -chorus FOLDER")
	}
	opened, err := taskfile.Open("chorus.yaml", taskfile.Options{Dir: *chorus, Seed: 1})
	require.NoError(t, err)
	s := opened.Source
	ratings := make(map[string]int)
	all := slices.Concat(s.Tests[0].Examples, s.Validation)
	for i := range s.Size {
		all = append(all, s.Train(i))
	}
	for _, e := range all {
		ratings[e.Label()]++
	}
	assert.Equal(t, map[string]int{"0": 1853, "1": 238, "2": 105, "3": 1472}, ratings)
	assert.Len(t, s.Tests[0].Examples, 736)
	assert.Equal(t, 480, opened.Reports[0].Unrated)
	var steps []string
	for _, said := range split.Check(s, "") {
		if said[0] == 's' {
			steps = append(steps, said)
		}
	}
	assert.Empty(t, steps, "every step has something to teach")
}
