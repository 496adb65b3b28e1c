package main

import (
	"flag"
	"fmt"
	"iter"
	"log"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

// modelFolder returns the model's folder and the learning rate that suits it: the one
// on the command line or, for those who have none, a tiny one of random weights. It
// has read nothing, so all it can learn is to write digits.
func modelFolder() (dir string, lr float64) {
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: grpo [FOLDER]\n\nFOLDER is a model in Hugging Face's layout (default: a tiny random one).")
	}
	flag.Parse()
	switch flag.NArg() {
	case 0:
	case 1:
		return flag.Arg(0), 1e-6
	default:
		log.Fatalf("unexpected argument %q", flag.Arg(1))
	}
	dir = filepath.Join(must(os.MkdirTemp("", "grpo")), "tiny")
	vocab := func(yield func(string) bool) { // digits and words
		for i := range 200 {
			if !yield(fmt.Sprintf("What is %d plus %d? It is %d.", i, i, 2*i)) {
				return
			}
		}
	}
	tok := must(tokenizer.Train(iter.Seq[string](vocab), tokenizer.TrainOptions{VocabSize: 300, Special: []string{"<|im_start|>", "<|im_end|>"}}))
	shape := model.Config{Vocab: tok.VocabSize(), Dim: 32, Layers: 2, Heads: 2, KVHeads: 2, FF: 64, MaxSeq: 128, TieEmbeddings: true}
	decoder := must(model.NewDecoder(must(cpu.New(cpu.Options{})), shape, 1))
	defer decoder.Free()
	end, _ := tok.ID("<|im_end|>")
	must(0, decoder.SetEOS(end))
	must(0, decoder.Save(dir))
	must(0, tok.Save(filepath.Join(dir, "tokenizer.json")))
	const template = `{"chat_template": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"}`
	must(0, os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(template), 0o666))
	return dir, 0.01
}
