// Command relevance trains a small language model to judge the relevance of a
// document to a query in steps, from nothing to a distilled student, and shows
// what step credit changes.
//
// It learns the task's format and a fallible teacher's habits by supervised
// warm-up, then goes on twice from the same checkpoint with the same budget
// and seeds: with outcome-only credit (plain GRPO) and with Stepwise Advantage
// Masking. The better policy teaches a light encoder. All of them are
// evaluated on test sets with 95% intervals, and the run's folder gets a
// report.
//
//	go run ./examples/relevance                        # generated data
//	go run ./examples/relevance -data FILE             # your own, as JSON lines
//	go run ./examples/relevance -resume -out DIR       # after Ctrl-C
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	_ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl/run"
)

// options are the command line.
type options struct {
	Out     string
	Data    string
	Labels  string
	Fold    int
	Seed    uint64
	Steps   int
	Credit  string
	Resume  bool
	Quick   bool
	Backend string

	given map[string]bool // the flags that were given
}

func parseOptions(args []string, errOut io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("relevance", flag.ContinueOnError)
	f.SetOutput(errOut)
	f.StringVar(&o.Out, "out", "", "run folder (default runs/relevance-TIME)")
	f.StringVar(&o.Data, "data", "", "JSONL file of {\"query\",\"document\",\"label\"}, or a Chorus judgement folder; empty generates notes")
	f.StringVar(&o.Labels, "labels", "", "with a JSONL file: the labels in ascending order, separated by commas; empty takes those of the file if they are numbers")
	f.IntVar(&o.Fold, "fold", 0, "the fold to test on: of the Chorus folder, or of a fifth-by-query split of a JSONL file")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of everything random")
	f.IntVar(&o.Steps, "steps", 0, "reinforcement learning steps of each run (0 = the default for the data)")
	f.StringVar(&o.Credit, "credit", "mask", "step credit compared with outcome-only: "+strings.Join(creditNames(), ", "))
	f.BoolVar(&o.Resume, "resume", false, "go on in the run folder -out where an earlier run stopped; other flags may be left out")
	f.BoolVar(&o.Quick, "quick", false, "smoke run: a few seconds, checks itself, learns little")
	f.StringVar(&o.Backend, "backend", "cpu", "tensor backend")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.given = map[string]bool{}
	f.Visit(func(f *flag.Flag) { o.given[f.Name] = true })
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.Steps < 0:
		return o, fmt.Errorf("-steps is %d, must not be negative", o.Steps)
	case o.Resume && o.Out == "":
		return o, errors.New("-resume needs -out, the folder of the run to resume")
	}
	if _, err := creditOf(o.Credit); err != nil {
		return o, err
	}
	if o.Out == "" {
		o.Out = "runs/relevance-" + time.Now().Format("20060102-150405")
	}
	return o, nil
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
	err = execute(ctx, o, os.Stdout)
	if interrupted, ok := errors.AsType[*interruptedError](err); ok {
		fmt.Printf("\n%v\n%s\n", interrupted, wayOn(o))
		os.Exit(130)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "relevance:", err)
		os.Exit(1)
	}
}

// wayOn says how to go on with a run that was interrupted.
func wayOn(o options) string {
	if _, err := run.Open(o.Out); err != nil {
		return "it had not begun: the same command starts it again"
	}
	return "resume with: go run ./examples/relevance -resume -out " + o.Out
}
