// Command relevance trains a small language model to judge the relevance of a
// document to a query in steps, from nothing to a distilled student, and shows
// what step credit changes. It is package relevance on generated notes.
//
// The model learns the task's format and a fallible teacher's habits by supervised
// warm-up, then goes on twice from the same checkpoint with the same budget and
// seeds: with outcome-only credit (plain GRPO) and with Stepwise Advantage Masking.
// The better policy teaches a light encoder. All of them are evaluated on test sets
// with 95% intervals, and the run's folder gets a report.
//
//	go run ./examples/relevance
//	go run ./examples/relevance -resume -out DIR       # after Ctrl-C
//
// For data of your own, write a task file: docs/relevance.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stepwise-rl/stepwise/examples/internal/notes"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/cuda"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/opencl"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/sam"
)

// options are the command line.
type options struct {
	config relevance.Config
	out    string
	resume bool
}

func parseOptions(args []string, errOut io.Writer) (options, error) {
	var names []string
	for _, c := range relevance.Credits() {
		names = append(names, c.Name)
	}
	f := flag.NewFlagSet("relevance", flag.ContinueOnError)
	f.SetOutput(errOut)
	out := f.String("out", "", "run folder (default runs/relevance-TIME)")
	seed := f.Uint64("seed", 1, "seed of everything random")
	steps := f.Int("steps", 0, "training steps of each reinforcement run (0 = the default)")
	credit := f.String("credit", "mask", "step credit compared with outcome-only: "+strings.Join(names, ", "))
	resume := f.Bool("resume", false, "go on in the run folder -out where an earlier run stopped; other flags are left out")
	quick := f.Bool("quick", false, "smoke run: a few seconds, checks itself, learns little")
	backend := f.String("backend", "cpu", "`BACKEND` that computes: "+strings.Join(tensor.Names(), ", ")+"; a device and settings may follow, as in NAME:0,precision=bf16")
	if err := f.Parse(args); err != nil {
		return options{}, err
	}
	i := slices.Index(names, *credit)
	switch {
	case f.NArg() > 0:
		return options{}, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case *steps < 0:
		return options{}, fmt.Errorf("-steps is %d, must not be negative", *steps)
	case i < 0:
		return options{}, fmt.Errorf("-credit is %q, want one of %s", *credit, strings.Join(names, ", "))
	case *resume && *out == "":
		return options{}, errors.New("-resume needs -out, the folder of the run to resume")
	case *resume && f.NFlag() > 2:
		return options{}, errors.New("-resume takes the settings of the run in -out; leave the other flags out")
	case *resume:
		c, _, err := relevance.RunConfig(*out)
		return options{c, *out, true}, err
	}
	c := relevance.Default()
	if *quick {
		c = relevance.Quick()
	}
	c.Seed, c.Backend = *seed, *backend
	if *steps > 0 {
		c.Reinforce.Steps = *steps
	}
	c.Reinforce.Credits = []relevance.NamedCredit{{Name: "outcome", Credit: sam.Outcome{}}}
	if *credit != "outcome" {
		c.Reinforce.Credits = append(c.Reinforce.Credits, relevance.Credits()[i])
	}
	if *out == "" {
		*out = "runs/relevance-" + time.Now().Format("20060102-150405")
	}
	return options{c, *out, false}, nil
}

// train does the run that the options ask for.
func train(ctx context.Context, o options, w io.Writer) error {
	test := 1000
	if o.config.Smoke {
		test = 100
	}
	src := notes.New(notes.Config{Seed: o.config.Seed, TestSize: test, Teacher: notes.DefaultTeacher()})
	_, err := relevance.Train(ctx, src, o.config, o.out, relevance.Options{
		Resume: o.resume, Out: w, Info: map[string]string{"command": "go run ./examples/relevance " + strings.Join(os.Args[1:], " ")},
	})
	return err
}

func main() {
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "relevance:", err)
		os.Exit(2)
	}
	// The first signal asks the run to save and stop at the next step; a
	// second one kills it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err = train(ctx, o, os.Stdout)
	if interrupted, ok := errors.AsType[*relevance.Interrupted](err); ok {
		fmt.Printf("\n%v\n%s\n", interrupted, wayOn(o.out))
		os.Exit(130)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "relevance:", err)
		os.Exit(1)
	}
}

// wayOn says how to go on with a run that was interrupted.
func wayOn(dir string) string {
	if _, err := run.Open(dir); err != nil {
		return "it had not begun: the same command starts it again"
	}
	return "resume with: go run ./examples/relevance -resume -out " + dir
}
