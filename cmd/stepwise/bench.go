package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/bench"
	"github.com/stepwise-rl/stepwise/tensor/cpu"
)

// runBench measures the engine and prints a report.
func runBench(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise bench"
	flags := flag.NewFlagSet(prog, flag.ContinueOnError)
	flags.SetOutput(errs)
	file := flags.String("json", "", "write the report as JSON to `FILE` too")
	sections := flags.String("sections", strings.Join(bench.Sections, ","), "what to measure, separated by commas")
	models := flags.String("models", strings.Join(bench.Models, ","), "which models to train and sample from, separated by commas")
	isa := flags.String("isa", cpu.Auto.String(), "instruction set: auto, or one that the machine has")
	var o bench.Options
	flags.BoolVar(&o.Quick, "quick", false, "small shapes, a few seconds: to see that it runs, not how fast it is")
	flags.Usage = func() {
		w := flags.Output()
		fmt.Fprintf(w, "usage: %s [flags]\n\nMeasures matrix products, training steps and sampling on this machine, beside\nthe peak of its multiply-adds and the bandwidth of its memory. Nothing else\nshould run meanwhile. docs/performance.md explains the figures.\n\n", prog)
		flags.PrintDefaults()
	}
	if len(args) > 0 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
		flags.SetOutput(out)
	}
	if err := flags.Parse(args); err != nil {
		return finish("", err, io.Discard, exitUsage) // flag has printed it
	}
	if flags.NArg() > 0 {
		return finish(prog, fmt.Errorf("unexpected argument %q", flags.Arg(0)), errs, exitUsage)
	}
	var err error
	if o.Backend.ISA, err = parseISA(*isa); err != nil {
		return finish(prog, err, errs, exitUsage)
	}
	o.Models = strings.Split(*models, ",")
	o.Sections = strings.Split(*sections, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	report, err := bench.Run(ctx, o)
	if err != nil {
		return finish(prog, err, errs, exitInput)
	}
	if err := report.Print(out); err != nil {
		return finish(prog, err, errs, exitInput)
	}
	if *file == "" {
		return exitOK
	}
	text, err := json.MarshalIndent(report, "", "  ")
	if err == nil {
		err = os.WriteFile(*file, append(text, '\n'), 0o666)
	}
	return finish(prog, err, errs, exitInput)
}

// parseISA returns the instruction set of that name that this machine has.
func parseISA(name string) (cpu.ISA, error) {
	if name == cpu.Auto.String() {
		return cpu.Auto, nil
	}
	for _, isa := range cpu.Available() {
		if isa.String() == name {
			return isa, nil
		}
	}
	return 0, fmt.Errorf("-isa %s: want auto or one of %v", name, cpu.Available())
}
