// Command study measures what step credit is worth: many seeds, a tuned learning rate for
// every arm, controls that know the verdicts but not their places, two tasks, and one
// factor changed at a time. What is to be run stands in study.json, and was committed
// before any of it ran.
//
//	go run ./examples/study -plan     # what it takes, and what it can show
//	go run ./examples/study           # run what is missing; stop it with Ctrl-C, go on with the same command
//	go run ./examples/study -report docs/evidence   # tables and figures of what there is
//	go run ./examples/study -gradients 8            # theory beside practice
//
// Each run is a row of docs/evidence/rows.csv, written as it ends.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/record/progress"
)

func main() {
	config := flag.String("config", "examples/study/study.json", "what to run")
	rows := flag.String("rows", "docs/evidence/rows.csv", "the results")
	dir := flag.String("dir", "runs/study", "warm-ups and logs")
	parts := flag.String("parts", "", "run these parts alone, in this order (names with commas)")
	workers := flag.Int("workers", runtime.GOMAXPROCS(0), "runs at once, each on one core")
	plan := flag.Bool("plan", false, "say what it takes, and what it can show")
	report := flag.String("report", "", "write tables and figures into this folder")
	probe := flag.Int("gradients", 0, "compare gradients at the warm-ups of so many seeds, and write them beside the rows")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := error(nil)
	if *probe > 0 {
		err = gradients(ctx, os.Stdout, *config, *rows, *dir, *probe)
	} else {
		err = do(ctx, os.Stdout, *config, *rows, *dir, *parts, *workers, *plan, *report)
	}
	if errors.Is(err, context.Canceled) {
		log.Fatal("stopped; the same command goes on")
	}
	if err != nil {
		log.Fatal(err)
	}
}

func do(ctx context.Context, out io.Writer, config, rows, dir, names string, workers int, plan bool, report string) (err error) {
	s, err := readStudy(config)
	if err != nil {
		return err
	}
	r, err := openResults(rows)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.file.Close()) }()
	if report != "" {
		return writeReport(report, s, r)
	}
	var todo []*part
	if names == "" {
		for i := range s.Parts {
			todo = append(todo, &s.Parts[i])
		}
	} else {
		for name := range strings.SplitSeq(names, ",") {
			p := s.part(name)
			if p == nil {
				return fmt.Errorf("-parts: there is no part %q in %s", name, config)
			}
			todo = append(todo, p) // in this order
		}
	}
	s.plan(out, r, todo, workers)
	if plan {
		return nil
	}
	for _, p := range todo {
		for {
			rates, err := s.rates(r, p)
			if err != nil {
				return err
			}
			did, err := runPart(ctx, out, r, p, rates, dir, workers)
			if err != nil {
				return err
			}
			if !did {
				break // and the grid has not grown
			}
		}
	}
	return nil
}

// grown is how many times a grid is extended at most, and by which factor.
const grown, factor = 3, 2

// rates are the learning rates of each arm of a part: the grid, extended for all arms as
// long as an arm's best lies at its edge, or the best of the part's grid.
func (s *study) rates(r *results, p *part) (map[string][]float64, error) {
	rates := map[string][]float64{}
	if len(p.Rates) == 0 {
		grid := s.part(p.Grid)
		all, err := s.rates(r, grid)
		for _, arm := range p.Arms {
			best, ok := bestRate(r, grid, arm, all[arm])
			if !ok {
				err = errors.Join(err, fmt.Errorf("part %s needs the grid %s, which is not complete for %s", p.Name, grid.Name, arm))
			}
			rates[arm] = []float64{best}
		}
		return rates, err
	}
	grid := slices.Sorted(slices.Values(p.Rates))
	for range grown {
		low, high := false, false
		for _, arm := range p.Arms {
			best, ok := bestRate(r, p, arm, grid)
			low = low || ok && best == grid[0]
			high = high || ok && best == grid[len(grid)-1]
		}
		if low {
			grid = slices.Insert(grid, 0, grid[0]/factor)
		}
		if high {
			grid = append(grid, grid[len(grid)-1]*factor)
		}
	}
	for _, arm := range p.Arms {
		rates[arm] = grid
	}
	return rates, nil
}

// bestRate is the rate with the highest mean accuracy on validation queries, the lowest
// of several; false if a run is missing.
func bestRate(r *results, p *part, arm string, grid []float64) (best float64, ok bool) {
	top := math.Inf(-1)
	for _, rate := range grid {
		rows := r.of(p, arm, rate)
		if len(rows) <= p.Seeds[1]-p.Seeds[0] {
			return 0, false
		}
		sum := 0.0
		for _, w := range rows {
			sum += w.values["VALIDATION"]
		}
		if sum > top+1e-9 {
			top, best = sum, rate
		}
	}
	return best, len(grid) > 0
}

// runPart does the part's missing units, a seed per worker, and reports whether there
// were any.
func runPart(ctx context.Context, out io.Writer, r *results, p *part, rates map[string][]float64, dir string, workers int) (bool, error) {
	bySeed := map[int][]unit{}
	missing := 0
	for _, u := range p.units(rates) {
		if r.byDigest[u.digest()] == nil {
			bySeed[u.seed] = append(bySeed[u.seed], u)
			missing++
		}
	}
	if missing == 0 {
		return false, nil
	}
	fmt.Fprintf(out, "%s: %d runs of %d seeds\n", p.Name, missing, len(bySeed))
	bar := progress.New(out, int64(missing), "LONGTAIL", "VALIDATION")
	defer bar.Close()
	var mu sync.Mutex
	done := int64(0)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(workers, 1))
	for seed := p.Seeds[0]; seed <= p.Seeds[1]; seed++ {
		units := bySeed[seed]
		if len(units) == 0 {
			continue
		}
		group.Go(func() (err error) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c, err := openCell(ctx, dir, p.setting, seed)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, c.folder.Close()) }()
			for _, u := range units {
				w, err := c.run(ctx, u)
				if err != nil {
					return fmt.Errorf("%s, seed %d, %s at %g: %w", p.Name, seed, u.arm, u.rate, err)
				}
				w.Part = p.Name
				mu.Lock()
				done++
				err = errors.Join(r.add(w), bar.Record(done, w.values))
				mu.Unlock()
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return true, group.Wait()
}

// plan prints what the primary contrasts can show, and how long the parts take.
func (s *study) plan(out io.Writer, r *results, parts []*part, workers int) {
	confirm := s.part(s.Confirm)
	n := confirm.Seeds[1] - confirm.Seeds[0] + 1
	for i, c := range s.Primary {
		sd := s.Deviation[i]
		fmt.Fprintf(out, "%s − %s: with a deviation of %.3f over seeds, %d seeds are needed to see %.3f with a power of .8; %d seeds see %.4f\n",
			c[0], c[1], sd, eval.PairedRuns(s.Matters, sd, .05, .8), s.Matters, n, sd*math.Sqrt(7.84888/float64(n))) // (1.95996 + 0.84162)², as in PairedRuns
	}
	seconds := map[string][]float64{}
	for _, w := range r.rows {
		seconds[w.Part] = append(seconds[w.Part], w.values["seconds"])
	}
	for _, p := range parts {
		total := (p.Seeds[1] - p.Seeds[0] + 1) * len(p.Arms) * max(len(p.Rates), 1)
		missing := total
		if rates, err := s.rates(r, p); err == nil {
			units := p.units(rates)
			total, missing = len(units), 0
			for _, u := range units {
				if r.byDigest[u.digest()] == nil {
					missing++
				}
			}
		}
		each, from := median(seconds[p.Name]), "measured"
		if math.IsNaN(each) {
			// A run of the base setting, alone, took 26 s; others as their multiplications.
			x := p.setting
			each = 2e-9 * float64(x.Updates*x.Prompts*x.Group) * 200 * float64(x.Dim*x.Layers*(4*x.Dim+3*x.FF)) / 64
			from = "guessed"
		}
		fmt.Fprintf(out, "%-14s %4d of %4d runs left, %5.1f s each (%s): %4.0f minutes with %d at once\n",
			p.Name, missing, total, each, from, float64(missing)*each/60/float64(workers), workers)
	}
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	x = slices.SortedFunc(slices.Values(x), cmp.Compare[float64])
	return x[len(x)/2]
}
