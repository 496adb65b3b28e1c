// Command study measures what step credit is worth: many seeds, a tuned learning rate for
// every arm, controls that know the verdicts but not their places, two tasks, and one
// factor changed at a time. What is to be run stands in study.json, and was committed
// before any of it ran.
//
//	go run ./examples/study -plan     # what it takes, and what it can show
//	go run ./examples/study           # run what is missing; stop it with Ctrl-C, go on with the same command
//	go run ./examples/study -report docs/evidence   # tables and figures of what there is
//	go run ./examples/study -gradients 8            # theory beside practice
//	go run ./examples/study -parts grid -gradients 3 -watch mask@0.0004  # a training, looked at on the way
//
// Each run is a row of docs/evidence/rows.csv, written as it ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/record/progress"
)

type options struct {
	config, rows, dir, parts, report, watch string
	workers, seeds                          int
	plan                                    bool
}

func main() {
	var o options
	flag.StringVar(&o.config, "config", "examples/study/study.json", "what to run")
	flag.StringVar(&o.rows, "rows", "docs/evidence/rows.csv", "the results; other files are written beside it")
	flag.StringVar(&o.dir, "dir", "runs/study", "warm-ups and logs")
	flag.StringVar(&o.parts, "parts", "", "these parts alone, in this order (names with commas)")
	flag.IntVar(&o.workers, "workers", runtime.GOMAXPROCS(0), "runs at once, each on one core")
	flag.BoolVar(&o.plan, "plan", false, "say what it takes, and what it can show")
	flag.StringVar(&o.report, "report", "", "write tables and figures into this folder")
	flag.IntVar(&o.seeds, "gradients", 0, "compare gradients at the warm-ups of so many seeds of the part arms, or of that in -parts")
	flag.StringVar(&o.watch, "watch", "", "with -gradients: train arms at rates (mask@0.0004,...) and measure them on the way")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := do(ctx, os.Stdout, o)
	if errors.Is(err, context.Canceled) {
		log.Fatal("stopped; the same command goes on")
	}
	if err != nil {
		log.Fatal(err)
	}
}

func do(ctx context.Context, out io.Writer, o options) (err error) {
	s, err := readStudy(o.config)
	if err != nil {
		return err
	}
	if o.seeds > 0 && o.parts == "" {
		o.parts = "arms"
	}
	todo, err := s.named(o.parts)
	if err != nil {
		return err
	}
	if p := todo[0]; o.seeds > p.seeds() { // those of others must stay unseen
		return fmt.Errorf("part %s has %d seeds, fewer than %d", p.Name, p.seeds(), o.seeds)
	}
	r, err := readResults(o.rows)
	if err != nil {
		return err
	}
	switch beside := filepath.Dir(o.rows); {
	case o.report != "":
		return writeReport(o.report, s, r)
	case o.watch != "":
		return s.watch(ctx, out, todo[0], filepath.Join(beside, "watch.csv"), o.dir, o.watch, max(o.seeds, 1))
	case o.seeds > 0:
		return s.gradients(ctx, out, r, todo[0], filepath.Join(beside, "gradients.csv"), o.dir, o.seeds)
	}
	s.plan(out, r, todo, o.workers)
	if o.plan {
		return nil
	}
	if err := r.open(o.rows); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.file.Close()) }()
	for _, p := range todo {
		for did := true; did; { // a grid may have grown
			rates, err := s.rates(r, p)
			if err != nil {
				return err
			}
			if did, err = runPart(ctx, out, r, p, rates, o.dir, o.workers); err != nil {
				return err
			}
		}
	}
	return nil
}

// missing are the units of a part that have no row.
func (r *results) missing(p *part, rates map[string][]float64) []unit {
	return slices.DeleteFunc(p.units(rates), func(u unit) bool { return r.byDigest[u.digest()] != nil })
}

// runPart does the part's missing units, a seed per worker, and reports whether there
// were any.
func runPart(ctx context.Context, out io.Writer, r *results, p *part, rates map[string][]float64, dir string, workers int) (bool, error) {
	todo := r.missing(p, rates)
	if len(todo) == 0 {
		return false, nil
	}
	fmt.Fprintf(out, "%s: %d runs\n", p.Name, len(todo))
	bar := progress.New(out, int64(len(todo)), "LONGTAIL", "VALIDATION")
	defer bar.Close()
	var mu sync.Mutex
	done := int64(0)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(workers, 1))
	for len(todo) > 0 {
		seed, n := todo[0].seed, 1
		for n < len(todo) && todo[n].seed == seed {
			n++
		}
		units := todo[:n]
		todo = todo[n:]
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
	n := s.part(s.Confirm).seeds()
	for i, c := range s.Primary {
		sd := s.Deviation[i]
		fmt.Fprintf(out, "%s − %s: with a deviation of %.3f over seeds, %d seeds are needed to see %.3f with a power of .8; %d seeds see %.4f\n",
			c[0], c[1], sd, eval.PairedRuns(s.Matters, sd, .05, .8), s.Matters, n, eval.PairedDifference(n, sd, .05, .8))
	}
	seconds := map[string][]float64{}
	for _, w := range r.rows {
		seconds[w.Part] = append(seconds[w.Part], w.values["seconds"])
	}
	for _, p := range parts {
		done, total := r.progress(s, p)
		// A run of the base setting, alone, took 26 s; others as their multiplications.
		x := p.setting
		each, from := 2e-9*float64(x.Updates*x.Prompts*x.Group)*200*float64(x.Dim*x.Layers*(4*x.Dim+3*x.FF))/64, "guessed"
		if all := slices.Sorted(slices.Values(seconds[p.Name])); len(all) > 0 {
			each, from = all[len(all)/2], "measured"
		}
		fmt.Fprintf(out, "%-14s %4d of %4d runs left, %5.1f s each (%s): %4.0f minutes with %d at once\n",
			p.Name, total-done, total, each, from, float64(total-done)*each/60/float64(workers), workers)
	}
}

// progress counts the runs of a part that are done, and all of them.
func (r *results) progress(s *study, p *part) (done, total int) {
	rates, err := s.rates(r, p)
	if err != nil { // its grid is not complete
		return 0, p.seeds() * len(p.Arms)
	}
	total = len(p.units(rates))
	return total - len(r.missing(p, rates)), total
}
