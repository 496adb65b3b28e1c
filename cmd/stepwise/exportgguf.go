package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/gguf"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

const exportGGUFAbout = `Writes the model in the folder DIR, with its tokenizer, chat template and the special
tokens of generation_config.json, to a GGUF FILE for llama.cpp, in float32. The file
appears whole or not at all. A training run whose samples come from llama.cpp begins
with such a file in the router's --models-dir; see docs/scale.md.`

func runExportGGUF(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise export-gguf"
	flags := flag.NewFlagSet(prog, flag.ContinueOnError)
	names, status, done := theArguments(flags, "DIR FILE", exportGGUFAbout, args, out, errs)
	if done {
		return status
	}
	return finish(prog, exportGGUF(names[0], names[1], errs), errs, exitInput)
}

func exportGGUF(dir, file string, errs io.Writer) error {
	f, err := openFolder(dir)
	if err != nil {
		return err
	}
	if f.tokens == nil {
		return fmt.Errorf("%s has no %s, without which there is no text", dir, tokenizerFile)
	}
	b, err := tensor.Open("cpu")
	if err != nil {
		return err
	}
	defer tensor.Close(b)
	d, err := model.LoadDecoder(b, dir, model.Frozen(), model.WithLogger(slog.New(slog.NewTextHandler(errs, nil))))
	if err != nil {
		return err
	}
	defer d.Free()
	return gguf.Export(file, d, gguf.Options{TokenizerFrom: dir})
}
