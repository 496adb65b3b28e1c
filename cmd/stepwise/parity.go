package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

var parityCommands = []command{
	{"advantages", "groups of judged completions in, advantages per token out", runAdvantages},
	{"loss", "log-probs and advantages in, loss and gradient out", runLoss},
}

func runParity(args []string, in io.Reader, out, errs io.Writer) int {
	return dispatch("stepwise parity", parityCommands, args, in, out, errs)
}

// finish turns an error into an exit status.
func finish(prog string, err error, errs io.Writer, status int) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	fmt.Fprintf(errs, "%s: %v\n", prog, err)
	return status
}
