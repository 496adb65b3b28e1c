package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/stepwise-rl/stepwise/cmd/stepwise/internal/bench"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
)

const benchAbout = `Measures matrix products, training steps and sampling on this machine; on its
processor, also each operation on one core and on all, beside the peak of its
multiply-adds and the bandwidth of its memory. Nothing else should run meanwhile.
docs/performance.md explains the figures.`

// runBench measures the engine and prints a report.
func runBench(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise bench"
	flags := flag.NewFlagSet(prog, flag.ContinueOnError)
	file := flags.String("json", "", "write the report as JSON to `FILE` too")
	sections := flags.String("sections", strings.Join(bench.Sections, ","), "what to measure, separated by commas")
	models := flags.String("models", "", "which models to train and sample from, separated by commas, of "+strings.Join(bench.Models, ",")+" (default 0.2M,1M,10M,100M)")
	isa := flags.String("isa", cpu.ISAAuto.String(), "instruction set: auto, or one that the machine has")
	export := flags.String("export", "", "measure nothing, but write the models' weights to `DIR` as GGUF, for other engines")
	var o bench.Options
	backendFlag(flags, &o.Backend)
	flags.BoolVar(&o.Quick, "quick", false, "small shapes, a few seconds: to see that it runs, not how fast it is")
	if _, status, done := theArguments(flags, "", benchAbout, args, out, errs); done {
		return status
	}
	var err error
	if o.CPU.ISA, err = parseISA(*isa); err != nil {
		return misused(flags, err, errs)
	}
	if *models != "" {
		o.Models = strings.Split(*models, ",")
	}
	o.Sections = strings.Split(*sections, ",")
	ctx, stop := untilStopped()
	defer stop()
	o.Progress = func(line string) { fmt.Fprintln(errs, line) }
	if *export != "" {
		return finish(prog, bench.Export(ctx, *export, o), errs, exitInput)
	}
	report, err := bench.Run(ctx, o)
	if report != nil { // of an interrupted run, what it measured
		err = errors.Join(err, report.Print(out), writeReport(*file, report))
	}
	if errors.Is(err, context.Canceled) {
		return finish(prog, err, errs, exitInterrupted)
	}
	return finish(prog, err, errs, exitInput)
}

// backendFlag adds the flag of what tensor.Open takes.
func backendFlag(flags *flag.FlagSet, backend *string) {
	flags.StringVar(backend, "backend", "cpu", "`BACKEND` that computes: "+strings.Join(tensor.Names(), ", ")+
		"; a device and settings may follow, as in NAME:0,precision=bf16,memory=60GiB")
}

// writeReport writes the report as JSON, if there is a file to write to.
func writeReport(file string, report *bench.Report) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o666)
}

// parseISA returns the instruction set of that name that this machine has.
func parseISA(name string) (cpu.ISA, error) {
	if name == cpu.ISAAuto.String() {
		return cpu.ISAAuto, nil
	}
	for _, isa := range cpu.Available() {
		if isa.String() == name {
			return isa, nil
		}
	}
	return 0, fmt.Errorf("-isa %s: want auto or one of %v", name, cpu.Available())
}
