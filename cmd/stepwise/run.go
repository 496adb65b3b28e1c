package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/stepwise-rl/stepwise/rl/run"
)

var runCommands = []command{
	{"check", "look for missing, torn and altered files in a run's folder", runCheck},
	{"diff", "show how two runs differ", runDiff},
	{"show", "show a run's settings, stages, last metrics and checkpoints", runShow},
}

func runRun(args []string, in io.Reader, out, errs io.Writer) int {
	return dispatch("stepwise run", runCommands, args, in, out, errs)
}

const runCheckAbout = `Reads all files of a run's folder and lists those that are missing, torn or altered,
with what -repair would do about each. The exit status is 1 if any remain.`

func runCheck(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise run check"
	flags := flag.NewFlagSet(prog, flag.ContinueOnError)
	repair := flags.Bool("repair", false, "move damaged files aside: a file stays beside its place as NAME.damaged.\nNobody may be writing the run.")
	dirs, status, done := theArguments(flags, "FOLDER", runCheckAbout, args, out, errs)
	if done {
		return status
	}
	return interruptible(prog, errs, func(ctx context.Context) error {
		return checked(out, func(out io.Writer) error { return checkRun(ctx, dirs[0], *repair, out) })
	})
}

// errFaults is returned if the output lists faults that remain.
var errFaults = errors.New("not all is as it was written")

func checkRun(ctx context.Context, dir string, repair bool, out io.Writer) error {
	check := run.Check
	if repair {
		check = run.Repair
	}
	faults, err := check(ctx, dir)
	left := 0
	for _, f := range faults {
		fmt.Fprintln(out, f)
		switch {
		case f.Remedy == "":
			left++
			fmt.Fprintln(out, "  cannot be repaired")
		case repair && err == nil:
			fmt.Fprintln(out, "  done:", f.Remedy)
		default:
			left++
			fmt.Fprintln(out, "  -repair would", f.Remedy)
		}
	}
	if err == nil && left > 0 {
		err = errFaults
	}
	if err == nil && len(faults) == 0 {
		fmt.Fprintln(out, "all is as it was written")
	}
	return err
}

const runDiffAbout = `Lists how the runs in two folders differ: settings, data and seed; per stage the first
training step with different metrics (but for times and what servers did) and whether
the last checkpoints hold the same policy; artefacts. The exit status is 1 if there is
a difference.`

func runDiff(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise run diff"
	dirs, status, done := theArguments(flag.NewFlagSet(prog, flag.ContinueOnError), "A B", runDiffAbout, args, out, errs)
	if done {
		return status
	}
	return interruptible(prog, errs, func(ctx context.Context) error {
		return checked(out, func(out io.Writer) error { return diffRuns(ctx, dirs[0], dirs[1], out) })
	})
}

func diffRuns(ctx context.Context, first, second string, out io.Writer) error {
	a, err := run.Open(first)
	if err != nil {
		return err
	}
	b, err := run.Open(second)
	if err != nil {
		return err
	}
	lines, err := run.Compare(ctx, a, b)
	if err != nil {
		return err
	}
	for _, line := range lines {
		fmt.Fprintln(out, line)
	}
	if len(lines) > 0 {
		return errors.New("the runs differ")
	}
	fmt.Fprintln(out, "the runs are equal in settings, data and seed, in the metrics of every step (but for times and what servers did), in the policies of the last checkpoints and in the artefacts")
	return nil
}

const runShowAbout = `Shows what the run in a folder was started with and how far it has come, also while
it is running.`

func runShow(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise run show"
	dirs, status, done := theArguments(flag.NewFlagSet(prog, flag.ContinueOnError), "FOLDER", runShowAbout, args, out, errs)
	if done {
		return status
	}
	f, err := run.Open(dirs[0])
	if err == nil {
		err = checked(out, func(out io.Writer) error { return showRun(f, out) })
	}
	return finish(prog, err, errs, exitInput)
}

func showRun(f *run.Folder, out io.Writer) error {
	writer, err := f.Writer()
	if err != nil {
		return err
	}
	writer = cmp.Or(writer, "nobody")
	m := f.Manifest()
	t := &table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	t.row("created", "%s", m.Created.Format(time.DateTime))
	t.row("version", "%s", m.Version)
	t.row("writing", "%s", writer)
	t.row("seed", "%d", m.Seed)
	for _, name := range slices.Sorted(maps.Keys(m.Data)) {
		t.row("data", "%s %.12s…", name, m.Data[name])
	}
	for _, name := range slices.Sorted(maps.Keys(m.Info)) {
		t.row(name, "%s", m.Info[name])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var settings bytes.Buffer
	if err := json.Indent(&settings, m.Settings, "", "  "); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nsettings %s\n", &settings)
	stages, err := f.Stages()
	if err != nil {
		return err
	}
	for _, s := range stages {
		if err := showStage(f, s, out); err != nil {
			return err
		}
	}
	return showArtefacts(f, out)
}

// showStage writes how far a stage has come, and its last metrics.
func showStage(f *run.Folder, stage string, out io.Writer) error {
	fmt.Fprintf(out, "\nstage %s\n", stage)
	t := &table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	logs, err := f.Logs(stage)
	if err != nil {
		return err
	}
	var last run.Line
	for _, log := range logs {
		lines, step := 0, int64(0)
		for l, err := range f.Lines(stage, log) {
			if err != nil {
				return err
			}
			if lines, step = lines+1, l.Step; log == run.Metrics {
				last = l
			}
		}
		t.row(log, "%s lines, the last of step %s", n(lines), n(int(step)))
	}
	checkpoints, err := f.Checkpoints(stage).List()
	if err != nil {
		return err
	}
	for _, c := range checkpoints {
		if c.Damage != nil {
			t.row("checkpoint", "%s: %v", c.Name, c.Damage)
			continue
		}
		t.row("checkpoint", "%s", c.Name)
	}
	if last.Data != nil {
		metrics, err := run.ParseMetrics(last)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(metrics)) {
			t.row(name, "%.4g", metrics[name])
		}
	}
	return t.Flush()
}

func showArtefacts(f *run.Folder, out io.Writer) error {
	names, err := f.Artefacts()
	if err != nil || len(names) == 0 {
		return err
	}
	fmt.Fprintln(out, "\nartefacts")
	t := &table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	for _, name := range names {
		data, err := f.Artefact(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, run.ErrDamaged):
			t.row(name, "damaged")
		case err != nil:
			return err
		default:
			t.row(name, "%s bytes", n(len(data)))
		}
	}
	return t.Flush()
}
