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
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q", flag.Arg(0))
	}
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
	defer catch(&err)
	s := readStudy(o.config, o.rows)
	if o.seeds > 0 && o.parts == "" {
		o.parts = "arms"
	}
	todo := s.named(o.parts)
	switch p := todo[0]; {
	case o.seeds > len(p.seeds()): // those of others must stay unseen
		fail("part %s has %d seeds, fewer than %d", p.Name, len(p.seeds()), o.seeds)
	case o.report != "":
		s.report(o.report)
		return nil
	case o.watch != "":
		watch(ctx, out, o, p)
		return nil
	case o.seeds > 0:
		s.gradients(ctx, out, o, p)
		return nil
	}
	s.plan(out, todo, o.workers)
	if o.plan {
		return nil
	}
	s.open(o.rows)
	defer func() { err = errors.Join(err, s.file.Close()) }()
	for _, p := range todo {
		for s.run(ctx, out, o, p) { // again, as a grid may have grown
		}
	}
	return nil
}

// run does the missing units of a part, a seed per worker, and reports whether there were
// any.
func (s *study) run(ctx context.Context, out io.Writer, o options, p *part) bool {
	check(s.choose(p))
	missing := s.missing(p)
	if len(missing) == 0 {
		return false
	}
	fmt.Fprintf(out, "%s: %d runs\n", p.Name, len(missing))
	bar := progress.New(out, int64(len(missing)), "LONGTAIL", "VALIDATION")
	defer bar.Close()
	var mu sync.Mutex
	done := int64(0)
	add := func(u unit, w *row) {
		mu.Lock()
		defer mu.Unlock()
		s.add(p, u, w)
		done++
		check(bar.Record(done, w.values))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(o.workers, 1))
	for _, seed := range p.seeds() {
		units := slices.DeleteFunc(slices.Clone(missing), func(u unit) bool { return u.seed != seed })
		if len(units) == 0 {
			continue
		}
		group.Go(func() error {
			return inCell(ctx, o.dir, p, seed, func(c *cell) {
				for _, u := range units {
					add(u, c.run(ctx, u))
				}
			})
		})
	}
	check(group.Wait())
	return true
}

// plan prints what the primary contrasts can show, and how long the parts take.
func (s *study) plan(out io.Writer, parts []*part, workers int) {
	n := len(s.part(s.Confirm).seeds())
	for i, c := range s.Primary {
		sd := s.Deviation[i]
		fmt.Fprintf(out, "%s − %s: with a deviation of %.3f over seeds, %d seeds are needed to see %.3f with a power of .8; %d seeds see %.4f\n",
			c[0], c[1], sd, eval.PairedRuns(s.Matters, sd, .05, .8), s.Matters, n, eval.PairedDifference(n, sd, .05, .8))
	}
	for _, p := range parts {
		done, total := s.progress(p)
		var seconds []float64
		for _, w := range s.rows {
			if w.part == p.Name {
				seconds = append(seconds, w.values["seconds"])
			}
		}
		// A run of the base setting, alone, took 26 s; others as their multiplications.
		x := p.setting
		each, from := 2e-9*float64(x.Updates*x.Prompts*x.Group)*200*float64(x.Dim*x.Layers*(4*x.Dim+3*x.FF))/64, "guessed"
		if n := len(seconds); n > 0 {
			slices.Sort(seconds)
			each, from = seconds[n/2], "measured"
		}
		fmt.Fprintf(out, "%-14s %4d of %4d runs left, %5.1f s each (%s): %4.0f minutes with %d at once\n",
			p.Name, total-done, total, each, from, float64(total-done)*each/60/float64(workers), workers)
	}
}
