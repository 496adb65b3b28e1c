package relevance

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/rl/run"
)

// ReadReport returns what the finished run in a folder found.
func ReadReport(dir string) (*report.Run, error) {
	f, err := run.Open(dir)
	if err != nil {
		return nil, err
	}
	var r report.Run
	found, err := readJSON(f, reportFile, &r)
	if err == nil && !found {
		err = fmt.Errorf("%s: the run has no report yet: it is not finished", dir)
	}
	return &r, err
}

// WriteReport writes the page of a finished run.
func WriteReport(w io.Writer, dir string) error {
	r, err := ReadReport(dir)
	if err != nil {
		return err
	}
	f, err := run.Open(dir)
	if err != nil {
		return err
	}
	var names []string
	for _, s := range r.Stages {
		names = append(names, s.Name)
	}
	logs, err := readLogs(f, names)
	if err != nil {
		return err
	}
	return report.Write(w, r, logs)
}

// paired is what two models said of one row.
type paired struct{ a, b eval.Pair }

// Compare prints how the best models of two finished runs differ, A minus B, on the rows
// that both were tested on, with paired 95% bootstrap intervals by query. Runs that have no test
// row in common are an error.
func Compare(w io.Writer, dirA, dirB string) error {
	a, err := bestPredictions(dirA)
	if err != nil {
		return err
	}
	b, err := bestPredictions(dirB)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "test set\trows\tmetric\tA: %s\tB: %s\tA − B [95%%]\n", a.stage, b.stage)
	any := false
	for _, set := range slices.Sorted(func(yield func(string) bool) {
		for name := range a.said {
			if name != ValidationSet && !yield(name) {
				return
			}
		}
	}) {
		both, queries := join(a.said[set], b.said[set])
		if len(both) == 0 {
			continue
		}
		any = true
		o := eval.BootstrapOptions{Replicates: 1000, Seed: bootstrapStream, Clusters: queries}
		for _, m := range []struct {
			name string
			of   func([]eval.Pair) float64
		}{{"accuracy", eval.Accuracy}, {"QWK", func(p []eval.Pair) float64 { return eval.QuadraticKappa(eval.Answered(p)) }}} {
			one := func(side func(paired) eval.Pair) func([]paired) float64 {
				return func(all []paired) float64 {
					pairs := make([]eval.Pair, len(all))
					for i := range all {
						pairs[i] = side(all[i])
					}
					return m.of(pairs)
				}
			}
			ofA, ofB := one(func(p paired) eval.Pair { return p.a }), one(func(p paired) eval.Pair { return p.b })
			d := eval.Bootstrap(both, func(all []paired) float64 { return ofA(all) - ofB(all) }, o)
			spread := "[–]" // of one query
			if !math.IsNaN(d.Low) {
				spread = fmt.Sprintf("[%+.3f %+.3f]", d.Low, d.High)
			}
			fmt.Fprintf(t, "%s\t%d\t%s\t%.3f\t%.3f\t%+.3f %s\n", set, len(both), m.name, ofA(both), ofB(both), d.Estimate, spread)
		}
	}
	if !any {
		return errors.New("the runs have no test row in common")
	}
	return t.Flush()
}

type bestOf struct {
	stage string
	said  Predictions
}

func bestPredictions(dir string) (b bestOf, err error) {
	r, err := ReadReport(dir)
	if err != nil {
		return b, err
	}
	b.stage = r.Best
	b.said, err = ReadPredictions(dir, r.Best)
	return b, err
}

// join pairs the predictions of the same rows with the same label.
func join(a, b []Prediction) (both []paired, queries []string) {
	of := map[string]*Prediction{}
	for i := range b {
		of[b[i].ID] = &b[i]
	}
	for _, x := range a {
		if y := of[x.ID]; y != nil && y.Query == x.Query && y.Gold == x.Gold {
			both = append(both, paired{eval.Pair{Gold: x.Gold, Pred: x.Said}, eval.Pair{Gold: y.Gold, Pred: y.Said}})
			queries = append(queries, x.Query)
		}
	}
	return both, queries
}
