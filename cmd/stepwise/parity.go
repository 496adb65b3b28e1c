package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/stepwise-rl/stepwise/cmd/stepwise/internal/parity"
	"github.com/stepwise-rl/stepwise/rl/preset"
)

var parityCommands = []command{
	{"advantages", "groups of judged completions in, advantages per token out", parityCommand("advantages", parity.Advantages,
		`Reads groups of judged completions on standard input, one a line, all lines
being one batch, and writes a line for each with the advantage of every token:
rewards are normalised, then credit is given to steps, then a KL penalty is
added. Of the settings it reads estimator, weights, credit and reward_kl;
aggregation only for the denominator that it reports.`)},
	{"loss", "log-probs and advantages in, loss and gradient out", parityCommand("loss", parity.Loss,
		`Reads optimiser steps on standard input, one a line, and answers each with a
line before it reads the next: the loss and its gradient with respect to every
log-prob (and entropy). Of the settings it reads policy, kl and aggregation.`)},
}

const paritySettingsAbout = `

docs/parity-format.md describes the lines and all settings. An example:

  -preset verl-0.9.1 -config '{"credit": {"kind": "mask"}, "policy": {"clip_high": 0.28}}'`

func runParity(args []string, in io.Reader, out, errs io.Writer) int {
	return dispatch("stepwise parity", parityCommands, args, in, out, errs)
}

// parityCommand returns the run function of a command that computes with a
// preset's settings.
func parityCommand(name string, compute func(io.Reader, io.Writer, preset.Preset) error, about string) func(args []string, in io.Reader, out, errs io.Writer) int {
	prog := "stepwise parity " + name
	return func(args []string, in io.Reader, out, errs io.Writer) int {
		flags := flag.NewFlagSet(prog, flag.ContinueOnError)
		name := flags.String("preset", "", "`NAME` of the trainer whose settings to start from:\n"+strings.Join(preset.Names(), ", ")+"\n(default GRPO with PPO and a token mean, without step credit and KL)")
		config := flags.String("config", "", "JSON that changes settings, or the `FILE` that holds it; JSON begins with {")
		show := flags.Bool("print", false, "print the settings as JSON and end")
		given, status, done := parseArguments(flags, "", about+paritySettingsAbout, args, out, errs)
		if done {
			return status
		}
		p, err := paritySettings(*name, *config)
		if err == nil && len(given) > 0 {
			err = fmt.Errorf("argument %q: the input is read from standard input", given[0])
		}
		switch {
		case err != nil:
			return misused(flags, err, errs)
		case *show:
			return finish(prog, printSettings(out, p), errs, exitInput)
		}
		return finish(prog, compute(in, out, p), errs, exitInput)
	}
}

// paritySettings returns the named preset, or the defaults, changed by a
// configuration.
func paritySettings(name, config string) (p preset.Preset, err error) {
	p = parity.Defaults()
	if name != "" {
		if p, err = preset.Get(name); err != nil {
			return p, err
		}
	}
	text := []byte(config)
	switch {
	case config == "":
		text = []byte("{}")
	case config[0] != '{':
		if text, err = os.ReadFile(config); err != nil {
			return p, err
		}
	}
	return parity.Decode(text, p)
}

func printSettings(out io.Writer, p preset.Preset) error {
	text, err := parity.Encode(p)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, b.String())
	return err
}
