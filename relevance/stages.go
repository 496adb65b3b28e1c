package relevance

import (
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/rl/run"
)

// CompareStages prints how two stages of several finished runs differ, a minus b, such as
// two credits: stages "rl-mask" and "rl-outcome". The runs have several seeds, and those
// with the same seed are the folds of one training, whose rows are pooled; a row that
// several of them were tested on counts as the mean. Intervals draw seeds and queries
// (eval.BootstrapCrossed), and p is over seeds (eval.SignFlip).
//
// sets is a pattern of path.Match for the test sets: rows of all sets that match are
// taken together. An empty one compares on each set by itself. Only rows count that both
// stages were tested on in every seed; none is an error.
//
// Closeness is 1 − (said − gold)²/(labels − 1)², and 0 for an unreadable answer; QWK
// compares its mean with that of chance. matters is the smallest difference that matters,
// by which the last column says what the interval shows (eval.Contrast.Finding): of fewer
// than eval.FewestRuns seeds nothing.
func CompareStages(w io.Writer, dirs []string, a, b, sets string, matters float64) error {
	stages := []string{a, b}
	said := map[string][2]seeds{} // by test set
	others := map[string]bool{}   // test sets that sets does not match
	for _, dir := range dirs {
		f, err := run.Open(dir)
		if err != nil {
			return err
		}
		r, err := ReadReport(dir)
		if err != nil {
			return err
		}
		for k, stage := range stages {
			p, err := ReadPredictions(dir, stage)
			if err != nil {
				return err
			}
			for set, all := range p {
				if set == ValidationSet {
					continue
				}
				if sets != "" {
					matches, err := path.Match(sets, set)
					if err != nil {
						return fmt.Errorf("the pattern of test sets, %q: %w", sets, err)
					}
					if !matches {
						others[set] = true
						continue
					}
					set = sets
				}
				if _, ok := said[set]; !ok {
					said[set] = [2]seeds{{}, {}}
				}
				said[set][k].add(f.Manifest().Seed, len(r.Task.Labels), all)
			}
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "test set\trows\tseeds\tmeasure\t%s\t%s\t%[1]s − %[2]s [95%%]\tdeviation\t%[1]s better in\tp\t%[1]s is\n", a, b)
	compared := false
	for _, set := range slices.Sorted(maps.Keys(said)) {
		ids, queries := said[set][0].common(said[set][1])
		if len(ids) == 0 {
			continue
		}
		compared = true
		for m, measure := range []string{"accuracy", "closeness"} {
			x, y := said[set][0].values(ids, m), said[set][1].values(ids, m)
			c := eval.CompareRuns(x, y, eval.BootstrapOptions{Seed: bootstrapStream, Clusters: queries})
			spread := "[–]\t–" // of one seed
			if c.Runs > 1 {
				spread = fmt.Sprintf("[%+.4f %+.4f]\t%.4f", c.Low, c.High, c.Deviation)
			}
			finding := c.Finding(matters).String()
			if c.Runs < eval.FewestRuns {
				finding = "too few seeds"
			}
			fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%.4f\t%.4f\t%+.4f %s\t%d of %d\t%.2g\t%s\n", set, len(ids), c.Runs, measure,
				meanOfAll(x), meanOfAll(y), c.Estimate, spread, c.Better, c.Runs, c.P, finding)
		}
	}
	if !compared && len(said) == 0 && len(others) > 0 {
		return fmt.Errorf("no test set matches %q; there are %s", sets, strings.Join(slices.Sorted(maps.Keys(others)), ", "))
	}
	if !compared {
		return fmt.Errorf("stages %s and %s have no test row in common over all seeds", a, b)
	}
	return t.Flush()
}

// seeds is what the models of each seed said of the rows.
type seeds map[uint64]map[string]*saidOf

// saidOf is what the models of a seed said of one row.
type saidOf struct {
	query string
	n     float64
	sum   [2]float64 // of accuracy, of closeness
}

func (s seeds) add(seed uint64, labels int, all []Prediction) {
	if s[seed] == nil {
		s[seed] = map[string]*saidOf{}
	}
	for _, p := range all {
		r := s[seed][p.ID]
		if r == nil {
			r = &saidOf{query: p.Query}
			s[seed][p.ID] = r
		}
		r.n++
		if p.Said == p.Gold {
			r.sum[0]++
		}
		if p.Said >= 0 {
			far := float64(p.Said-p.Gold) / float64(labels-1)
			r.sum[1] += 1 - far*far
		}
	}
}

// common lists the rows that all seeds of both have, sorted, with their queries.
func (s seeds) common(o seeds) (ids, queries []string) {
	if !slices.Equal(slices.Sorted(maps.Keys(s)), slices.Sorted(maps.Keys(o))) {
		return nil, nil
	}
	count, query := map[string]int{}, map[string]string{}
	for _, x := range []seeds{s, o} {
		for _, rows := range x {
			for id, r := range rows {
				count[id]++
				query[id] = r.query
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(count)) {
		if count[id] == len(s)+len(o) {
			ids, queries = append(ids, id), append(queries, query[id])
		}
	}
	return ids, queries
}

// values has a row for each seed, in ascending order, of a measure of the rows.
func (s seeds) values(ids []string, measure int) [][]float64 {
	var all [][]float64
	for _, seed := range slices.Sorted(maps.Keys(s)) {
		x := make([]float64, len(ids))
		for j, id := range ids {
			r := s[seed][id]
			x[j] = r.sum[measure] / r.n
		}
		all = append(all, x)
	}
	return all
}

func meanOfAll(x [][]float64) float64 {
	mean, _ := eval.Mean(slices.Concat(x...))
	return mean
}
