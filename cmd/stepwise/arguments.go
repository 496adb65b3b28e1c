package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// parseArguments parses a command's flags, which may stand before, between and behind
// its arguments, and returns these. names are the arguments in the usage line: "A B".
// done says that there is nothing left to do but to exit with the status, because of -h
// or an error.
func parseArguments(f *flag.FlagSet, names, about string, args []string, out, errs io.Writer) (given []string, status int, done bool) {
	var text bytes.Buffer // of package flag
	f.SetOutput(&text)
	f.Usage = func() {
		usage := f.Name()
		f.VisitAll(func(*flag.Flag) { usage = f.Name() + " [flags]" })
		fmt.Fprintf(&text, "usage: %s\n\n%s\n\n", strings.TrimSpace(usage+" "+names), about)
		f.PrintDefaults()
	}
	for {
		err := f.Parse(args)
		switch {
		case errors.Is(err, flag.ErrHelp):
			_, _ = out.Write(text.Bytes())
			return nil, exitOK, true
		case err != nil:
			return nil, misused(f, err, errs), true
		case f.NArg() == 0:
			return given, exitOK, false
		}
		given, args = append(given, f.Arg(0)), f.Args()[1:]
	}
}

// theArguments is parseArguments for a command that wants as many arguments as it names.
func theArguments(f *flag.FlagSet, names, about string, args []string, out, errs io.Writer) (given []string, status int, done bool) {
	given, status, done = parseArguments(f, names, about, args, out, errs)
	if want := len(strings.Fields(names)); !done && len(given) != want {
		return nil, misused(f, wrongNumber(given, names), errs), true
	}
	return given, status, done
}

// wrongNumber is the error for arguments of another number than that of the names.
func wrongNumber(given []string, names string) error {
	if names == "" {
		return fmt.Errorf("unexpected argument %q", given[0])
	}
	plural := "s"
	if len(given) == 1 {
		plural = ""
	}
	return fmt.Errorf("%d argument%s, want %s", len(given), plural, names)
}

// misused says what is wrong with a command's arguments, and where to read more.
func misused(f *flag.FlagSet, err error, errs io.Writer) int {
	return finish(f.Name(), fmt.Errorf("%w (%s -h explains)", err, f.Name()), errs, exitUsage)
}

// finish turns an error into an exit status.
func finish(prog string, err error, errs io.Writer, status int) int {
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(errs, "%s: %v\n", prog, err)
	return status
}

// untilStopped returns a context that Ctrl-C or SIGTERM, with which systems that run jobs
// stop them, ends. A second one ends the program at once. stop must be called.
func untilStopped() (ctx context.Context, stop context.CancelFunc) {
	ctx, stop = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// interruptible runs f with a context that Ctrl-C or SIGTERM ends.
func interruptible(prog string, errs io.Writer, f func(context.Context) error) int {
	ctx, stop := untilStopped()
	defer stop()
	err := f(ctx)
	if errors.Is(err, context.Canceled) {
		return finish(prog, err, errs, exitInterrupted)
	}
	return finish(prog, err, errs, exitInput)
}

// checked calls f and returns its error, or the first of writing its output, which f need
// not look at.
func checked(out io.Writer, f func(out io.Writer) error) error {
	c := &checkedWriter{Writer: out}
	return cmp.Or(f(c), c.err)
}

// checkedWriter remembers the first error of its Writer.
type checkedWriter struct {
	io.Writer
	err error
}

// Write implements io.Writer.
func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.err = cmp.Or(c.err, err)
	return n, err
}
