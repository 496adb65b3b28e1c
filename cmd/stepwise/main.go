// Command stepwise uses the library from the command line, without writing Go.
//
//	stepwise bench                speed of a backend on this machine
//	stepwise export-gguf          a model in Hugging Face's layout as a file for llama.cpp
//	stepwise generate             text from such a model
//	stepwise info                 what it is, and the memory it needs
//	stepwise load                 how a server of stepwise serve bears load
//	stepwise parity advantages    advantages per token of judged groups
//	stepwise parity loss          loss and gradient of an optimiser step
//	stepwise posir build          a position benchmark of your own documents
//	stepwise posir eval           the position bias of a retriever
//	stepwise posir metrics        PosIR's numbers from results
//	stepwise relevance criteria   kinds of criteria, or how well a task's agree
//	stepwise relevance eval       score a model on the test sets of a task
//	stepwise relevance report     the page of a run, or how two runs differ
//	stepwise relevance score      label a file of queries and documents
//	stepwise relevance train      train a model on a task file
//	stepwise run check            look for damage in a run's folder
//	stepwise run diff             how two runs differ
//	stepwise run show             how far a run has come
//	stepwise serve                a model that judges relevance, over HTTP
//
// The parity programs read JSON lines on standard input and write JSON lines
// on standard output; docs/parity-format.md describes them. Every command
// explains its flags with -h.
//
// The exit status is 0, 1 for bad input, 2 for bad flags, or 130 after Ctrl-C or SIGTERM.
package main

import (
	"fmt"
	"io"
	"os"
)

// A command runs with the arguments after its name and returns an exit status.
type command struct {
	name, summary string
	run           func(args []string, in io.Reader, out, errs io.Writer) int
}

const (
	exitOK = iota
	exitInput
	exitUsage
)

var commands = []command{
	{"bench", "measure a backend on this machine", runBench},
	{"export-gguf", "write a model's folder as a file for llama.cpp", runExportGGUF},
	{"generate", "generate text with a model's folder", runGenerate},
	{"info", "show a model's parameters, memory and tokenizer", runInfo},
	{"load", "load a server of stepwise serve, and measure it", runLoad},
	{"parity", "estimators, step credit and objectives on JSON lines", runParity},
	{"posir", "measure whether a retriever is blind to where the answer stands", runPosir},
	{"relevance", "train a model that judges relevance, and use it", runRelevance},
	{"run", "check, compare and show the folders of runs", runRun},
	{"serve", "answer relevance queries over HTTP", runServe},
}

func main() {
	os.Exit(dispatch("stepwise", commands, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// dispatch runs the command that the first argument names.
func dispatch(prog string, all []command, args []string, in io.Reader, out, errs io.Writer) int {
	usage := func(w io.Writer) {
		fmt.Fprintf(w, "usage: %s <command> [flags]\n\n", prog)
		for _, c := range all {
			fmt.Fprintf(w, "  %-12s %s\n", c.name, c.summary)
		}
		fmt.Fprintf(w, "\n%s <command> -h explains its flags.\n", prog)
	}
	if len(args) == 0 {
		usage(errs)
		return exitUsage
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		usage(out)
		return exitOK
	}
	for _, c := range all {
		if c.name == args[0] {
			return c.run(args[1:], in, out, errs)
		}
	}
	fmt.Fprintf(errs, "%s: unknown command %q\n", prog, args[0])
	usage(errs)
	return exitUsage
}
