package relevance

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/rl/run"
)

// By hand: seed 1 tests row a twice, as two folds of a training do, and is right once
// (1/2), then off by 1 of 2 (closeness 3/4, with the right one 7/8). Row c is only in one
// seed.
func TestSeeds(t *testing.T) {
	said := func(id string, gold, said int) Prediction {
		return Prediction{ID: id, Query: "of " + id, Gold: gold, Said: said}
	}
	s := seeds{}
	s.add(1, 3, []Prediction{said("a", 2, 2), said("b", 0, 2), said("c", 1, 1)})
	s.add(1, 3, []Prediction{said("a", 2, 1)})
	s.add(2, 3, []Prediction{said("b", 0, -1), said("a", 2, 2)})
	ids, queries := s.common(s)
	require.Equal(t, []string{"a", "b"}, ids)
	require.Equal(t, []string{"of a", "of b"}, queries)
	require.Equal(t, [][]float64{{.5, 0}, {1, 0}}, s.values(ids, 0))
	require.Equal(t, [][]float64{{.875, 0}, {1, 0}}, s.values(ids, 1))

	o := seeds{}
	o.add(1, 3, []Prediction{said("a", 2, 2)})
	none, _ := s.common(o)
	require.Empty(t, none, "the other has no seed 2")
}

// By hand: of two rows mask is right on both in both seeds, and outcome on one in seed 1.
// The difference is the first stage, or run, minus the second.
func TestCompareStages(t *testing.T) {
	var dirs []string
	for seed := range uint64(2) {
		dir := filepath.Join(t.TempDir(), "run")
		w, err := run.Start(run.Config{Dir: dir, Seed: seed, Settings: map[string]int{}})
		require.NoError(t, err)
		write := func(name string, v any) {
			text, err := json.Marshal(v)
			require.NoError(t, err)
			require.NoError(t, w.WriteArtefact(name, text))
		}
		write(reportFile, report.Run{Best: "rl-outcome", Task: report.Task{Labels: []string{"0", "1"}}})
		for stage, right := range map[string]int{"rl-mask": 1, "rl-outcome": int(seed)} {
			write(predictionsFile(stage), Predictions{"TEST": {{ID: "a", Query: "q", Gold: 1, Said: 1}, {ID: "b", Query: "r", Gold: 1, Said: right}}})
		}
		require.NoError(t, w.Close())
		dirs = append(dirs, dir)
	}
	for _, c := range []struct{ first, second, means, better string }{
		{"rl-mask", "rl-outcome", "1.0000 0.7500 +0.2500", "1 of 2"},
		{"rl-outcome", "rl-mask", "0.7500 1.0000 -0.2500", "0 of 2"},
	} {
		var out strings.Builder
		require.NoError(t, CompareStages(&out, dirs, c.first, c.second, "", .01))
		text := strings.Join(strings.Fields(out.String()), " ")
		require.Contains(t, text, fmt.Sprintf("%s − %s [95%%]", c.first, c.second))
		require.Contains(t, text, fmt.Sprintf("%s better in p %[1]s is ", c.first))
		require.Contains(t, text, "TEST 2 2 accuracy "+c.means+" [")
		require.Contains(t, text, c.better+" 1 too few seeds")
	}
	var out strings.Builder
	require.NoError(t, Compare(&out, dirs[1], dirs[0]))
	require.Regexp(t, `accuracy +1.000 +0.500 +\+0.500 \[`, out.String(), "A minus B")
}
